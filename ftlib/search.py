"""A search for hyperparameters that several processes share, and that goes on after one was killed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from ftlib.settings import WorkbookError

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import BaseSampler

LOCK_SECONDS = 5  # after so long, the journal's lock belongs to a process that was killed while it wrote


def open_study(file: str | Path, sampler: BaseSampler | None = None) -> Study:
    """Opens the study in a journal file, or begins it there; its larger values are the better ones.

    Each process opens it by itself and sees the trials of all. sampler: None for Optuna's own choice.
    Raises WorkbookError for a folder that does not exist.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock, JournalStorage

    path = Path(file).absolute()
    if not path.parent.is_dir():
        raise WorkbookError(f"a study cannot be kept in {path}: its folder does not exist, so make it first")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = JournalFileBackend(str(path), JournalFileSymlinkLock(str(path), LOCK_SECONDS))
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
