"""Presets, and the grids of runs that they stand for: on a Dask cluster, in a SLURM script, in MLflow."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nbformat
import pandas
import psutil
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from test_run import DEAF, alive, wait_until

from ftlib import presets, settings
from ftlib.settings import WorkbookError

EXERCISES = Path(__file__).parent.parent / "exercises"
PARAMETERS = """width: int = 1
rank: int = 8
name: str = "a"
log: str = ""                  # notes who ran what
gate: str = ""                 # a file to wait for
seed: int = 0"""
BODY = """import os, time
from pathlib import Path
from ftlib import artefact
with open(log, "a") as lines:
    lines.write(f"{width} {seed} {os.getppid()}\\n")
while gate and width == 3 and not Path(gate).exists():
    time.sleep(0.05)
if name == "fails" and (width, seed) == (2, 1):
    raise ValueError("no such width")
score = {"mean": width + seed / 10, "low": 0.0, "high": 9.0}
metrics = {"score": score, "rows": 100 * width}
artefact.Manifest("small", {}, seed, artefact.versions(), {}, "cpu", 1.0, 0.5, metrics).show()"""
PRESET = {
    "title": "What does the width do?",
    "guess": "Predict the score.",
    "notice": "Look at the ends.",
    "chapter": "small.ipynb",
    "parameters": {},
    "axes": {"width": [1, 2]},
    "x": "width",
    "seeds": 2,
    "metric": "score",
}


def write(folder, body=BODY, **changes):
    """A small notebook and a preset for it, which notes what has been run in the file `log`."""
    folder.mkdir(exist_ok=True)
    code = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), new_code_cell(body)]
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Small"), *code]), folder / "small.ipynb")
    preset = PRESET | changes
    preset["parameters"] = {"log": str(folder / "log")} | preset["parameters"]
    path = folder / "small.yml"
    path.write_text(yaml.safe_dump(preset))
    return path


def command(path, *arguments, **options):
    """The command, started in the folder of the preset."""
    line = [sys.executable, "-m", "ftlib", "sweep", path, "--out", path.parent / "out", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": path.parent}
    return subprocess.Popen(list(map(str, line)), start_new_session=True, **pipes, **options)


def finish(process):
    """Exit status, stdout and stderr; a command that hangs is killed with all that it started."""
    try:
        shown, errors = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, shown, errors


def started(path):
    """How often each run has been started, by width and seed."""
    log = path.parent / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    return Counter(tuple(map(int, line.split()[:2])) for line in lines)


def rows(path):
    """The table of a sweep without what differs from time to time."""
    return pandas.read_csv(path.parent / "out" / "runs.csv").drop(columns=["seconds", "fault"])


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of four runs, one of which fails, logged with MLflow; and what the command said."""
    path = write(tmp_path_factory.mktemp("swept") / "dask", parameters={"name": "fails"})
    return path, *finish(command(path, "--workers", "2", "--track"))


def tracked(path):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{path.parent / 'out' / 'mlflow.db'}")
    [experiment] = [one for one in client.search_experiments() if one.name == "small"]
    return client.search_runs([experiment.experiment_id])


@pytest.mark.parametrize("path", sorted(EXERCISES.glob("*.yml")), ids=lambda path: path.stem)
def test_every_preset_is_valid_small_and_says_what_to_predict(path):
    preset = presets.read(path)
    assert 9 <= len(preset.cells) <= 30, "minutes on two cores"
    assert len(preset.guess) > 40 and len(preset.notice) > 40 and path.read_text().startswith("# ")
    source = nbformat.read(preset.chapter.path, as_version=4).cells[-1].source
    assert f'"{preset.metric}": ' in source
    given = {name: value for name, value in preset.cells[-1].items() if name in settings.PARAMETERS}
    assert given.keys() == preset.cells[-1].keys(), "a parameter whose range nobody knows"


def test_there_are_six_presets_and_the_readme_names_them():
    names = {path.name for path in EXERCISES.glob("*.yml")}
    readme = (EXERCISES.parent / "README.md").read_text()
    assert len(names) >= 6 and all(name.removesuffix(".yml") in readme for name in names)


