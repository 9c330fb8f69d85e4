"""Stamps the notebooks with a repository, so that each opens in Colab by itself, and takes the stamp out.

A stamp is a badge below the title and the address that the first code cell installs the workbook from. It is
put into the text of a notebook, not into its JSON: without the stamp every byte is what it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ftlib import __version__, artefact, run
from ftlib.settings import WorkbookError

GITHUB, COLAB = "https://github.com", "https://colab.research.google.com"
# What GitHub takes as a name, and a tag that can stand in an address as it is.
REPOSITORY = re.compile(
    r"(?P<name>[A-Z0-9](?:-?[A-Z0-9]){0,38}/(?!\.\.?(?:@|$))[\w.-]{1,100}(?<!\.git))"
    r"(?:@(?P<tag>\w(?:[\w-]|\.(?=\w)){0,99}))?",
    re.ASCII | re.IGNORECASE,
)
BADGE = re.compile(r"\[!\[Open in Colab\]\([^)]*\)\]")  # the picture of the link
CLONE = "../..[colab]"  # what the bootstrap cell installs without a stamp: the clone that holds the notebook

# In the text of a notebook
TITLE = re.compile(r'"source": \[\s+"# \d\.\d\d [^\n]*\n( *)"(\\n",\r?\n)')
STAMP = re.compile(r' *"\[!\[Open in Colab\][^\n]*\n *"\\n",\r?\n')
SOURCE = re.compile(
    r'(?m)(?<=^    "    source = \\")(?:\.\./\.\.\[colab\]|ftlib\[colab\] @ [^"\\]+)(?=\\"\\n",\r?$)'
)
# In pyproject.toml
URLS = re.compile(r"(?m)^\[project\.urls\](\r?\n)")
ADDRESS = re.compile(r'(?m)^Repository = "[^"\n]*"\r?\n')


def stamp(notebooks: Path, repository: str) -> str:
    """Stamps every chapter and pyproject.toml; returns what was done, in a line.

    repository: OWNER/REPO on GitHub, or OWNER/REPO@TAG; without a tag the notebooks install v<version>, so
    that one opened later gets the package that it was written for. Raises WorkbookError for another form, and
    for a notebook whose first cells have another one; then nothing is changed.
    """
    found = REPOSITORY.fullmatch(repository)
    if not found:
        example = f"such as someone/workbook@v{__version__}"
        raise WorkbookError(f"repository {repository!r} is no OWNER/REPO or OWNER/REPO@TAG, {example}")
    name, tag = found["name"], found["tag"] or f"v{__version__}"
    home = f"{GITHUB}/{name}"

    def stamped(text: str, path: Path) -> str:
        place = f"{COLAB}/github/{name}/blob/{tag}/{path.relative_to(notebooks.parent).as_posix()}"
        badge = f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({place})"
        text, titles = TITLE.subn(rf'\g<0>\g<1>"{badge}\g<2>\g<1>"\g<2>', text, count=1)
        text, sources = SOURCE.subn(f"ftlib[colab] @ git+{home}@{tag}", text)
        if (titles, sources) != (1, 1):
            raise WorkbookError(f"{path} begins with other cells than a chapter: nothing is changed")
        return text

    count = _rewrite(notebooks, stamped, rf'\g<0>Repository = "{home}"\g<1>')
    return f"{count} chapters open in Colab from {home} at {tag}, once that tag is pushed"


def remove(notebooks: Path) -> str:
    """Takes every stamp and the address out again; returns what was done, in a line."""
    count = _rewrite(notebooks, lambda text, path: text, r"\g<0>")
    return f"{count} chapters without a badge and an address"


def plain(text: str) -> str:
    """The text of a notebook without its stamp."""
    return SOURCE.sub(CLONE, STAMP.sub("", text, count=1))


def _rewrite(notebooks: Path, change: Callable[[str, Path], str], table: str) -> int:
    """Changes every chapter, from its text without a stamp, and the table of addresses: all or none."""
    project = notebooks.parent / "pyproject.toml"
    paths = [chapter.path for chapter in run.chapters(notebooks).values()]
    fresh = {path: change(plain(path.read_bytes().decode()), path) for path in paths}
    fresh[project], tables = URLS.subn(table, ADDRESS.sub("", project.read_bytes().decode()))
    if tables != 1:
        raise WorkbookError(f"{project} has no table [project.urls] for the address of the repository")
    for path, text in fresh.items():
        with artefact.clear_errors(path):
            path.write_bytes(text.encode())
    return len(paths)
