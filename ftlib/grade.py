"""Grades handed-in notebooks: finds them, has each exercise judged behind a fence, writes a table and a page.

Nothing of a learner is believed: not the stored outputs, not the name of the file, not the results that it
claims. An exercise without a result has failed.
"""

from __future__ import annotations

import csv
import json
import os
import pkgutil
import queue
import re
import secrets
import signal
import stat
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from ftlib import answers, artefact, check, exercises, judge, nursery, release, report, settings
from ftlib.settings import WorkbookError

TABLE, PAGE = "grades.csv", "grades.html"
COLUMNS = ("learner", "file", "exercise", "outcome", "seen", "must hold", "hint", "seconds", "note")
FILE_MB, CODE_MB, WORDS = 20, 1, 500  # of a file, of its code, and letters of what is said of an answer
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes a cell for that begins so
NUMBER = re.compile(r"(?<!\d)(\d)[_.](\d\d)(?!\d)")
OUTSIDE = ("notebooks", "tests", "book", "build", "runs", "benchmarks", "exercises", ".git")
UNGRADED = ("not graded", "cannot check here")


@dataclass(frozen=True)
class HandIn:
    """A notebook of a learner, or what stands in its place. wrong: why it cannot be read, or ""."""

    learner: str
    file: str
    cells: tuple[str, ...] = ()
    chapters: tuple[str, ...] = ()
    made: release.Copy | None = None
    wrong: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """What became of an exercise of a hand-in: a line of the table, as its columns say."""

    learner: str
    file: str
    exercise: str
    outcome: str
    seen: str = ""
    must_hold: str = ""
    hint: str = ""
    seconds: float = 0.0
    note: str = ""

    @property
    def chapter(self) -> str:
        return self.exercise.rpartition(".")[0]


def collect(folder: Path) -> list[HandIn]:
    """The hand-ins below a folder, in order; what cannot be graded is one of them, with the reason.

    The learner is the first folder below it, or the stem of the file. Links are not followed, and the copies
    that Jupyter keeps in .ipynb_checkpoints are no hand-ins.
    """
    if not folder.is_dir():
        raise WorkbookError(f"{folder} is no folder: name the one that holds the hand-ins")
    found, learners = [], set()

    def closed(error: OSError) -> None:
        inner = Path(error.filename).relative_to(folder)
        if not inner.parts:
            raise WorkbookError(f"{folder} cannot be read: {error.strerror}")
        found.append(HandIn(inner.parts[0], str(inner), wrong=f"unreadable folder: {error.strerror}"))

    for place, folders, files in os.walk(folder, onerror=closed):
        folders[:] = sorted(one for one in folders if one != ".ipynb_checkpoints")
        links = [one for one in folders if Path(place, one).is_symlink()]
        for name in sorted([*files, *links]):
            path = Path(place, name)
            inner = path.relative_to(folder)
            learner = inner.parts[0] if len(inner.parts) > 1 or name in links else path.stem
            if path.suffix.lower() == ".ipynb" or name in links:
                found.append(_read(path, learner, str(inner)))
        if Path(place) == folder:
            learners = {one for one in folders if one not in links}
    missing = sorted(learners - {one.learner for one in found})
    found += [HandIn(one, one, wrong="no notebook in this folder") for one in missing]
    if not found:
        raise WorkbookError(f"{folder} holds no notebook (*.ipynb): name the folder that holds the hand-ins")
    return _with_notes(sorted(found, key=lambda one: (one.learner, one.file)))