WRONG = {
    "an unknown key": ({"axis": 1}, "axis: no such key; did you mean 'axes'?"),
    "a missing key": ({"metric": None}, "metric: the key is missing"),
    "a key of the wrong type": ({"axes": [1]}, "axes: [1] is not a mapping"),
    "a number of a chapter without quotes": ({"chapter": 4.01}, "chapter: 4.01 is not a text (in quotes)"),
    "an unknown chapter": ({"chapter": "4.02"}, "chapter: '4.02' is no number of a chapter"),
    "an unknown notebook": ({"chapter": "smal.ipynb"}, "beside the preset; did you mean 'small.ipynb'?"),
    "an unknown parameter": ({"parameters": {"nme": "a"}}, "parameters, nme: chapter small has no"),
    "an unknown axis": ({"axes": {"widht": [1]}, "x": "widht"}, "did you mean 'width'?"),
    "a value of the wrong type": ({"axes": {"width": [1, 2.5]}}, "axes, width: parameter width: '2.5'"),
    "a nested value": ({"axes": {"width": [1, [2]]}}, "axes, width: [2] is neither a number nor a text"),
    "nothing as a value": ({"parameters": {"name": None}}, "parameters, name: None is neither"),
    "a value out of range": ({"parameters": {"rank": 0}}, "parameters, rank: parameter rank is 0 (int)"),
    "an empty axis": ({"axes": {"width": []}}, "axes, width: [] is not a list of values"),
    "no axis": ({"axes": {}}, "axes: there is none"),
    "a cell twice": ({"axes": {"width": [1, 2, 1]}}, "axes, width: 1 is there twice"),
    "an x that is no axis": ({"x": "wdth"}, "x: 'wdth' is no axis; did you mean 'width'?"),
    "an x without numbers": ({"axes": {"name": ["a"]}, "x": "name"}, "x: name holds no numbers"),
    "one seed": ({"seeds": 1}, "seeds is 1 (int); it must be a whole number from 2 to 20"),
    "a seed as an axis": ({"axes": {"width": [1], "seed": [1]}}, "axes, seed: leave it out"),
    "an axis that is fixed": ({"parameters": {"width": 1}}, "parameters, width: leave it out"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_preset_that_is_wrong_is_refused_with_its_file_and_key(tmp_path, what):
    changes, says = WRONG[what]
    path = write(tmp_path / "wrong", **{"parameters": {}, **changes})
    preset = {key: value for key, value in yaml.safe_load(path.read_text()).items() if value is not None}
    path.write_text(yaml.safe_dump(preset))
    with pytest.raises(WorkbookError) as raised:
        presets.read(path)
    assert str(raised.value).startswith(f"{path}: ") and says in str(raised.value)


@pytest.mark.parametrize("text, says", [
    ("title: a\ntitle: b", "title: the key is there twice"),
    ("axes: {width: [1], width: [2]}", "width: the key is there twice"),
    ("- a list", "it must be a mapping with the keys title,"),
    ("title: [", "it cannot be read as YAML"),
])  # fmt: skip
def test_a_file_that_is_no_preset_is_one_clear_error(tmp_path, text, says):
    (tmp_path / "any.yml").write_text(text)
    with pytest.raises(WorkbookError, match=re.escape(says)):
        presets.read(tmp_path / "any.yml")


def test_a_preset_that_is_not_there_is_told_its_neighbour_s_name():
    with pytest.raises(WorkbookError, match=r"rnak\.yml: there is no such preset; did you mean 'rank\.yml'"):
        presets.read(EXERCISES / "rnak.yml")


def test_a_tier_whose_model_is_not_there_stops_a_sweep_before_anything_starts(tmp_path):
    path = tmp_path / "tier.yml"
    for name in ("tier.yml", "one_fine_tuning.ipynb"):
        (tmp_path / name).write_text((EXERCISES / name).read_text())
    status, shown, errors = finish(command(path))
    assert (status, shown) == (2, "") and errors.count("\n") == 1
    assert errors.startswith("error: model 'HuggingFaceTB/SmolLM2-135M' is no folder, not in the cache")
    assert not (tmp_path / "out").exists()


def test_a_run_that_fails_is_said_with_its_reason_and_the_others_are_kept_in_a_table(swept):
    path, status, shown, errors = swept
    assert status == 1
    assert re.search(r"(?m)^error: run 3 \(width 2, seed 1\): cell \[3\] raised ValueError: no such", errors)
    assert re.search(r"(?m)^ +1 +1\.1 \[0\.4, 1\.7\] +2 of 2", shown), "Student's t of 1.0 and 1.1"
    assert re.search(r"(?m)^ +2 +2 +1 of 2", shown), "one run has no interval"
    assert "Notice: Look at the ends." in shown and "Guess: Predict the score." in errors
    found = pandas.read_csv(path.parent / "out" / "runs.csv")
    assert found["score"].tolist()[:3] == [1.0, 1.1, 2.0] and found["score"].isna().tolist()[3]
    assert found["rows"].tolist()[:3] == [100, 100, 200] and found["run"].tolist() == [0, 1, 2, 3]
    assert "no such width" in found["fault"][3] and found["fault"].isna().tolist() == [True] * 3 + [False]
    assert all((path.parent / "out" / name / "manifest.json").exists() for name in found["folder"][:3])
    page = (path.parent / "out" / "index.html").read_text()
    assert "What does the width do?" in page and 'alt="mean: score goes from' in page and "<table" in page
    assert (path.parent / "out" / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_sweep_goes_on_with_what_is_not_finished_and_logs_each_run_once(swept):
    path, *_ = swept
    before, first = started(path), {one.info.run_id for one in tracked(path)}
    assert len(first) == 3, "a run that failed has left nothing to log"
    (path.parent / "small.ipynb").touch()
    status, *_ = finish(command(path, "--workers", "1", "--track"))
    assert status == 1 and started(path) - before == {(2, 1): 1}
    runs = tracked(path)
    assert {one.info.run_id for one in runs} == first
    assert sorted(one.data.metrics["score"] for one in runs) == [1.0, 1.1, 2.0]
    [one] = [one for one in runs if one.data.metrics["score"] == 2.0]
    assert one.data.params["width"] == "2" and one.data.metrics["score low"] == 0.0
    assert one.info.status == "FINISHED" and one.data.tags["device"] == "cpu" and one.data.tags["torch"]


def test_a_metric_that_no_run_has_ends_a_sweep_at_its_first_run(swept, tmp_path):
    path, *_ = swept
    other = path.with_name("other.yml")
    other.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"metric": "scor"}))
    status, _, errors = finish(command(other))
    assert status == 2 and errors.endswith("error: metric: run 0 has no 'scor'; did you mean 'score'?\n")


