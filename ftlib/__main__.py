"""The command line: python -m ftlib --help."""

import sys

from ftlib.cli import main

if __name__ == "__main__":
    sys.exit(main())
