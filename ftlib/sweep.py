"""A grid of runs, on a Dask cluster or in a SLURM array. Each leaves its folder, so that a sweep goes on."""

from __future__ import annotations

import base64
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

from ftlib import artefact, evaluate, plot, report, run, track
from ftlib.presets import Preset
from ftlib.settings import WorkbookError, closest, one_line

if TYPE_CHECKING:
    from distributed import Client
    from pandas import DataFrame

WAIT = 30  # seconds in which a scheduler must answer, and a worker be there
SLURM = """\
#!/bin/bash
# {title} An array task a run; what is finished is not repeated.
#   bash THIS_FILE      submits the array, and then the task that makes the table
#   sbatch THIS_FILE    submits the array alone
# Partition and account: SBATCH_PARTITION and SBATCH_ACCOUNT, or more lines like the next ones.
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --cpus-per-task=1
set -euo pipefail
sweep=({command})
if [ -z "${{SLURM_ARRAY_TASK_ID:-}}" ]; then
    array=$(sbatch --parsable "$0")
    table=$(printf '%q ' "${{sweep[@]}}" --gather)
    exec sbatch --dependency="afterany:${{array%%;*}}" --chdir={here} --wrap="$table"
fi
cd {here}
exec "${{sweep[@]}}" --cell "$SLURM_ARRAY_TASK_ID"
"""


def sweep(preset: Preset, out: Path, workers: int, scheduler: str, tracked: bool, gather: bool) -> int:
    """Runs what of the grid is not finished, prints a table, and writes it, a figure and a page into `out`.

    workers (0: as many as cores), scheduler: as of `compute`. tracked: log finished runs in `out`/mlflow.db.
    gather: run nothing. Returns the exit status: 1 where runs failed or are missing; stderr says why.
    """
    from joblib import cpu_count

    grid = run.prepare_all(preset.chapter, preset.cells, out)
    with artefact.clear_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    before = {number: one for number, job in enumerate(grid) if (one := run.finished(job))}
    left = {number: job for number, job in enumerate(grid) if number not in before}
    _say(f"{preset.title} Guess: {preset.guess}\n{len(grid)} runs, {len(before)} of them finished before")
    log, found = track.Log(out, preset.name) if tracked else None, {}

    def done(number: int, result: run.Result) -> None:
        found[number] = result
        if not result.status and preset.metric not in result.metrics:
            near = closest(preset.metric, result.metrics) or f"; it has {', '.join(result.metrics)}"
            raise WorkbookError(f"metric: run {number} has no {preset.metric!r}{near}")
        if log and not result.status:
            log.add(grid[number].folder)
        if number in left:
            reached = result.note or f"{preset.metric} {plot.words(result.metrics[preset.metric])}"
            point = ", ".join(f"{name} {grid[number].values[name]}" for name in [*preset.axes, "seed"])
            error = "error: " if result.status else ""
            _say(one_line(f"{error}run {number} ({point}): {reached}"))

    for number, one in before.items():
        done(number, run.Result(str(number), 0, one.seconds, one.metrics))
    if gather:
        for number in left:
            done(number, run.Result(str(number), 1, 0.0, note="not finished: see its own log"))
    elif left:
        compute(left, workers or cpu_count(), scheduler, done)
    print(write(preset, table(preset, grid, found), out))
    print(f"Notice: {preset.notice}\nrows, figure and page: {out}")
    return int(any(result.status for result in found.values()))


def _say(lines: str) -> None:
    print(lines, file=sys.stderr, flush=True)


def compute(
    grid: Mapping[int, run.Job], workers: int, scheduler: str, done: Callable[[int, run.Result], None]
) -> None:
    """Runs the jobs and calls `done` with the number and the result of each as it finishes.

    workers: processes of a cluster of its own, with one thread each; scheduler: the address of a cluster to
    use in its place, whose workers see the same files. The run of a worker that dies goes to another one. An
    interrupt, or SIGTERM, ends a cluster of its own with its kernels within seconds; one that was there
    ends the runs that it had begun, and keeps them.
    """
    from distributed import as_completed

    with _client(min(workers, len(grid)), scheduler) as client:
        futures = {
            client.submit(_execute, job, key=str(job.folder), priority=-number): number
            for number, job in grid.items()
        }
        for future in as_completed(list(futures)):
            number, error = futures.pop(future), future.exception()
            failed = error and run.Result(str(number), 1, 0.0, note=_reason(error))
            done(number, failed or future.result())


def _execute(job: run.Job) -> run.Result:
    """What a worker does for a run. It may be called again for the same one: what is finished stays."""
    if artefact.digest(Path(run.__file__).parent) != job.inputs["ftlib"]:
        return run.Result(job.chapter.number, 2, 0.0, note="this worker has another ftlib: start it again")
    return run.execute(job, say=lambda line: None)


