"""Learner copies: the chapters without solutions and outputs; a named learner's have numbers of their own."""

from __future__ import annotations

import ast
import copy
import csv
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from ftlib import artefact, check, run
from ftlib.settings import WorkbookError

if TYPE_CHECKING:
    from nbformat import NotebookNode

AGENTS = run.NOTEBOOKS / "AGENTS.md"  # how a coding agent helps a learner
SEED = re.compile(r"^seed: int = \d+ *", re.MULTILINE)
HINT = re.compile(r"<details><summary>Hint</summary>.*?</details>", re.DOTALL)
README = """# The Fine-Tuning Workbook: a learner's copy

Open a chapter in JupyterLab, run its cells in their order, write your answers in place of `check.todo`,
and run these cells: a card says at once what the check found. Hints unfold at a click. Solutions are left
out, also where a chapter speaks of them. What you hand in are the saved notebooks.

Once, with Python 3.11 or newer, install the workbook's package. WORKBOOK is the wheel, or the clone, that
you were given:

    pip install "WORKBOOK[all]"

Then start `jupyter lab` in this folder, and begin with chapter 0.01. A coding agent reads in AGENTS.md how
it helps you.
"""
OWN = """
## {name}

Every random choice in this copy follows from a seed of your own, {seed}, and some exercises have numbers of
your own. So your results differ a little from those on the title cards, and from those of others. What is
kept for seed 0 is measured anew: a chapter takes minutes, fewer with smaller `seeds`, and goes on where it
was stopped. Leave name and seed as they are: your answers are checked with them.
"""


@dataclass(frozen=True)
class Copy:
    """For whom a copy is: its learner, folder and seed; without a learner "", "" and 0."""

    learner: str
    folder: str
    seed: int


def _plain(name: str) -> str:
    """The name in Unicode's form C, with single spaces; WorkbookError where nothing is left, or no text."""
    found = " ".join(unicodedata.normalize("NFC", name).split())
    if not found or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in found):
        raise WorkbookError(f"a learner's name must be a line of text in UTF-8; this is {name!a}")
    return found


def seed_of(name: str) -> int:
    """A learner's seed, from 1 to 10000: one more than SHA-256 of the name (UTF-8) modulo 10000.

    How an accent is encoded and how much white space there is do not matter. 0 is the workbook's seed.

    >>> seed_of("Ada Lovelace") == seed_of(" Ada  Lovelace ")
    True
    """
    return 1 + int(hashlib.sha256(_plain(name).encode()).hexdigest(), 16) % 10_000


def read_names(file: Path | None) -> list[str]:
    """The names in a file, one a line; blank lines do not count. WorkbookError where it cannot be read."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines() if file else []
    except (OSError, UnicodeDecodeError) as error:
        raise WorkbookError(f"{file} cannot be read as a list of names in UTF-8: {error}") from None
    if file and not any(map(str.strip, lines)):
        raise WorkbookError(f"{file} names no learner: write a name a line")
    return [line for line in lines if line.strip()]


def copies(names: Iterable[str]) -> list[Copy]:
    """The copy of each learner; its folder is the name, with letters and digits alone, and the seed.

    Raises WorkbookError where two would have the same folder.
    """
    found: dict[str, Copy] = {}
    for name in map(_plain, names):
        safe = "".join(letter if unicodedata.category(letter)[0] in "LMN" else " " for letter in name[:50])
        one = Copy(name, f"{'_'.join(safe.split()) or 'learner'}-{seed_of(name)}", seed_of(name))
        other = found.setdefault(one.folder.casefold(), one)
        if other is not one:
            raise WorkbookError(f"one folder for {other.learner!r} and {name!r}: add something to a name")
    return list(found.values())


def release(out: Path, names: Sequence[str] = (), notebooks: Path = run.NOTEBOOKS) -> list[Copy]:
    """Writes learner copies of all chapters to `out`, whole or not at all; returns for whom they are.

    Without names one copy for all; with them a folder a learner, and learners.csv with folders and seeds.
    Raises WorkbookError where `out` holds anything, or a chapter cannot be copied.
    """
    import nbformat

    for_whom = copies(names) or [Copy("", "", 0)]
    chapters = run.chapters(notebooks)
    whole = {number: nbformat.read(chapter.path, as_version=4) for number, chapter in chapters.items()}
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise WorkbookError(f"{out} holds something already: name a folder that is new or empty")
    with artefact.write_folder(out) as fresh:
        for one in for_whom:
            folder = fresh / one.folder
            for number, chapter in chapters.items():
                path = folder / chapter.path.relative_to(notebooks)
                path.parent.mkdir(parents=True, exist_ok=True)
                nbformat.write(learner_copy(whole[number], number, one), path)
            text = README + (OWN.format(name=one.learner, seed=one.seed) if one.learner else "")
            (folder / "README.md").write_text(text, encoding="utf-8")
            (folder / AGENTS.name).write_bytes(AGENTS.read_bytes())
        if names:
            with (fresh / "learners.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([("learner", "folder", "seed"), *map(astuple, for_whom)])
    return for_whom


def learner_copy(notebook: NotebookNode, number: str, whose: Copy) -> NotebookNode:
    """A chapter without solutions, outputs and execution counts; a named learner's with their numbers."""
    made = with_numbers(notebook, number, whose.seed) if whose.learner else copy.deepcopy(notebook)
    made.cells = [cell for one in made.cells if (cell := _for_learners(one, number))]
    named = {"learner": whose.learner} if whose.learner else {}
    kernel = {name: made.metadata[name] for name in ("kernelspec", "language_info") if name in made.metadata}
    made.metadata = kernel | {"ftlib": {"chapter": number, **named, "seed": whose.seed}}
    return made


