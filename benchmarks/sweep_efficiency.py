"""Do two workers make a sweep twice as fast? The efficiency is a ratio within one run.

    python benchmarks/sweep_efficiency.py [CELLS] [ROUNDS]

The same runs of exercises/one_fine_tuning.ipynb (8 unless given) are made by one worker and by two, in turn;
the start of the cluster counts. Efficiency: the seconds of one worker, divided by twice those of two. It is
the median over the rounds (3), with the smallest and the largest. Two cores must be free: the load before the
first round is printed, and how much of the processor other programs took. Exit status 1: less than 0.8.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

from ftlib import run, sweep

NOTEBOOK = Path(__file__).parent.parent / "exercises" / "one_fine_tuning.ipynb"
SMALL = {"examples": "64", "test_examples": "50", "epochs": "2"}
LIMIT = 0.8


def main() -> int:
    cells, rounds = (int(text) for text in [*sys.argv[1:], *("8", "3")[len(sys.argv) - 1 :]])
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    print(f"{cells} runs, {rounds} rounds, {cores} cores; before: load {load:.2f}", end=", ")
    taken = psutil.cpu_percent(interval=3)
    print(f"{taken:.0f} % of the processor in use: {'free' if taken < 5 else 'NOT FREE, so worth nothing'}")
    seconds(2, 2)  # the files are read once
    found = []
    for number in range(rounds):
        order = (1, 2) if number % 2 == 0 else (2, 1)  # so that drift cancels out
        took = {workers: seconds(cells, workers) for workers in order}
        found.append(took[1] / (2 * took[2]))
        print(f"  one worker {took[1]:.0f} s, two {took[2]:.0f} s: {found[-1]:.2f}", flush=True)
    print(f"efficiency of two workers {statistics.median(found):.2f} [{min(found):.2f}, {max(found):.2f}]")
    return int(statistics.median(found) < LIMIT)


def seconds(cells: int, workers: int) -> float:
    """Wall time of a sweep from nothing."""
    chapter = run.chapter(NOTEBOOK, NOTEBOOK.stem)
    with tempfile.TemporaryDirectory() as folder:
        grid = run.prepare_all(chapter, [SMALL | {"seed": str(seed)} for seed in range(cells)], Path(folder))
        results: list[run.Result] = []
        began = time.perf_counter()
        sweep.compute(dict(enumerate(grid)), workers, "", lambda number, result: results.append(result))
        took = time.perf_counter() - began
    failed = [result.note for result in results if result.status]
    if failed or len(results) < cells:
        sys.exit(f"runs failed: {failed}")
    return took


if __name__ == "__main__":
    sys.exit(main())
