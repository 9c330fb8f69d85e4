"""The command line: python -m ftlib --help."""

import sys

from ftlib.run import main

if __name__ == "__main__":
    sys.exit(main())
