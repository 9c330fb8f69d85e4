"""A search for hyperparameters that several processes share, and that goes on after one was killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from ftlib.settings import WorkbookError

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import BaseSampler
    from optuna.trial import BaseTrial


def open_study(file: str | Path, sampler: BaseSampler | None = None) -> Study:
    """Opens the study in a journal file, or begins it there; its larger values are the better ones.

    Each process opens it by itself and sees the trials of all. sampler: None for Optuna's own choice.
    Raises WorkbookError for a folder that does not exist.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    path = Path(file).absolute()
    if not path.parent.is_dir():
        raise WorkbookError(f"a study cannot be kept in {path}: its folder does not exist, so make it first")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # This lock goes with the process that holds it; Optuna's own stays for a while behind a killed one.
    backend = JournalFileBackend(str(path), FileLock(f"{path}.lock"))
    return optuna.create_study(
        study_name="search",
        storage=JournalStorage(backend),
        sampler=sampler,
        direction="maximize",
        load_if_exists=True,
    )


def next_trial(study: Study, file: str | Path, trials: int) -> Trial | None:
    """The next trial to run; None where so many are finished or under way, in whatever process.

    Counting and beginning are one step, under a lock, so that processes together run exactly `trials`.
    """
    from optuna.trial import TrialState

    with FileLock(f"{Path(file).absolute()}.count"):
        begun = study.get_trials(deepcopy=False)
        taken = sum(trial.state not in (TrialState.WAITING, TrialState.FAIL) for trial in begun)
        return study.ask() if taken < trials else None


def queue_again(study: Study) -> int:
    """Queues the trials that killed processes left under way, with their values; returns how many.

    To be called while no process works on the study: a trial under way has no mark of who runs it.
    """
    from optuna.trial import TrialState

    left = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in left:
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    return len(left)


def progress(tried: Sequence[tuple], worth: Mapping) -> list[dict[str, float]]:
    """A row after each run of a search: `run`, the best score `seen` so far, and what that setting is worth.

    tried: pairs of a setting and the score that the search saw, in order; of equal scores the first counts.
    worth: setting -> names and numbers, such as its mean over all seeds.

    >>> progress([("a", 0.5), ("b", 0.4), ("c", 0.7)], {"a": {"test": 0.6}, "c": {"test": 0.5}})[1:]
    [{'run': 2, 'seen': 0.5, 'test': 0.6}, {'run': 3, 'seen': 0.7, 'test': 0.5}]
    """
    rows, best = [], tried[0]
    for run, one in enumerate(tried, start=1):
        best = max(best, one, key=lambda pair: pair[1])
        rows.append({"run": run, "seen": best[1], **worth[best[0]]})
    return rows


def proposed(trial: BaseTrial, dials: Sequence[str], values: Sequence[Sequence]) -> tuple:
    """The setting that a trial proposes: of each dial one of its values, which are places in a row.

    So a sampler knows that neighbouring values are near each other, whatever the steps between them.
    """
    pairs = list(zip(dials, values, strict=True))
    return tuple(options[trial.suggest_int(dial, 0, len(options) - 1)] for dial, options in pairs)


def in_processes(count: int, function: Callable, *arguments: object) -> None:
    """Calls a function, which a notebook may define, in `count` processes at the same time.

    When one of them is killed, joblib ends the others too; that is said, and no error.
    """
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    try:
        Parallel(n_jobs=count)(delayed(function)(*arguments) for _ in range(count))
    except TerminatedWorkerError:
        print("a process was killed")
