"""What a learner has passed so far: a map of the chapters, from the outputs of their notebooks as saved."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ftlib import artefact, check, plot, run
from ftlib.settings import WorkbookError

HEADING = re.compile(r"# (\d\.\d\d) (.+)")
MAKES = re.compile(r"^\| You make \| (.+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Attempt:
    """A check as a notebook shows it. when: the last change of the file, the execution's place in it."""

    exercise: str
    outcome: str
    when: tuple[float, int]
    file: str

    @property
    def place(self) -> str:
        """The file, with the time of its last change."""
        return f"{self.file} ({time.strftime('%Y-%m-%d %H:%M', time.localtime(self.when[0]))})"


@dataclass(frozen=True)
class Copy:
    """A notebook of a chapter: its title and what you make, of the title card; the checks in its outputs."""

    chapter: str
    title: str
    makes: str
    exercises: Collection[str]
    attempts: Sequence[Attempt]


def show(folder: str | Path | None = None) -> None:
    """Shows `progress_map` in a notebook. What is not saved yet does not count."""
    progress_map(folder).display()


def progress_map(
    folder: str | Path | None = None, notebooks: Path = run.NOTEBOOKS
) -> plot.Shown:
    """A map of the chapters: what of each is passed, and what you can do where all of it is.

    folder: your notebooks, also in folders within it; without it `notebooks`, those of the workbook, or this
    folder where the workbook is installed without them. Of an exercise that was checked several times the
    newest execution counts; a pass that it overrules is named, and so is a file that cannot be read. Raises
    WorkbookError where no notebook is a chapter.
    """
    own = notebooks if notebooks.is_dir() else Path()
    folder = Path(folder or own)
    if not folder.is_dir():
        raise WorkbookError(f"{folder} is no folder: name the one that holds your notebooks")
    copies, told = _read(folder)
    if not copies:
        why = told[0] if told else "name the folder that holds your notebooks"
        raise WorkbookError(f"no notebook in {folder} is a chapter of the workbook: {why}")
    others = [] if folder == own else _read(own)[0]
    newest, notes = _newest([attempt for copy in copies for attempt in copy.attempts])
    stages, can = defaultdict(list), {}
    for number, copy in sorted({copy.chapter: copy for copy in [*others, *copies]}.items()):
        passed = sum(name in newest and newest[name].outcome == "passed" for name in copy.exercises)
        done = passed == len(copy.exercises)
        line = f"{'✓' if done else '·'} {number} {copy.title}: passed {passed} of {len(copy.exercises)}"
        stages[f"{number[0]} {run.STAGES[int(number[0])]}"].append(line)
        can |= {number: f"make {copy.makes}"} if done else {}
    return _drawn(stages, can, [*_counted(copies, newest), *notes, *told])


def _read(folder: Path) -> tuple[list[Copy], list[str]]:
    """The chapters among the notebooks in a folder, and what is to be said of those that cannot be read."""
    copies, told = [], []
    for path in sorted(folder.rglob("*.ipynb")):
        name = path.relative_to(folder)
        if any(part.startswith(".") for part in name.parts):  # such as JupyterLab's checkpoints
            continue
        try:
            copies += _copy(path, name.as_posix())
        except WorkbookError as error:
            told.append(str(error))
        except (AttributeError, KeyError, TypeError, ValueError):
            told.append(f"{path} cannot be read as a notebook: a cell or an output is damaged")
    return copies, told


def _copy(path: Path, name: str) -> list[Copy]:
    """The chapter that a notebook is a copy of, whatever the name of the file; none for another notebook."""
    cells = artefact.cells(path)
    card = next((cell["source"] for cell in cells if cell["cell_type"] == "markdown"), "")
    try:
        number, title = HEADING.match(card).groups()
        exercises = check.exercises(number)
    except (AttributeError, WorkbookError):
        return []
    attempts = []
    for cell in cells:
        when = (path.stat().st_mtime, int(cell.get("execution_count") or 0))
        for output in artefact.outputs([cell]):
            if record := output.get(check.CHECK_MIME):
                attempts.append(Attempt(record["exercise"], record["outcome"], when, name))
    makes = MAKES.search(card)
    return [Copy(number, title, makes[1].replace("`", "") if makes else title, exercises, attempts)]


def _newest(attempts: Sequence[Attempt]) -> tuple[dict[str, Attempt], list[str]]:
    """The newest attempt at each exercise, and a line for each pass that it overrules."""
    ordered = sorted(attempts, key=lambda one: one.when)
    newest = {one.exercise: one for one in ordered}
    passed = {one.exercise: one for one in ordered if one.outcome == "passed"}
    notes = [
        f"{name} was passed in {before.place}; the newest execution, in {newest[name].place}, counts: "
        f"{newest[name].outcome}"
        for name, before in sorted(passed.items())
        if newest[name].outcome != "passed"
    ]
    return newest, notes


def _counted(copies: Sequence[Copy], newest: Mapping[str, Attempt]) -> list[str]:
    """A line for each chapter of which there are several copies with checks: those that count."""
    several = defaultdict(list)
    for copy in copies:
        several[copy.chapter] += [copy] if copy.attempts else []
    lines = []
    for chapter, found in several.items():
        if len(found) > 1:
            used = {newest[one.exercise].place for copy in found for one in copy.attempts}
            files = ", ".join(sorted(used))
            lines.append(f"{chapter} has {len(found)} copies; the newest execution counts, in {files}")
    return lines


def _drawn(stages: Mapping[str, list[str]], can: Mapping[str, str], notes: Sequence[str]) -> plot.Shown:
    """The map as HTML and as text."""
    boxes = {stage: "\n".join(lines) for stage, lines in stages.items()}
    html = plot.pipeline(boxes, label="The stages, and what you have passed of each").html
    text = [line for stage, lines in stages.items() for line in (stage, *(f"  {one}" for one in lines))]
    if can:
        card = plot.card("You can now", can, check.COLORS["passed"])
        html, text = html + card.html, [*text, card.text]
    html += "".join(f'<div style="{plot.CAPTION};{plot.WRAP}">{escape(line)}</div>' for line in notes)
    return plot.Shown(html, "\n".join([*text, *notes]))
