"""The command line: python -m ftlib. What a command does stands in the module it calls."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ftlib import (
    artefact,
    badges,
    claims,
    data,
    grade,
    nursery,
    plot,
    presets,
    progress,
    release,
    report,
    run,
    settings,
    sweep,
)
from ftlib.model import load_tokenizer
from ftlib.settings import WorkbookError

PAGE = "index.html"
Commands = argparse._SubParsersAction


def main(arguments: Sequence[str] | None = None, notebooks: Path = run.NOTEBOOKS) -> int:
    """The command line; returns the exit status: 0 success, 1 a run failed, 2 the user can put it right."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options, notebooks)
    except WorkbookError as error:
        print(settings.one_line(f"error: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command does again what is not finished", file=sys.stderr)
        return 130


def _list(options: argparse.Namespace, notebooks: Path) -> int:
    costs = run.costs()
    for chapter in run.chapters(notebooks).values():
        times = [f"{tier} {cost['seconds']} s" for tier, cost in costs.get(chapter.number, {}).items()]
        print(f"{chapter.number}  {chapter.title}" + (f" ({', '.join(times)})" if times else ""))
        for name, declared in chapter.parameters.items():
            kind = f"{name}: {declared.kind.__name__} = {declared.default!r}"
            print(f"      {kind:<34}  {declared.comment}".rstrip())
    return 0


def _run(options: argparse.Namespace, notebooks: Path) -> int:
    available = run.chapters(notebooks)
    given = {"tier": options.tier} if options.tier else {}
    for name, text in options.parameter:
        if given.setdefault(name, text) != text:
            raise WorkbookError(f"parameter {name} is given twice: {given[name]!r} and {text!r}")
    chosen = run.select(options.what, available)
    jobs = [
        run.prepare(one, taken, options.out, options.force)
        for one, taken in zip(chosen, run.shared(chosen, given), strict=True)
    ]
    with artefact.clear_errors(options.out):
        options.out.mkdir(parents=True, exist_ok=True)
    results = run.run_all(jobs, options.workers)
    rows = [
        {
            "chapter": f"{result.number} {available[result.number].title}",
            "seconds": round(result.seconds),
            "result": _headline(result),
        }
        for result in results
    ]
    print(plot.table(rows))
    _write_page(options, [available[result.number] for result in results], jobs, results)
    if options.what == "path":
        missing = ", ".join(sorted(set(run.PATH) - available.keys())) or "none"
        print(f"of the path, not written yet: {missing}")
    print(f"notebooks, figures and pages: {options.out}; all of it on one page: {options.out / PAGE}")
    return max(result.status for result in results)


def _write_page(
    options: argparse.Namespace, ran: list[run.Chapter], jobs: list[run.Job], results: list[run.Result]
) -> None:
    """Writes the page of the runs, with the headline figure of each."""
    entries = []
    for chapter, job, result in zip(ran, jobs, results, strict=True):
        figure, page = job.folder / run.HEADLINE, job.chapter.path.with_suffix(".html")
        entries.append(
            report.Entry(
                number=chapter.number,
                title=chapter.title,
                stage=chapter.path.parent.name.replace("_", " "),
                headline=_headline(result),
                seconds=round(result.seconds),
                failed=bool(result.status),
                figure=figure.read_text(encoding="utf-8") if not result.status and figure.exists() else "",
                page="" if result.status else f"{job.folder.name}/{page.name}",
            )
        )
    with artefact.clear_errors(options.out):
        report.write(options.out / PAGE, f"Fine-tuning: {options.what}", entries)


def _headline(result: run.Result) -> str:
    """The first metric with its interval, and the note if there is one."""
    if result.status:
        return ("failed", "refused")[result.status - 1]
    metric = next((f"{name} {plot.words(value)}" for name, value in result.metrics.items()), "finished")
    return f"{metric} ({result.note})" if result.note else metric


def _inspect(options: argparse.Namespace, notebooks: Path) -> int:
    try:
        records = data.read(options.file)
        with contextlib.redirect_stdout(sys.stderr):  # what is said of the template is no part of the report
            tokenizer = load_tokenizer(options.model)
        records = records if records.format == "text" else data.trainable(records, tokenizer)
    except data.NoUsableRow as error:
        _show(error.records, [], options.json)
        raise
    _show(records, data.pieces(tokenizer, records.used[0]), options.json)
    return 0


def _show(records: data.Records, pieces: list[tuple[str, bool]], as_json: bool) -> None:
    """Prints what `inspect` found; pieces: the first used row, in pieces that carry loss and others."""
    if as_json:
        print(json.dumps(data.inspect_report(records, pieces)))
        return
    print(records)
    if pieces:
        print("the first row as the model sees it, with loss on what stands in ⟦ ⟧:")
        print("".join(f"⟦{text}⟧" if carries_loss else text for text, carries_loss in pieces))


def _sweep(options: argparse.Namespace, notebooks: Path) -> int:
    preset = presets.read(options.file, notebooks)
    out = options.out or Path("runs") / "sweeps" / preset.name
    if options.slurm:
        print(sweep.slurm(preset, options.file, out), end="")
        return 0
    if options.cell is not None:
        return sweep.one(preset, options.cell, out)
    return sweep.sweep(preset, out, options.workers, options.scheduler, options.track, options.gather)


def _claims(options: argparse.Namespace, notebooks: Path) -> int:
    folder = options.folder or notebooks
    found = claims.collect(path for path in sorted(folder.rglob("*.ipynb")) if "-failed" not in path.stem)
    print(claims.summary(found) if found else f"no claims recorded in {folder}")
    return 0


def _release(options: argparse.Namespace, notebooks: Path) -> int:
    made = release.release(options.out, [*options.learner, *release.read_names(options.learners)], notebooks)
    seeds = [one.seed for one in made]
    for one in made:
        if seeds.count(one.seed) > 1:
            print(f"{one.learner} has the numbers of another learner: seed {one.seed}", file=sys.stderr)
    listed = f"; learners.csv names {len(made)} folders and their seeds" if made[0].learner else ""
    print(f"{options.out}: all chapters without solutions and outputs{listed}")
    return 0


def _progress(options: argparse.Namespace, notebooks: Path) -> int:
    print(progress.progress_map(options.folder, notebooks))
    return 0


def _badges(options: argparse.Namespace, notebooks: Path) -> int:
    print(badges.remove(notebooks) if options.undo else badges.stamp(notebooks, options.repository))
    return 0


def _grade(options: argparse.Namespace, notebooks: Path) -> int:
    limits = nursery.Limits(options.seconds, options.memory)
    return grade.grade(options.folder, options.out, limits, options.workers)


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> None:
        self.exit(2, settings.one_line(f"error: {message} ({self.prog} --help)") + "\n")


def _at_least_one(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def _add_list(commands: Commands) -> None:
    listing = commands.add_parser("list", help="the chapters, their times and parameters")
    listing.set_defaults(command=_list)


def _add_run(commands: Commands) -> None:
    chapter = commands.add_parser("run", help="run a chapter, a stage, the path or all chapters")
    chapter.add_argument("what", help="4.01, a stage (4 or 4_fine_tuning), path, or all")
    pair = {"nargs": 2, "action": "append", "default": [], "metavar": ("NAME", "VALUE")}
    chapter.add_argument("-p", dest="parameter", **pair)
    chapter.add_argument("--tier", help="tiny, small or large: the same as -p tier TIER")
    out = {"type": Path, "default": Path("runs")}
    chapter.add_argument("--out", **out, help="where the folders of the runs go (runs)")
    chapter.add_argument("--workers", type=_at_least_one, default=1, help="chapters at the same time (1)")
    chapter.add_argument("--force", action="store_true", help="repeat runs that are finished")
    chapter.set_defaults(command=_run)


def _add_sweep(commands: Commands) -> None:
    grid = commands.add_parser("sweep", help="a grid of runs -> one table and one figure")
    grid.add_argument("file", type=Path, help="a preset, such as exercises/rank.yml")
    grid.add_argument("--out", type=Path, help="where the folders of the runs go (runs/sweeps/NAME)")
    grid.add_argument("--workers", type=_at_least_one, default=0, help="runs at the same time (the cores)")
    grid.add_argument("--scheduler", default="", help="address of a Dask cluster that sees the same files")
    grid.add_argument("--track", action="store_true", help="log every run with MLflow in OUT/mlflow.db")
    how = grid.add_mutually_exclusive_group()
    how.add_argument("--slurm", action="store_true", help="print a SLURM script that does the same")
    how.add_argument("--cell", type=int, metavar="NUMBER", help="make one run of the grid, from 0")
    how.add_argument("--gather", action="store_true", help="make the table of the runs that are finished")
    grid.set_defaults(command=_sweep)


def _add_inspect(commands: Commands) -> None:
    inspect = commands.add_parser("inspect", help="what a data file is: format, rows used, rows reported")
    inspect.add_argument("file", help="a file, a hub id or an SQL URL")
    inspect.add_argument("--model", default=settings.MODELS["tiny"], help="whose template (the workbook's)")
    inspect.add_argument("--json", action="store_true", help="for programs")
    inspect.set_defaults(command=_inspect)


def _add_claims(commands: Commands) -> None:
    ledger = commands.add_parser("claims", help="what the guide says beside what was measured")
    ledger.add_argument("folder", nargs="?", type=Path, help="executed notebooks (the chapters as they lie)")
    ledger.set_defaults(command=_claims)


def _add_release(commands: Commands) -> None:
    copies = commands.add_parser("release", help="learner copies of all chapters, without solutions")
    copies.add_argument("out", type=Path, help="a new or empty folder for the copies")
    named = {"action": "append", "default": [], "metavar": "NAME"}
    copies.add_argument("--learner", **named, help="a copy of this learner's own; may be repeated")
    copies.add_argument("--learners", type=Path, metavar="FILE", help="more learners, a name a line")
    copies.set_defaults(command=_release)


def _add_progress(commands: Commands) -> None:
    chart = commands.add_parser("progress", help="a map of the chapters, with what you have passed")
    chart.add_argument("folder", nargs="?", type=Path, help="your notebooks (the chapters as they lie)")
    chart.set_defaults(command=_progress)


def _add_badges(commands: Commands) -> None:
    stamp = commands.add_parser("badges", help="let each notebook open in Colab by itself")
    which = stamp.add_mutually_exclusive_group(required=True)
    which.add_argument("repository", nargs="?", metavar="OWNER/REPO[@TAG]", help="on GitHub")
    which.add_argument("--undo", action="store_true", help="take badges and address out again")
    stamp.set_defaults(command=_badges)


def _positive(text: str) -> float:
    if not 0 < float(text) < float("inf"):
        raise ValueError
    return float(text)


def _add_grade(commands: Commands) -> None:
    grading = commands.add_parser("grade", help="grade the exercises of handed-in notebooks")
    grading.add_argument("folder", type=Path, help="holds the notebooks: a folder a learner, or a file")
    grading.add_argument("--out", type=Path, default=Path("grades"), help="where the results go (grades)")
    grading.add_argument("--workers", type=_at_least_one, default=0, help="hand-ins at a time (the cores)")
    limits = nursery.Limits()
    seconds = {"default": limits.seconds, "help": f"of an exercise ({limits.seconds})"}
    grading.add_argument("--seconds", type=_positive, **seconds)
    memory = {"default": limits.memory_gb, "metavar": "GB", "help": f"of an exercise ({limits.memory_gb})"}
    grading.add_argument("--memory", type=_positive, **memory)
    grading.set_defaults(command=_grade)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m ftlib", description="Runs the chapters of the Fine-Tuning Workbook.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    learn = (_add_list, _add_run, _add_inspect, _add_claims, _add_progress)
    teach = (_add_release, _add_grade, _add_sweep, _add_badges)
    for add in (*learn, *teach):
        add(commands)
    return parser