def _reason(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return "its worker was killed again and again; most often memory ran out"
    return one_line(f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def _client(workers: int, scheduler: str) -> Iterator[Client]:
    """A client of the scheduler at that address, or of a cluster that lives no longer than the block."""
    import logging

    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if scheduler:
        with _connected(scheduler) as client:
            yield client
        return
    options = {"threads_per_worker": 1, "processes": True, "memory_limit": 0, "dashboard_address": None}
    options |= {"n_workers": workers, "silence_logs": logging.CRITICAL}
    with contextlib.ExitStack() as stack:
        with _interrupts_wait():
            cluster = stack.enter_context(LocalCluster(**options))
            client = stack.enter_context(Client(cluster))
            client.register_plugin(_kernels())
        try:
            yield client
        except BaseException:
            for number in (signal.SIGINT, signal.SIGTERM):  # a second one must not cut short the end
                signal.signal(number, signal.SIG_IGN)
            raise


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Inside, an interrupt waits for the end. What is started inside never sees one that a keyboard sends."""
    resource_tracker.ensure_running()  # started later, it would let the signal through
    noted: list[int] = []
    usual = [signal.signal(one, lambda *_: noted.append(1)) for one in (signal.SIGINT, signal.SIGTERM)]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, usual[0])
        signal.signal(signal.SIGTERM, usual[1])
        if noted:
            raise KeyboardInterrupt


def _connected(scheduler: str) -> Client:
    from distributed import Client

    try:
        client = Client(scheduler, timeout=WAIT)
        client.wait_for_workers(1, timeout=WAIT)
    except (OSError, ValueError, TimeoutError) as error:
        raise WorkbookError(f"--scheduler {scheduler}: no Dask cluster with a worker: {error}") from None
    return client


def _kernels():
    """A plugin that lets a worker of our own, whatever ends it, end its kernels too."""
    from distributed import WorkerPlugin

    class Kernels(WorkerPlugin):
        def setup(self, worker: object) -> None:
            os.environ["TQDM_DISABLE"] = "1"  # a bar of each worker would be written over the others'
            run.begin_worker(1)

        def teardown(self, worker: object) -> None:
            run.end_worker(0, None)

    return Kernels()


def table(preset: Preset, grid: Sequence[run.Job], found: Mapping[int, run.Result]) -> DataFrame:
    """A row a run: number, axes, seed, metrics (of an interval the mean), seconds, folder, and its fault."""
    import pandas

    rows = []
    for number, job in enumerate(grid):
        result = found[number]
        means = {name: (plot.interval(one) or {"mean": one})["mean"] for name, one in result.metrics.items()}
        rows.append({"run": number} | {name: job.values[name] for name in [*preset.axes, "seed"]} | means)
        rows[-1] |= {"seconds": round(result.seconds, 1), "folder": job.folder.name, "fault": result.note}
    return pandas.DataFrame(rows)


def summary(preset: Preset, runs: DataFrame) -> plot.Shown:
    """The mean of the metric over the seeds, with its 95 % t interval, for each point of the grid."""
    rows = []
    for point, group in runs.groupby(preset.axes, sort=False):
        scores = group[preset.metric].dropna()
        reached = evaluate.seeds_interval(scores) if len(scores) > 1 else next(iter(scores), None)
        rows.append(dict(zip(preset.axes, point, strict=True)) | {preset.metric: reached})
        rows[-1] |= {"runs": f"{len(scores)} of {len(group)}", "seconds": group["seconds"].mean()}
    return plot.table(rows)


def write(preset: Preset, runs: DataFrame, out: Path) -> plot.Shown:
    """Writes runs.csv, figure.png and index.html into the folder, and returns the summary."""
    lines = [name for name in preset.axes if name != preset.x]
    with artefact.clear_errors(out):
        runs.to_csv(out / "runs.csv", index=False)
        if preset.metric not in runs:  # no run has finished
            return plot.table([{"runs": f"0 of {len(runs)}"}])
        good = runs.dropna(subset=[preset.metric])
        name = ", ".join(lines)
        if lines:
            heads = [f"{line.replace('_', ' ')} " for line in lines]
            good = good.assign(**{name: good[lines].astype(str).radd(heads).agg(", ".join, axis=1)})
        figure = plot.drawn_curve(good, preset.x, preset.metric, by=name).html
        (out / "figure.png").write_bytes(base64.b64decode(run.PNG.findall(figure)[0]))
        shown = summary(preset, runs)
        page = report.render("sweep", preset=preset, figure=figure, table=shown.html)
        (out / "index.html").write_text(page, encoding="utf-8")
    return shown


def one(preset: Preset, number: int, out: Path) -> int:
    """Makes one run of the grid, as an array task does; returns its exit status."""
    if not 0 <= number < len(preset.cells):
        raise WorkbookError(f"--cell {number}: {preset.name} has the runs 0 to {len(preset.cells) - 1}")
    [result] = run.run_all([run.prepare(preset.chapter, preset.cells[number], out)], 1)
    return result.status


def slurm(preset: Preset, file: Path, out: Path) -> str:
    """A script for sbatch, with an array task a run; what it starts is this very Python in this folder."""
    command = [sys.executable, "-m", "ftlib", "sweep", str(file.absolute()), "--out", str(out.absolute())]
    words = {"title": preset.title, "name": preset.name, "last": len(preset.cells) - 1}
    return SLURM.format(**words, here=shlex.quote(str(Path.cwd())), command=shlex.join(command))
