"""A search that several processes share, one of which is killed."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from ftlib import search
from ftlib.settings import WorkbookError

WORKER = """
import sys, time
from pathlib import Path
from ftlib import search

file, notes, stop_at = sys.argv[1:]
study = search.open_study(file)
while trial := search.next_trial(study, file, 20):
    place = trial.suggest_int("place", 0, 1_000_000)
    if trial.number >= int(stop_at) >= 0:
        Path(notes).with_suffix(".waits").touch()
        time.sleep(600)
    with open(notes, "a") as lines:
        lines.write(f"{place}\\n")
    study.tell(trial, -abs(place - 700_000))
"""


def worker(tmp_path, stop_at=-1):
    command = [sys.executable, "-c", WORKER, str(tmp_path / "study"), str(tmp_path / "notes"), str(stop_at)]
    return subprocess.Popen(command)


def wait_for(path):
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path.name} did not come")


def finished(study):
    return Counter(trial.state.name for trial in study.trials)


def test_processes_share_a_search_and_a_killed_one_loses_and_repeats_nothing(tmp_path):
    waiting = worker(tmp_path, stop_at=7)
    wait_for(tmp_path / "notes.waits")
    os.kill(waiting.pid, signal.SIGKILL)
    assert waiting.wait() == -signal.SIGKILL
    study = search.open_study(tmp_path / "study")
    assert finished(study) == {"COMPLETE": 7, "RUNNING": 1}
    interrupted = study.trials[7].params
    assert search.queue_again(study) == 1 and search.queue_again(study) == 0
    for process in [worker(tmp_path), worker(tmp_path)]:
        assert process.wait(timeout=120) == 0
    assert finished(study) == {"COMPLETE": 20, "FAIL": 1}
    done = [trial.params["place"] for trial in study.trials if trial.state.name == "COMPLETE"]
    run = [int(line) for line in (tmp_path / "notes").read_text().split()]
    assert Counter(run) == Counter(done), "each was run once, and its result is kept"
    assert interrupted["place"] in run


def test_a_search_that_is_done_gives_no_trial(tmp_path):
    study = search.open_study(tmp_path / "study")
    for value in range(3):
        study.tell(search.next_trial(study, tmp_path / "study", 3), value)
    assert search.next_trial(study, tmp_path / "study", 3) is None
    assert search.open_study(tmp_path / "study").best_value == 2, "larger values are better"


def test_a_study_in_a_folder_that_does_not_exist_is_one_clear_error(tmp_path):
    with pytest.raises(WorkbookError, match="its folder does not exist"):
        search.open_study(tmp_path / "no folder" / "study")


class Places:
    """Stands for a trial: proposes the last place of each dial."""

    def suggest_int(self, name, low, high):
        assert low == 0
        return high


def test_a_trial_proposes_one_value_of_each_dial():
    values = [[2e-4, 1e-3], [32, 8, 2]]
    assert search.proposed(Places(), ["learning_rate", "batch_size"], values) == (1e-3, 2)
    with pytest.raises(ValueError):
        search.proposed(Places(), ["learning_rate"], values)


def note_or_die(folder, dies):
    (folder / str(os.getpid())).touch()
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(1)


@pytest.mark.parametrize("dies", [False, True])
def test_a_function_runs_in_processes_of_its_own_and_a_killed_one_is_said(tmp_path, dies, capsys):
    search.in_processes(2, note_or_die, tmp_path, dies)
    processes = {int(file.name) for file in tmp_path.iterdir()}
    assert processes and os.getpid() not in processes and (dies or len(processes) == 2)
    assert capsys.readouterr().out == ("a process was killed\n" if dies else "")