def _read(path: Path, learner: str, file: str) -> HandIn:
    """A hand-in from its file, which may be anything."""
    known = _chapters()
    named = dict.fromkeys(f"{stage}.{number}" for stage, number in NUMBER.findall(path.name))
    try:
        state = path.lstat()
        if not stat.S_ISREG(state.st_mode):
            raise ValueError("a link, or no file: links are not followed")
        if state.st_size > FILE_MB * 10**6:
            raise ValueError(f"larger than {FILE_MB} MB")
        content = json.loads(path.read_bytes())
        code = [one for one in content["cells"] if one["cell_type"] == "code"]
        cells = tuple(str("".join(one["source"])) for one in code)
        if sum(map(len, cells)) > CODE_MB * 10**6:
            raise ValueError(f"more than {CODE_MB} MB of code")
        kept = content.get("metadata", {}).get("ftlib", {})
        metadata = kept if isinstance(kept, dict) else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = settings.one_line(f"unreadable file: {error}" if str(error) else "unreadable file", 200)
        return HandIn(learner, file, chapters=tuple(one for one in named if one in known), wrong=reason)
    checked = {name.rpartition(".")[0] for name in answers.exercises(cells)}
    stated = [one for one in (str(metadata.get("chapter")), *named) if one in known]
    chapters = tuple(sorted(checked & known) or stated[:1])
    made = _made_for(metadata)
    other = made is not None and learner not in (made.learner, made.folder)
    notes = (f"the copy was made for {made.learner[:80]!r}",) if other else ()
    wrong = "" if chapters else "no exercise of the workbook in it"
    return HandIn(learner, file, cells, chapters, made, wrong, notes)


def _made_for(metadata: dict) -> release.Copy | None:
    """For whom `release` made the copy: with the seed of the name, whatever seed stands beside it."""
    try:
        return release.copies([str(metadata["learner"])])[0]
    except (KeyError, WorkbookError):
        return None


def _chapters() -> set[str]:
    """The chapters that have exercises."""
    names = (one.name for one in pkgutil.iter_modules(exercises.__path__))
    return {name[1:].replace("_", ".") for name in names if NUMBER.fullmatch(name[1:])}


def _with_notes(found: list[HandIn]) -> list[HandIn]:
    """The same, with notes: where a chapter came more than once, and where one of many copies has no name."""
    times = Counter((one.learner, chapter) for one in found for chapter in one.chapters)
    named, noted = any(one.made for one in found), []
    for one in found:
        count, notes = max((times[one.learner, chapter] for chapter in one.chapters), default=0), one.notes
        notes += (f"one of {count} copies of the chapter",) if count > 1 else ()
        unnamed = named and not (one.made or one.wrong)
        notes += ("no learner's name in it: judged with the chapter's numbers",) if unnamed else ()
        noted.append(replace(one, notes=notes))
    return noted


def _seed_of(hand_in: HandIn) -> int:
    """The seed from which the numbers of a learner's exercises were drawn; 0 for those of the chapter."""
    return hand_in.made.seed if hand_in.made else 0


def _grade(hand_in: HandIn, court: judge.Court, nurseries: queue.SimpleQueue) -> list[Row]:
    """A row for each exercise of the chapters of a hand-in; one row where no chapter is known."""
    home = nurseries.get()
    try:
        return _rows(hand_in, court, home)
    finally:
        nurseries.put(home)


def _rows(hand_in: HandIn, court: judge.Court, home: nursery.Nursery) -> list[Row]:
    notes, rows = list(hand_in.notes), []
    names = [name for chapter in hand_in.chapters for name in check.exercises(chapter)]
    there = answers.exercises(hand_in.cells)
    for name in names or [""]:
        if hand_in.wrong:
            judged = judge.Judged(check.Outcome(name, "failed", seen=hand_in.wrong))
        elif name not in there:
            judged = judge.Judged(check.Outcome(name, "missing", seen="no cell checks this exercise"))
        else:
            try:
                judged = court.judge(home, name, hand_in.cells, _seed_of(hand_in))
            except Exception as error:  # of the grader itself: it is said, and the others are graded
                seen = f"the grader failed: {type(error).__name__}: {error}"
                judged = judge.Judged(check.Outcome(name, "not graded", seen=seen))
        one, note = judged.outcome, _words("; ".join([*notes, *judged.notes]))
        texts = (_words(hand_in.learner), _words(hand_in.file), name, one.outcome, _words(one.seen))
        rows.append(Row(*texts, one.broken, one.hint, judged.seconds, note))
    return rows


def _words(text: str) -> str:
    """What comes from a learner as one line of letters that can be shown."""
    line = settings.one_line(text, WORDS)
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in line)


