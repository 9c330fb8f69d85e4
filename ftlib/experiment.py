"""An experiment is a function and a grid: runs are kept, resumed, and repeated before they are believed."""

from __future__ import annotations

import ast
import dis
import hashlib
import inspect
import itertools
import json
import math
import os
import pickle
import sys
import textwrap
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ftlib import artefact, plot
from ftlib.settings import DATA, WorkbookError, device, seed_everything

if TYPE_CHECKING:
    from pandas import DataFrame

Row = dict[str, object]
ATTRIBUTE = ("LOAD_ATTR", "LOAD_METHOD")
SHOWN = 6  # numbers of a run on a card


def grid(
    function: Callable[..., Mapping[str, object]],
    *,
    keep: str = "",
    workers: int = 1,
    tolerance: float = 0.1,
    **axes: Iterable,
) -> DataFrame:
    """Call `function` with every combination of the axes; returns a row a run: the axes, what it returned.

    function: takes the axes by name, returns names -> numbers or texts. axes: lists of numbers or texts.
    Before each run every random generator is seeded with the axis `seed` (0 without one), so that a run
    follows from its axes alone, in whatever order. The frame's index is the seed, if there is one.

    Finished runs are noted in `.grids` in the folder of the runs; an interrupted experiment goes on there.
    keep: under this name ("4.01 examples") runs are looked for in data/measured, where `make measure` puts
    them. A run is known by its axes and the function's `fingerprint`. The first that is kept (begin with a
    cheap one) is repeated each time; a number that is off by more than `tolerance`, in its unit, is reported.
    workers: processes that share the runs; the cores are divided among them.

    Raises WorkbookError: an axis without values or with one twice, a function that returns anything else.
    """
    import pandas

    points = _points(axes)
    mark, anew = fingerprint(function), bool(keep) and "FTLIB_MEASURE" in os.environ
    file = DATA / "measured" / f"{keep.replace('.', '_').replace(' ', '_')}.json"
    record = json.loads(file.read_text(encoding="utf-8")) if keep and not anew and file.exists() else {}
    kept = _by_point(axes, record["runs"] if record.get("function") == mark else ())
    notes = _notes(f"{mark} {artefact.versions()} {anew}")
    done = _by_point(axes, _noted(notes)) | kept
    left = [point for point in points if tuple(point.values()) not in done]
    if again := next((point for point in points if tuple(point.values()) in kept), None):
        _repeat(keep, function, kept[tuple(again.values())], again, record, tolerance)
    elif keep and left and not anew:
        print(f"{keep}: nothing is kept for these values, so {len(left)} runs are made now")
    with plot.bar(len(left), "experiment", "run") as bar:
        for row in _rows(function, left, workers):
            with artefact.clear_errors(notes), notes.open("a", encoding="utf-8") as lines:
                lines.write(f"\n{json.dumps(row)}")  # a new line first: the last may have been cut
            done |= _by_point(axes, [row])
            bar.update()
    rows = [done[tuple(point.values())] for point in points]
    if anew:
        record = {"function": mark, "versions": artefact.versions(), "device": device(), "runs": rows}
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        notes.unlink()
    return pandas.DataFrame(rows, index=[row["seed"] for row in rows] if "seed" in axes else None)


def at_best(runs: DataFrame, dial: str, score: str, by: Sequence[str] = ()) -> DataFrame:
    """The runs at the value of `dial` with the best mean `score`, found for each group of the columns `by`.

    So a method is compared at its own best learning rate; `score` comes from rows that are not test rows.
    Of equally good values the first counts.
    """
    import pandas

    groups = [rows for _, rows in runs.groupby(list(by), sort=False)] if by else [runs]
    means = [rows.groupby(dial, sort=False)[score].mean().round(9) for rows in groups]  # 0.1 + 0.2 is 0.3
    return pandas.concat(rows[rows[dial] == mean.idxmax()] for rows, mean in zip(groups, means, strict=True))


def at_equal_scores(
    runs: DataFrame, dial: str, score: str, kept: str, by: str, slack: float = 0.02
) -> DataFrame:
    """The runs of each method where all reach the same mean `score`: the highest that every one can reach.

    by: the column of methods. Of the values of `dial` that reach that score, or miss it by `slack` at most,
    a method takes the one with the highest mean of `kept`, such as the facts that it has not forgotten.
    """
    import pandas

    methods = runs.groupby(by, sort=False)
    means = {method: rows.groupby(dial)[[score, kept]].mean() for method, rows in methods}
    least = min(found[score].max() for found in means.values()) - slack
    gentlest = {method: found[found[score] >= least][kept].idxmax() for method, found in means.items()}
    parts = [runs[(runs[by] == method) & (runs[dial] == value)] for method, value in gentlest.items()]
    return pandas.concat(parts)