def with_numbers(notebook: NotebookNode, number: str, seed: int) -> NotebookNode:
    """A chapter with this seed as its parameter, and its numbers in the exercises, solutions included."""
    made = copy.deepcopy(notebook)
    for place, cell in enumerate(made.cells):
        if "parameters" in _tags(cell):
            if len(SEED.findall(cell.source)) != 1:
                raise WorkbookError(f"chapter {number}: its parameters have no line `seed: int = 0`")
            cell.source = SEED.sub(lambda line: f"seed: int = {seed}".ljust(len(line[0])), cell.source)
        if "exercise" in _tags(cell):
            answers = takewhile(lambda one: {"hint", "solution"} & {*_tags(one)}, made.cells[place + 1 :])
            _ask_anew(cell, [made.cells[place - 1], *answers], seed)
    return made


def _ask_anew(stub: NotebookNode, about: Sequence[NotebookNode], seed: int) -> None:
    """Puts a seed's numbers in the cells about an exercise that has any, and hands the seed to its check."""
    try:
        last = ast.parse(stub.source).body[-1]
        name, call = ast.literal_eval(last.value.args[0]), ast.get_source_segment(stub.source, last)
    except (AttributeError, IndexError, SyntaxError, ValueError):
        raise WorkbookError(f"the last line of a stub must be check.exercise: {stub.source}") from None
    drawn = check.find(name).drawn
    if not drawn:
        return
    for usual, own in zip(drawn(0).texts, drawn(seed).texts, strict=True):
        holding = [cell for cell in about for _ in range(cell.source.count(usual))]
        if len(holding) != 1:
            raise WorkbookError(f"exercise {name}: its text, hint or solution must have once: {usual}")
        holding[0].source = holding[0].source.replace(usual, own)
    stub.source = stub.source.replace(call, f"{call[:-1]}, seed={seed})")


def _for_learners(cell: NotebookNode, number: str) -> NotebookNode | None:
    """The cell without solution and outputs; None where it holds nothing else."""
    tags = _tags(cell)
    if "solution" in tags:
        if "hint" not in tags:
            return None
        cell.source = "\n\n".join(HINT.findall(cell.source))
        cell.pop("attachments", None)
        tags.remove("solution")
    if "<summary>Solution</summary>" in cell.source or ("hint" in tags and not cell.source):
        raise WorkbookError(f"chapter {number}: hint and solution are not <details> with tags: {cell.source}")
    if cell.cell_type == "code":
        cell.outputs, cell.execution_count = [], None
    cell.metadata = {"tags": tags} if tags else {}
    return cell


def _tags(cell: NotebookNode) -> list[str]:
    return [*cell.metadata.get("tags", ())]