def grade(
    folder: Path, out: Path, limits: nursery.Limits, workers: int, salt: str = "", kernel: bool = True
) -> int:
    """Grades what lies below a folder into out/grades.csv and out/grades.html; returns the exit status.

    0: every exercise has an outcome; 1: the grader could not judge some. workers: hand-ins at the same time
    (0: as many as cores). salt: of the draws, else by chance. kernel: whether to try the kernel's
    part of the fence. Progress and what is wrong go to stderr.
    """
    if sys.platform == "win32":
        raise WorkbookError("grading needs limits that Windows does not have: use Linux, or WSL on Windows")
    from joblib import cpu_count

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # before the first process starts
    started, rows, salt = time.monotonic(), [], salt or secrets.token_hex(8)
    hand_ins = collect(folder)
    with artefact.clear_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    if not (kernel := kernel and nursery.kernel_keeps(answers.PROBE)):
        _say("this system gives no namespaces: the fence is weaker (README.md says what it does not stop)")
    root = settings.PACKAGE.parent
    hidden = (*(root / one for one in OUTSIDE), folder.resolve(), out.resolve())
    court, nurseries = judge.Court(salt, limits), queue.SimpleQueue()
    workers = workers or cpu_count()
    for _ in range(workers):
        nurseries.put(nursery.Nursery(answers.PROGRAM, hidden, kernel))
    with ThreadPoolExecutor(workers) as pool:
        try:
            pending = {pool.submit(_grade, one, court, nurseries): one for one in hand_ins}
            for number, done in enumerate(as_completed(pending), start=1):
                graded = done.result()
                rows += graded
                outcomes = Counter(row.outcome for row in graded).items()
                words = ", ".join(f"{count} {outcome}" for outcome, count in outcomes)
                _say(f"{number} of {len(hand_ins)} {pending[done].file!r}: {words}")
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            nursery.close()
            raise
    while not nurseries.empty():
        nurseries.get().close()
    rows.sort(key=lambda row: (row.learner, row.file, row.exercise))
    rate = 60 * len(hand_ins) / (time.monotonic() - started)
    with artefact.clear_errors(out):
        _replace(out / TABLE, lambda file: _write_table(file, rows))
        _replace(out / PAGE, lambda file: file.write(_page(rows, salt, limits, kernel)))
    _say(f"{len(hand_ins)} hand-ins, {rate:.1f} a minute: {out / TABLE}, {out / PAGE}")
    return int(any(row.outcome in UNGRADED for row in rows))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _replace(path: Path, write: Callable) -> None:
    """Writes a file whole or not at all; a link in its place is not followed."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", newline="", dir=path.parent, delete=False
    ) as file:
        try:
            write(file)
            file.close()
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def _write_table(file: object, rows: Iterable[Row]) -> None:
    table = csv.writer(file)
    table.writerow(COLUMNS)
    for row in rows:
        cells = (row.learner, row.file, row.exercise, row.outcome, row.seen, row.must_hold, row.hint)
        table.writerow(map(_plain, (*cells, f"{row.seconds}", row.note)))


def _plain(text: str) -> str:
    """The text so that no spreadsheet computes it.

    >>> _plain("=1+1"), _plain("passed")
    ("'=1+1", 'passed')
    """
    return f"'{text}" if text.startswith(FORMULA) else text


def _page(rows: Sequence[Row], salt: str, limits: nursery.Limits, kernel: bool) -> str:
    """The page: how much each learner passed of each chapter; then of each chapter its exercises.

    Of several copies of a chapter the overview counts the best.
    """
    chapters: dict[str, dict] = {}
    for row in rows:
        of_chapter = chapters.setdefault(row.chapter, {})
        of_chapter.setdefault((row.learner, row.file), []).append(row)
    overview: dict[str, dict[str, tuple[int, int]]] = {}
    for chapter, hand_ins in sorted(chapters.items()):
        for (learner, _), found in hand_ins.items():
            passed, best = sum(row.outcome == "passed" for row in found), overview.setdefault(learner, {})
            best[chapter] = max(best.get(chapter, (0, 0)), (passed, len(found)))
    counts = Counter(row.outcome for row in rows)
    said = {"salt": salt, "limits": limits, "kernel": kernel, "colours": check.COLORS | {"failed": "#882255"}}
    said |= {"overview": sorted(overview.items()), "counts": counts}
    return report.render("grades", chapters=sorted(chapters.items()), **said)