def by_look(runs: DataFrame) -> DataFrame:
    """A row for each time a run was looked at: "loss 1", "loss 2" ... become columns `look` and `loss`.

    runs: as of `grid`, whose function numbered what it saw, from 1. All other columns are repeated.
    """
    import pandas

    numbered = [name.rpartition(" ")[0] for name in runs if name.rpartition(" ")[2].isdigit()]
    plain = runs.reset_index(drop=True).rename_axis("run").reset_index()
    long = pandas.wide_to_long(plain, list(dict.fromkeys(numbered)), i="run", j="look", sep=" ")
    long = long.reset_index().sort_values(["run", "look"])
    return long.set_index(long["seed"].rename(None) if "seed" in long else "run")


def _points(axes: Mapping[str, Iterable]) -> list[Row]:
    """Every combination of the axes; the last axis runs fastest."""
    lists = {name: [] if isinstance(values, str) else list(values) for name, values in axes.items()}
    for name, values in lists.items():
        if not values or any(not isinstance(value, (int, float, str)) for value in values):
            raise WorkbookError(f"axis {name} is {axes[name]!r:.80}: give a list of numbers or texts")
        if len(set(values)) < len(values):
            raise WorkbookError(f"axis {name} has a value twice: {values}")
    return [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]


def _by_point(axes: Iterable[str], rows: Iterable[Row]) -> dict[tuple, Row]:
    return {tuple(row.get(name) for name in axes): row for row in rows}


def _notes(name: str) -> Path:
    """The file of finished runs: beside the folder of a run, which goes when one is interrupted."""
    folder = Path(os.environ.get("FTLIB_RUN_FOLDER") or "runs/one").absolute().parent / ".grids"
    with artefact.clear_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.jsonl"


def _noted(notes: Path) -> Iterator[Row]:
    for line in notes.read_text(encoding="utf-8").splitlines() if notes.exists() else ():
        with suppress(ValueError):  # what a process wrote when it was killed
            yield json.loads(line)


def _rows(function: Callable, points: list[Row], workers: int) -> Iterator[Row]:
    """The runs as they finish, in this process or in several."""
    if workers < 2:
        yield from (_run(function, point) for point in points)
    else:
        from joblib import Parallel, delayed  # it hands over what a notebook defines, too

        share = Parallel(n_jobs=workers, batch_size=1, return_as="generator_unordered")
        yield from share(delayed(_run)(function, point) for point in points)


def _run(function: Callable, point: Row) -> Row:
    """One run as a row."""
    seed_everything(seed if isinstance(seed := point.get("seed"), int) else 0)
    found = function(**point)
    try:
        return json.loads(json.dumps(dict(**point, **found)))
    except (TypeError, ValueError):
        what = "return other names than the axes have, with Python's own numbers or texts"
        raise WorkbookError(f"{function.__name__} returned {found!r:.80}: {what}") from None


def _repeat(keep: str, function: Callable, kept: Row, point: Row, record: Row, tolerance: float) -> None:
    """Runs one of the kept runs again and shows, in a card, how far it is off."""
    now, found = _run(function, point), []
    for name in [name for name in {**kept, **now} if name not in point]:
        old, new = kept.get(name), now.get(name)
        numbers = isinstance(old, (int, float)) and isinstance(new, (int, float))
        off = abs(new - old) if numbers else 0.0 if new == old else math.inf
        found.append((off <= tolerance, off, name, f"{plot.words(new)} now, {plot.words(old)} kept"))
    holds = all(within for within, *_ in found)
    if len(found) > SHOWN:  # those furthest off, and of the others how far
        found.sort(key=lambda one: (one[0], -one[1]))
    lines = {"measured": f"torch {record['versions'].get('torch')}, {record['device']}"}
    lines["run again"] = ", ".join(f"{name} {value}" for name, value in point.items())
    lines |= {name: f"{both}, off by {plot.words(off)}" for _, off, name, both in found[:SHOWN]}
    if rest := found[SHOWN:]:
        lines[f"{len(rest)} others"] = f"off by {plot.words(max(off for _, off, *_ in rest))} at most"
    if not holds:
        lines["next step"] = f"more than {tolerance:g} off: `make measure` measures all runs here"
    title = f"{keep}: kept with the workbook" if holds else f"{keep}: what is kept does not hold here"
    plot.card(title, lines, plot.GREY if holds else plot.PALETTE[1]).display()