def test_the_script_for_slurm_makes_the_same_runs_and_table(swept, tmp_path):
    path = write(tmp_path / "slurm", parameters={"name": "fails"})
    status, script, errors = finish(command(path, "--slurm"))
    assert (status, errors) == (0, "") and "#SBATCH --array=0-3\n" in script
    (tmp_path / "array.sh").write_text(script)
    tasks = [
        subprocess.Popen(
            ["bash", tmp_path / "array.sh"],
            env=os.environ | {"SLURM_ARRAY_TASK_ID": str(number)},
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
        )
        for number in range(4)
    ]
    assert [task.wait(timeout=300) for task in tasks] == [0, 0, 0, 1]
    status, _, errors = finish(command(path, "--gather"))
    assert status == 1 and "error: run 3 (width 2, seed 1): not finished" in errors
    dask, *_ = swept
    pandas.testing.assert_frame_equal(rows(path).drop(columns="folder"), rows(dask).drop(columns="folder"))
    assert set(started(path).values()) == {1}
    status, _, errors = finish(command(path, "--cell", "4"))
    assert status == 2 and errors == "error: --cell 4: small has the runs 0 to 3\n"


def test_the_script_for_slurm_submits_the_array_and_then_the_table(swept, tmp_path):
    """Without SLURM here, a stand-in for sbatch notes how it is called."""
    path, *_ = swept
    _, script, _ = finish(command(path, "--slurm"))
    (tmp_path / "array.sh").write_text(script)
    stand_in = f'#!/bin/sh\nprintf "%s\\n" "$@" >> {tmp_path}/calls\necho "17;cluster"\n'
    (tmp_path / "sbatch").write_text(stand_in)
    (tmp_path / "sbatch").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["bash", "array.sh"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    array, name, dependency, _, wrapped = (tmp_path / "calls").read_text().splitlines()
    assert (array, name, dependency) == ("--parsable", "array.sh", "--dependency=afterany:17")
    assert wrapped.rstrip().endswith("--gather")


@pytest.fixture
def cluster(tmp_path):
    """A Dask scheduler and two workers, each a process; returns the address and the workers."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{one.getsockname()[1]}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    dask = [sys.executable, "-m", "dask"]
    place = ["--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard"]
    options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0"]
    scheduler = subprocess.Popen([*dask, "scheduler", *place], **quiet)
    workers = [subprocess.Popen([*dask, "worker", address, *options], **quiet) for _ in "12"]
    yield address, workers
    for process in (*workers, scheduler):
        process.kill()
        process.wait()


def test_a_worker_that_is_killed_loses_nothing_and_nothing_that_was_finished_is_done_again(cluster, tmp_path):
    address, workers = cluster
    opened = tmp_path / "opened"
    path = write(tmp_path / "killed", axes={"width": [1, 3]}, parameters={"gate": str(opened)})
    process = command(path, "--scheduler", address)
    # The first two runs finish; then each worker has a run that waits for a file.
    waiting = [(3, 0), (3, 1)]
    wait_until(lambda: process.poll() is not None or all(started(path)[one] for one in waiting))
    before = {one.name: one.stat().st_mtime_ns for one in (path.parent / "out").glob("small-*")}
    assert len(before) == 2, finish(process)
    workers[0].send_signal(signal.SIGKILL)
    workers[0].wait()
    opened.touch()
    status, _, errors = finish(process)
    assert status == 0, errors
    counted = started(path)
    assert sum(counted.values()) == 5, "of four runs, the one of the killed worker was begun again"
    assert all(counted[one] == 1 for one in counted.keys() - set(waiting))
    folders = {one.name: one.stat().st_mtime_ns for one in (path.parent / "out").glob("small-*")}
    assert len(folders) == 4 and before.items() <= folders.items()
    assert not list((path.parent / "out").glob(".*.partial"))
    assert rows(path)["score"].tolist() == [1.0, 1.1, 3.0, 3.1]


def test_a_scheduler_that_is_not_there_is_one_clear_error(tmp_path):
    path = write(tmp_path / "alone")
    status, _, errors = finish(command(path, "--scheduler", "nonsense://1"))
    assert status == 2 and "error: --scheduler nonsense://1: no Dask cluster with a worker" in errors


def test_an_interrupt_ends_a_sweep_with_all_its_processes_within_seconds(tmp_path):
    path = write(tmp_path / "deaf", DEAF)
    process = command(path, "--workers", "2", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    out = path.parent / "out"
    files = wait_until(lambda: [one for one in out.glob(".*.partial/pids") if one.read_text()][1:])
    files = [*out.glob(".*.partial/pids")]
    pids = [int(pid) for one in files for pid in one.read_text().split()]
    pids += [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    os.killpg(process.pid, signal.SIGINT)
    status, _, errors = finish(process)
    assert status == 130
    assert errors.splitlines()[-1] == "interrupted: the same command does again what is not finished"
    assert "Traceback" not in errors
    wait_until(lambda: not any(map(alive, pids)), seconds=20)
    assert [one.name for one in out.iterdir() if not one.name.endswith(".lock")] == []


def test_a_real_preset_at_its_smallest_trains_and_measures(tmp_path):
    small = yaml.safe_load((EXERCISES / "data_size.yml").read_text())
    small["parameters"] |= {"epochs": 1, "test_examples": 20, "learning_rate": 0.003}
    small |= {"axes": {"examples": [96]}, "seeds": 2, "metric": "loss"}
    path = tmp_path / "small.yml"
    path.write_text(yaml.safe_dump(small))
    notebook = (EXERCISES / "one_fine_tuning.ipynb").read_text()
    (tmp_path / "one_fine_tuning.ipynb").write_text(notebook)
    status, shown, errors = finish(command(path, "--workers", "2"))
    assert status == 0, errors
    found = rows(path)
    assert found["loss"].max() < 3, f"the base model has 4.4: {shown}"
    assert found["trained parameters"].nunique() == 1 and found["known facts"].between(0, 1).all()