def fingerprint(function: Callable) -> str:
    """A hash of what a function does: its code, and all that it refers to, the same on every machine.

    Code of the module that defines it (mostly a notebook) is followed from function to function, without
    comments, layout and docstrings. Values count by content: models by weights, tokenizers by vocabulary and
    template, files by bytes; where only an attribute is read, that attribute; a device does not count. What
    other modules define counts by its name, so what it reads (`data.load`) is to be loaded outside and
    referred to.
    Raises WorkbookError for a value without content, such as an open file.
    """
    from joblib.hashing import NumpyHasher

    seen: dict[int, int] = {}

    class Hasher(NumpyHasher):
        def save(self, value: object) -> None:
            super().save(_stand_in(value, function.__module__, seen))

    try:
        return Hasher("sha256").hash(function)
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        what = f"{function.__name__} refers to what has no content of its own"
        raise WorkbookError(f"{what}, so make it inside: {str(error).splitlines()[0]}") from None


def _stand_in(value, own: str, seen: dict[int, int]) -> object:
    """What counts of a value, where that is not what pickling would take."""
    value, torch = inspect.unwrap(value) if callable(value) else value, sys.modules.get("torch")
    if isinstance(value, (str, Path)) and os.path.isabs(value):
        return "file", artefact.identity(value)
    if isinstance(value, (dict, list)):
        with suppress(TypeError, ValueError):
            return json.dumps(value, sort_keys=True)
    if inspect.isfunction(value) or isinstance(value, type):
        if value.__module__ != own or id(value) in seen:
            return value.__module__, value.__qualname__, seen.get(id(value))
        seen[id(value)] = len(seen)
        if isinstance(value, type):
            return value.__qualname__, value.__bases__, _members(value)
        return _source(value), value.__defaults__, value.__kwdefaults__, _refers_to(value)
    if isinstance(value, types.ModuleType):
        return "module", value.__name__
    if torch and isinstance(value, torch.nn.Module):
        return type(value), dict(value.state_dict())
    if torch and isinstance(value, torch.Tensor):
        content = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        return str(value.dtype), value.shape, content
    return (value.get_vocab(), value.chat_template) if hasattr(value, "chat_template") else value


def _source(function: types.FunctionType) -> str:
    """The code of a function as Python writes it, without comments, layout and docstrings."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):
        raise WorkbookError(f"the code of {function.__name__} cannot be read: write it as a def") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return ast.unparse(tree)


def _members(defined: type) -> dict[str, object]:
    """What stands in the body of a class: without what Python or a decorator put there."""
    found = {}
    for name, member in vars(defined).items():
        member = getattr(member, "__func__", getattr(member, "fget", member))  # of methods and properties
        written = inspect.isfunction(member) and member.__code__.co_filename != "<string>"
        if written or not name.startswith("__"):
            found[name] = member
    return found


def _refers_to(function: types.FunctionType) -> dict[str, object]:
    """What a function reads from outside: name -> value, or an attribute where it reads no more."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    scopes = dict.fromkeys(("LOAD_GLOBAL", "LOAD_NAME"), function.__globals__)
    scopes["LOAD_DEREF"] = {name: cell.cell_contents for name, cell in cells}
    codes, found = [function.__code__], {}
    for code in codes:  # grows: comprehensions and inner functions are codes of their own
        codes += [inner for inner in code.co_consts if isinstance(inner, types.CodeType)]
        steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
        for number, step in enumerate(steps):
            if step.argval not in scopes.get(step.opname, ()):
                continue
            name, value = step.argval, scopes[step.opname][step.argval]
            for after in itertools.takewhile(lambda one: one.opname in ATTRIBUTE, steps[number + 1 :]):
                part = getattr(value, after.argval, print)
                if callable(part) and not isinstance(value, types.ModuleType):
                    break  # a method may use all of its object
                name, value = f"{name}.{after.argval}", part
            # Where it runs does not count: what is kept was measured on a CPU, and says so.
            found[name] = "cpu" if name.rpartition(".")[2] == "device" else value
    return dict(sorted(found.items()))
