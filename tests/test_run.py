"""The strict runner and the command line, on small chapters made here."""

import base64
import dataclasses
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import joblib
import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from ftlib import artefact, cli, data, run, settings
from notebooks import refresh

PARAMETERS = """tier: str = "tiny"             # tiny | small | large
seed: int = 0                  # every random choice follows from it
learning_rate: float = 1e-3
data_path: str = ""            # your own file
model_id: str = ""
verbose: bool = False"""
BODY = """from pathlib import Path
from ftlib import artefact, plot
figure, axes = plot.figure("Loss")
plot.line(axes, [1, 2], [seed, seed + 1], "loss")
plot.show(figure, "Loss", "Loss rises")
Path("beside").write_text("in the folder of the run")
inputs = {"data": artefact.identity(data_path)}
metrics = {"loss": {"mean": seed + 0.5, "low": seed, "high": seed + 1}, "accuracy": 0.25}
values = {"seed": seed, "learning_rate": learning_rate, "verbose": verbose}
artefact.Manifest("0.91", values, seed, artefact.versions(), inputs, "cpu", 1.0, 0.5, metrics).show()"""


def write(folder, name, *cells, title="A small chapter"):
    """A chapter with a title, the parameters above and the given code cells, in a kernel that nobody has."""
    number = name[:4].replace("_", ".")
    notebook = new_notebook(
        cells=[
            new_markdown_cell(f"# {number} {title}\n\nIt promises something."),
            new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
            *map(new_code_cell, cells),
        ],
        metadata={"kernelspec": {"name": "nobody-has-this", "display_name": "?", "language": "python"}},
    )
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def notebooks(tmp_path):
    """Three chapters: one that works, one of the same stage that fails, one of the path."""
    folder = tmp_path / "notebooks"
    write(folder / "0_foundations", "0_91_small.ipynb", BODY)
    write(
        folder / "0_foundations", "0_92_failing.ipynb", "print(1)", "{}['missing']", title="A failing chapter"
    )
    write(
        folder / "4_fine_tuning", "4_01_supervised_fine_tuning.ipynb", "1 + 1", title="Supervised fine-tuning"
    )
    return folder


PROGRESS = re.compile(r"(?m)^\d\.\d\d.*: (running|finished after).*\n")  # what says how far a run is


@pytest.fixture
def command(notebooks, tmp_path, monkeypatch, capfd):
    """Runs the command line in a folder of its own; returns exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        try:
            status = cli.main([str(argument) for argument in arguments], notebooks)
        except SystemExit as exit:
            status = exit.code
        shown, errors = capfd.readouterr()
        return status, shown, PROGRESS.sub("", errors)

    return call


def folders(out):
    """What lies in a folder, but locks and the page of the last run."""
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    return sorted(name for name in names - {cli.PAGE} if not name.endswith(".lock"))


def test_a_run_leaves_the_executed_notebook_a_manifest_the_figures_and_a_page(command, notebooks, tmp_path):
    (tmp_path / "my.csv").write_text("text,label\nthe ferry is late,ferry\nthe door is stuck,repairs\n")
    status, shown, errors = command(
        "run", "0.91", "-p", "seed", "3", "-p", "data_path", "my.csv", "-p", "verbose", "true"
    )
    assert (status, errors) == (0, "")
    assert re.search(r"^0\.91 A small chapter +\d+  loss 3\.5 \[3\.0, 4\.0\]$", shown, re.MULTILINE)
    [name] = folders(tmp_path / "runs")
    assert name.startswith("0_91-")
    folder = tmp_path / "runs" / name
    assert folders(folder) == [
        "0_91_small.html",
        "0_91_small.ipynb",
        "beside",
        "figure_01.png",
        "manifest.json",
    ]
    assert (folder / "figure_01.png").read_bytes().startswith(b"\x89PNG")
    assert "Loss rises" in (folder / "0_91_small.html").read_text()
    manifest = artefact.Manifest.read(folder)
    data = str(tmp_path / "my.csv")
    assert manifest.parameters["data_path"] == data and manifest.parameters["learning_rate"] == 1e-3
    assert (manifest.seed, manifest.parameters["verbose"], manifest.device) == (3, True, "cpu")
    job = run.prepare(run.chapters(notebooks)["0.91"], {"data_path": data}, tmp_path)
    assert manifest.inputs["data"] == job.inputs["data"] != artefact.identity(settings.DATA)
    assert list(manifest.metrics) == ["loss", "accuracy"]
    assert 1 < manifest.seconds < 600
    again = command("run", "0.91", "-p", "seed", "3", "-p", "data_path", data, "-p", "verbose", "True")
    assert again[0] == 0 and "finished before" in again[1]
    assert folders(tmp_path / "runs") == [name], "the same values, written in another way, are the same run"


def test_a_finished_run_is_repeated_when_forced_or_when_its_notebook_has_changed(
    command, notebooks, tmp_path
):
    def started():
        return next((tmp_path / "runs").glob("4_01-*")).stat().st_mtime_ns

    times = [command("run", "4.01")[0] or started()]
    assert command("run", "4.01")[0] == 0 and started() == times[0]
    assert command("run", "4.01", "--force")[0] == 0
    times.append(started())
    write(notebooks / "4_fine_tuning", "4_01_supervised_fine_tuning.ipynb", "2 + 2")
    assert command("run", "4.01")[0] == 0
    times.append(started())
    assert len(set(times)) == 3
    assert len(folders(tmp_path / "runs")) == 1


def test_a_failing_cell_is_said_in_one_line_and_its_notebook_kept_and_the_others_still_run(command, tmp_path):
    status, shown, errors = command("run", "0", "--workers", "2")
    assert status == 1
    assert errors.startswith("error: 0.92: cell [3] raised KeyError: 'missing' (kept for inspection:")
    assert errors.count("\n") == 1
    assert "0.91 A small chapter" in shown and "0.92 A failing chapter" in shown and "failed" in shown
    kept, failed = folders(tmp_path / "runs")
    assert kept.startswith("0_91-") and failed.startswith("0_92-") and failed.endswith("-failed.ipynb")
    cells = artefact.cells(tmp_path / "runs" / failed)
    assert any(output["output_type"] == "error" for cell in cells for output in cell.get("outputs", ()))


def test_a_failure_leaves_the_finished_run_of_before_and_a_success_removes_the_failed_notebook(
    command, notebooks, tmp_path
):
    assert command("run", "4.01")[0] == 0
    chapter = ("4_01_supervised_fine_tuning.ipynb", "from ftlib.settings import WorkbookError")
    write(notebooks / "4_fine_tuning", *chapter, "raise WorkbookError('no usable row in my.csv')")
    status, _, errors = command("run", "4.01")
    assert status == 1 and errors.startswith("error: 4.01: no usable row in my.csv (kept")
    finished, failed = folders(tmp_path / "runs")
    assert (tmp_path / "runs" / finished / "manifest.json").exists() and failed == f"{finished}-failed.ipynb"
    write(notebooks / "4_fine_tuning", "4_01_supervised_fine_tuning.ipynb", "1 + 1")
    assert command("run", "4.01")[0] == 0
    assert folders(tmp_path / "runs") == [finished]


def test_a_kernel_that_dies_is_said_in_one_line(command, notebooks):
    write(notebooks / "0_foundations", "0_91_small.ipynb", "import os\nos.kill(os.getpid(), 9)")
    status, _, errors = command("run", "0.91")
    assert status == 1 and errors.startswith("error: 0.91: the kernel died; most often memory ran out")


if Path("/dev/full").exists():  # Linux's device on which no space is ever left

    def test_a_disk_that_is_full_is_one_clear_error(command, notebooks, tmp_path):
        fill = "Path('figure_01.png').symlink_to('/dev/full')"
        write(notebooks / "0_foundations", "0_91_small.ipynb", BODY, fill)
        status, _, errors = command("run", "0.91")
        assert status == 2 and errors.startswith("error: 0.91: no disk space left while writing")
        assert errors.count("\n") == 1 and folders(tmp_path / "runs") == []


def test_an_error_that_nobody_foresaw_is_one_line_and_leaves_the_other_chapters(
    command, notebooks, monkeypatch, tmp_path
):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "ipykernel_launcher.py").write_text("raise SystemExit('this kernel cannot start')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(broken), os.environ["PYTHONPATH"]]))
    status, out, errors = command("run", "0.91")
    assert status == 1 and "failed" in out and "Traceback" not in errors
    *_, last = errors.splitlines()  # the kernel may have said something before it died
    assert last.startswith("error: 0.91: RuntimeError: Kernel died")


def test_a_folder_that_another_run_is_writing_is_one_clear_error(command, notebooks, tmp_path):
    job = run.prepare(run.chapters(notebooks)["0.91"], {}, tmp_path / "runs")
    with artefact.write_folder(job.folder):
        status, _, errors = command("run", "0.91")
    assert (
        status == 2 and errors.startswith("error: 0.91: another run is writing") and errors.count("\n") == 1
    )


# A chapter with a child of its own, that neither hears a signal nor answers its runner: sum holds the lock.
DEAF = """import os, subprocess
from pathlib import Path
child = subprocess.Popen(["sleep", "600"])
Path("pids").write_text(f"{os.getpid()} {child.pid}")
sum(range(10**15))"""
BACKGROUND = ["sh", "-c", "trap '' INT; exec \"$@\"", "-"]  # as a script does with `command &`
STOPS = {
    "a keyboard, which reaches the whole group": (lambda group: os.killpg(group, signal.SIGINT), []),
    "a keyboard, twice": (lambda group: [os.killpg(group, signal.SIGINT) for _ in "12"], []),
    "a scheduler that reaches the command alone": (lambda group: os.kill(group, signal.SIGTERM), []),
    "a scheduler that reaches the whole group": (lambda group: os.killpg(group, signal.SIGTERM), []),
    "a script, in the background": (lambda group: os.kill(group, signal.SIGTERM), BACKGROUND),
    "a kill that nothing can hear": (lambda group: os.kill(group, signal.SIGKILL), []),
}


def started(notebooks, tmp_path, begin=(), workers=1):
    """The command line in a process group of its own, running all chapters."""
    program = (
        "import sys; from pathlib import Path; from ftlib.cli import main\n"
        f"if __name__ == '__main__': sys.exit(main(sys.argv[1:], Path({str(notebooks)!r})))"
    )
    command = [*begin, sys.executable, "-c", program, "run", "all", "--workers", str(workers)]
    options = {"cwd": tmp_path, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    # The tests themselves may have been started with `&`, which leaves a program deaf to the keyboard.
    return subprocess.Popen(
        command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **options
    )


def wait_until(condition, seconds=180):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)
    return found


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("stop", STOPS)
def test_a_run_that_is_stopped_leaves_nothing_and_is_done_again(notebooks, tmp_path, command, stop):
    for path in notebooks.glob("*/*.ipynb"):
        write(path.parent, path.name, DEAF)
    send, begin = STOPS[stop]
    process = started(notebooks, tmp_path, begin, workers=2)
    files = wait_until(
        lambda: (
            [path for path in (tmp_path / "runs").glob(".*.partial/pids") if path.read_text()][1:]
            and list((tmp_path / "runs").glob(".*.partial/pids"))
        )
    )
    pids = [int(pid) for path in files for pid in path.read_text().split()]
    pids += [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    send(process.pid)
    try:
        _, errors = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        for pid in (process.pid, *filter(alive, pids)):
            os.kill(pid, signal.SIGKILL)
        raise
    if stop == "a kill that nothing can hear":
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert PROGRESS.sub("", errors) == "interrupted: the same command does again what is not finished\n"
    wait_until(lambda: not any(map(alive, pids)), seconds=20)
    assert folders(tmp_path / "runs") == [], "neither a folder, nor a part of one, nor a third chapter begun"
    write(notebooks / "0_foundations", "0_91_small.ipynb", BODY)
    assert command("run", "0.91")[0] == 0


def test_a_run_says_which_chapter_it_is_at_and_how_long_that_takes(notebooks, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    cli.main(["run", "all"], notebooks)
    said = PROGRESS.findall(capfd.readouterr().err)
    assert said == ["running", "finished after", "running", "running", "finished after"]
    cli.main(["run", "4.01", "--force"], notebooks)
    first, last = capfd.readouterr().err.splitlines()
    seconds = json.loads((Path(run.__file__).parent / "costs.json").read_text())["4.01"]["tiny"]["seconds"]
    assert first == f"4.01 Supervised fine-tuning: running, about {seconds} s"
    assert re.fullmatch(r"4\.01: finished after \d+ s", last)


def test_the_notebook_of_a_run_holds_no_progress_bar(command, notebooks, tmp_path):
    bar = "from ftlib import plot\nwith plot.bar(3, 'training', 'step') as bar:\n    bar.update(3)"
    write(notebooks / "0_foundations", "0_91_small.ipynb", bar, "print('the end')")
    assert command("run", "0.91")[0] == 0
    [ran] = (tmp_path / "runs").glob("0_91-*/*.ipynb")
    shown = [output["text"] for cell in artefact.cells(ran) for output in cell.get("outputs", ())]
    assert shown == [["the end\n"]]


def test_a_run_ends_with_one_page_that_holds_what_each_chapter_made(command, notebooks, tmp_path):
    path = write(notebooks / "0_foundations", "0_91_small.ipynb", "1 + 1", BODY)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].metadata["tags"] = ["headline"]
    nbformat.write(notebook, path)
    assert command("run", "all")[0] == 1
    page = (tmp_path / "runs" / "index.html").read_text()
    [figure] = run.PNG.findall(page)
    [kept] = (tmp_path / "runs").glob("0_91-*/figure_01.png")
    assert base64.b64decode(figure) == kept.read_bytes() and 'alt="Loss rises"' in page
    assert page.count("0.91 A small chapter") == 2 and page.count("loss 0.5 [0.0, 1.0]") == 2
    assert page.count("▸") == 1 and "▸ 0.92 A failing chapter" in page
    [linked] = re.findall(r'href="(0_91[^"]+)"', page)
    assert (tmp_path / "runs" / linked).is_file()
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert all(one.startswith("data:") or (tmp_path / "runs" / one).is_file() for one in loaded)
    assert '<meta name="viewport"' in page


def test_sigterm_while_a_run_is_prepared_ends_it_at_once(notebooks, tmp_path):
    os.mkfifo(tmp_path / "never.jsonl")  # opening it waits for a writer that never comes
    write(notebooks / "0_foundations", "0_91_small.ipynb", BODY)
    program = "import sys; from ftlib.cli import main; print(file=sys.stderr, flush=True); main(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "run", "4.01", "-p", "data_path", "never.jsonl"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr.readline() == "\n"
    time.sleep(1)
    assert process.poll() is None
    process.terminate()
    assert process.wait(timeout=10) != 0 and folders(tmp_path) == ["never.jsonl", "notebooks"]


def test_workers_share_the_cores_unless_the_user_says_otherwise(command, notebooks, tmp_path, monkeypatch):
    say = "import os\nfrom pathlib import Path\nPath('threads').write_text(os.environ['OMP_NUM_THREADS'])"
    for number in ("0_91_small", "0_92_failing"):
        write(notebooks / "0_foundations", f"{number}.ipynb", say)

    def threads(workers):
        assert command("run", "0", "--workers", workers, "--force")[0] == 0
        return {int(path.read_text()) for path in (tmp_path / "runs").glob("*/threads")}

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = joblib.cpu_count()
    assert threads(1) == {cores} and threads(2) == {max(1, cores // 2)}
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads(2) == {3}


def test_a_chapter_waits_for_those_of_which_it_takes_an_artefact(command, notebooks, tmp_path):
    late = "import time\ntime.sleep(2)\nfrom pathlib import Path\nPath('../given').write_text('by 0.91')"
    write(notebooks / "0_foundations", "0_91_small.ipynb", late)
    taken = "def taken(artefact, chosen):\n    return artefact.handed_over(\"0.91\", chosen)"
    took = "from pathlib import Path\nPath('took').write_text(Path('../given').read_text())"
    write(notebooks / "0_foundations", "0_92_failing.ipynb", taken, took)
    itself = taken.replace("0.91", "0.93") + "\n# artefact.choice(\"0.99\", chosen) is in no run"
    write(notebooks / "0_foundations", "0_93_itself.ipynb", itself, "print('in the meantime')")
    status, shown, _ = command("run", "0", "--workers", "2")
    assert status == 0
    assert [path.read_text() for path in (tmp_path / "runs").glob("0_92-*/took")] == ["by 0.91"]
    assert [line[:4] for line in shown.splitlines() if line.startswith("0.9")] == ["0.91", "0.92", "0.93"]


NAMES = ["{seed}{}/{0}", "../}{", "- ü %s $HOME ~ #?&;'\"\\ * [x]\n{pm[run_uuid]}"]


@pytest.mark.parametrize("out", NAMES)
def test_a_folder_of_any_name_takes_a_run(command, tmp_path, out):
    assert command("run", "0.91", f"--out={out}")[0] == 0
    [name] = folders(tmp_path / out)
    assert (tmp_path / out / name / "manifest.json").exists()
    assert "finished before" in command("run", "0.91", f"--out={out}")[1]


def test_a_database_named_from_the_own_folder_is_found_and_its_new_rows_are_a_new_run(command, tmp_path):
    connection = sqlite3.connect(tmp_path / "my.db")
    with connection:
        connection.execute("CREATE TABLE t (text TEXT, label TEXT)")
        connection.execute("INSERT INTO t VALUES ('a question', 'a')")
    arguments = ("run", "0.91", "-p", "data_path", "sqlite:///my.db?table=t")
    assert command(*arguments)[0] == 0
    assert "finished before" in command(*arguments)[1]
    with connection:
        connection.execute("INSERT INTO t VALUES ('another', 'b')")
    connection.close()
    status, out, _ = command(*arguments)
    assert status == 0 and "finished before" not in out
    values = artefact.Manifest.read(tmp_path / "runs" / folders(tmp_path / "runs")[0]).parameters
    assert values["data_path"] == f"sqlite:///{tmp_path}/my.db?table=t"


BAD = {
    "a misspelt parameter": (
        ["0.91", "-p", "sed", "3"],
        "chapter 0.91 has no parameter 'sed'; did you mean 'seed'?",
    ),
    "a parameter of another kind": (["0.91", "-p", "seed", "x"], "parameter seed: 'x' is not of type int"),
    "a fraction for a whole number": (
        ["0.91", "-p", "seed", "1.5"],
        "parameter seed: '1.5' is not of type int",
    ),
    "a truth that is none": (["0.91", "-p", "verbose", "2"], "parameter verbose: '2' is not of type bool"),
    "a value out of range": (["0.91", "-p", "seed", "-1"], "seed"),
    "not a number": (["0.91", "-p", "learning_rate", "nan"], "learning_rate"),
    "an unknown tier": (["0.91", "--tier", "tinny"], "tinny"),
    "a parameter twice": (
        ["0.91", "-p", "seed", "1", "-p", "seed", "2"],
        "parameter seed is given twice: '1' and '2'",
    ),
    "two tiers": (["0.91", "--tier", "tiny", "-p", "tier", "small"], "parameter tier is given twice"),
    "an unknown chapter": (
        ["4.1"],
        "no chapter or stage '4.1'; did you mean '4.01'?",
    ),
    "a large tier without its model": (["0.91", "--tier", "large"], "tier large needs a model"),
    "a model that is not there": (
        ["0.91", "-p", "model_id", "nobody/no-such-model"],
        "model 'nobody/no-such-model' is",
    ),
    "a missing file": (["0.91", "-p", "data_path", "missing.csv"], "missing.csv"),
    "an empty file": (["0.91", "-p", "data_path", "empty.jsonl"], "empty.jsonl"),
    "a pointer to a file": (["0.91", "-p", "data_path", "pointer.jsonl"], "pointer.jsonl"),
    "an option without its value": (["0.91", "-p", "seed"], "argument -p: expected 2 arguments"),
    "no workers": (["0.91", "--workers", "0"], "argument --workers: invalid"),
    "a file in place of the folder": (["0", "--out", "empty.jsonl"], "cannot write"),
    "a file in the way to the folder": (["0", "--out", "empty.jsonl/runs"], "cannot write"),
    "a folder with too long a name": (["0", "--out", "a" * 300], "cannot write"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_error_and_nothing_is_written(case, command, tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
    (tmp_path / "pointer.jsonl").write_text(pointer)
    before = folders(tmp_path)
    arguments, what = BAD[case]
    status, _, errors = command("run", *arguments)
    assert status == 2
    assert errors.startswith("error: ") and what in errors and errors.count("\n") == 1, errors
    assert folders(tmp_path) == before


@pytest.mark.parametrize("arguments", [[], ["rum"], ["run"], ["inspect"], ["list", "4.01"]])
def test_a_wrong_command_is_one_clear_error(command, arguments):
    status, _, errors = command(*arguments)
    assert status == 2 and errors.startswith("error: ") and errors.count("\n") == 1


def test_the_path_runs_what_is_written_and_says_what_is_not(command):
    status, shown, _ = command("run", "path", "--tier", "tiny")
    assert status == 0
    assert "4.01 Supervised fine-tuning" in shown and "0.91" not in shown
    assert "not written yet: 0.01, 1.02, 2.01, 3.02, 4.03, 5.01, 6.02, 7.01" in shown


def test_each_of_several_chapters_takes_the_parameters_that_it_has(notebooks, capsys):
    first, second, _ = run.chapters(notebooks).values()
    other = {name: one for name, one in second.parameters.items() if name != "data_path"}
    second = dataclasses.replace(second, parameters=other)
    given = {"seed": "3", "data_path": "mine.csv"}
    assert run.shared([first, second], given) == [given, {"seed": "3"}]
    assert capsys.readouterr().err == "data_path is no parameter of 0.92: there it changes nothing\n"
    assert run.shared([first], given) == [given]
    cases = {"chapter 0.92 has no": [second], "none of these chapters has a": [first, first]}
    for words, chosen in cases.items():
        with pytest.raises(settings.WorkbookError, match=f"^{words} parameter 'sed'; did you mean 'seed'"):
            run.shared(chosen, {"sed": "3"})


@pytest.mark.parametrize(
    "word, numbers",
    [
        ("4.01", ["4.01"]),
        ("4", ["4.01"]),
        ("0_foundations", ["0.91", "0.92"]),
        ("all", ["0.91", "0.92", "4.01"]),
        ("path", ["4.01"]),
    ],
)
def test_a_word_chooses_a_chapter_a_stage_the_path_or_all(notebooks, word, numbers):
    assert [chapter.number for chapter in run.select(word, run.chapters(notebooks))] == numbers


def test_the_list_shows_each_chapter_with_its_parameters(command):
    status, shown, _ = command("list")
    assert status == 0
    assert [line for line in shown.splitlines() if not line.startswith(" ")] == [
        "0.91  A small chapter",
        "0.92  A failing chapter",
        *[line for line in shown.splitlines() if line.startswith("4.01  Supervised fine-tuning")],
    ]
    assert "      seed: int = 0                       every random choice follows from it" in shown


@pytest.mark.parametrize(
    "line", ["seed = 0", "seed: int = 1 + len('a')", "seed: list = [1]", "import os", "print(1)"]
)
def test_a_parameters_cell_holds_annotated_literals_only(command, notebooks, line):
    path = notebooks / "0_foundations" / "0_91_small.ipynb"
    path.write_text(path.read_text().replace("seed: int = 0 ", f"{line} "))
    status, _, errors = command("list")
    assert status == 2 and "0_91_small.ipynb, parameters cell, line 2: not `name: type = literal`" in errors


def test_a_chapter_without_a_parameters_cell_is_one_clear_error(command, notebooks):
    path = notebooks / "0_foundations" / "0_91_small.ipynb"
    path.write_text(path.read_text().replace('"parameters"', '"parameter"'))
    status, _, errors = command("run", "4.01")
    assert status == 2 and "has 0 cells tagged 'parameters'" in errors


def test_inspect_says_what_a_file_is(command, tmp_path):
    (tmp_path / "my.csv").write_text("text,label\nthe ferry is late,ferry\n,repairs\n")
    status, shown, _ = command("inspect", "my.csv", "--json")
    report = json.loads(shown)
    assert status == 0 and (report["rows"], report["used"]) == (2, 1) and report["reported"][0]["row"]
    assert "text/label" in command("inspect", "my.csv")[1]


def test_inspect_shows_the_first_row_as_the_model_sees_it_and_what_is_left_out(
    command, tmp_path, tiny_model_folder
):
    call = {"type": "function", "function": {"name": "tide", "arguments": {"day": 1}}}
    asked = {"role": "user", "content": "When?"}
    answers = [{"role": "assistant", "content": "", "tool_calls": [call]}]
    answers += [{"role": "tool", "content": "9:30"}]
    answers += [{"role": "assistant", "content": "At 9:30.", "date": "June"}]
    rows = [{"id": 1, "messages": [asked]}] + [{"id": 2, "messages": [asked, *answers]}] * 2
    (tmp_path / "my.jsonl").write_text("\n".join(map(json.dumps, rows)))
    status, shown, _ = command("inspect", "my.jsonl", "--json", "--model", tiny_model_folder)
    report = json.loads(shown)
    assert (status, report["used"], [row["row"] for row in report["reported"]]) == (0, 2, [1])
    assert report["left_out"] == ["id", "date"]
    told = "<|bos|><|user|>When?<|assistant|>"
    called = '<|call|>{"name": "tide", "arguments": {"day": 1}}<|eos|>'
    assert report["example"] == {
        "messages": [asked, *answers[:2], {"role": "assistant", "content": "At 9:30."}],
        "rendered": f"{told}{called}<|tool|>9:30<|assistant|>At 9:30.<|eos|>",
        "loss_on": [called, "At 9:30.<|eos|>"],
    }
    shown = command("inspect", "my.jsonl", "--model", tiny_model_folder)[1]
    assert shown.endswith(f"⟦ ⟧:\n{told}⟦{called}⟧<|tool|>9:30<|assistant|>⟦At 9:30.<|eos|>⟧\n")
    assert "left out: id, date\n" in shown


def test_inspect_and_a_run_use_the_same_rows(command, tmp_path, tiny_model_folder, tiny_tokenizer):
    rows = [{"prompt": f"{number}?", "completion": "x", "label": number % 3 > 0} for number in range(9)]
    rows += [{"prompt": "long " * 600, "completion": "x", "label": True}]
    rows += [{"prompt": "<|user|>", "completion": "x", "label": True}]
    (tmp_path / "my.json").write_text(json.dumps(rows))
    report = json.loads(command("inspect", "my.json", "--json", "--model", tiny_model_folder)[1])
    run = data.conversations(str(tmp_path / "my.json"), tiny_tokenizer, max_length=512, at_least=2)
    assert report["used"] == len(run.used) == 6
    assert report["reported"] == [{"row": row.row, "reason": row.reason} for row in run.reported]
    assert report["notes"] == run.notes and report["left_out"] == run.left_out


def test_inspect_uses_the_workbook_s_own_template_and_shows_plain_text(command, tmp_path):
    (tmp_path / "my.txt").write_text("a ferry\n\nlate\n")
    report = json.loads(command("inspect", "my.txt", "--json")[1])
    assert report["example"] == {"messages": [], "rendered": "<|bos|>a ferry", "loss_on": ["a ferry"]}


def test_what_is_said_of_a_template_does_not_spoil_the_report(command, tmp_path, tiny_model_folder):
    folder = shutil.copytree(tiny_model_folder, tmp_path / "model")
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    (tmp_path / "my.csv").write_text("text,label\na,b\n")
    status, shown, errors = command("inspect", "my.csv", "--json", "--model", folder)
    assert status == 0 and json.loads(shown)["used"] == 1 and "the workbook's own is used" in errors


@pytest.mark.parametrize("arguments", [
    ["inspect", "n" * 5000], ["run", "0.91", "-p", "s" * 5000, "3"], ["run", "r" * 5000],
    ["run", "0.91", "-p", "seed", "s" * 5000], ["run", "0.91", "-p", "seed", *"abc" * 2000],
])  # fmt: skip
def test_no_error_line_is_longer_than_300_signs(command, arguments):
    status, _, errors = command(*arguments)
    assert status == 2 and len(errors) <= 301 and errors.startswith("error: ") and errors.count("\n") == 1


def test_a_failing_cell_with_a_long_reason_is_said_in_300_signs(command, notebooks):
    write(notebooks / "0_foundations", "0_91_small.ipynb", "raise ValueError('v' * 10_000)")
    status, _, errors = command("run", "0.91")
    assert status == 1 and len(errors) <= 301 and errors.startswith("error: 0.91: cell [2] raised ValueError")


def test_inspect_of_a_file_without_a_usable_row_shows_the_reasons_and_fails(command, tmp_path):
    (tmp_path / "my.csv").write_text("text,label\n,repairs\n")
    status, shown, errors = command("inspect", "my.csv", "--json")
    assert status == 2 and errors.startswith("error: ") and errors.count("\n") == 1
    assert json.loads(shown)["used"] == 0 and len(json.loads(shown)["reported"]) == 1


def test_inspect_of_a_missing_file_is_one_clear_error(command):
    status, _, errors = command("inspect", "missing.csv")
    assert status == 2 and errors.startswith("error: ") and errors.count("\n") == 1


def test_claims_lists_what_the_runs_recorded(command, notebooks, tmp_path):
    claim = "claims.record('4-022', says='s', measured=1, verdict='holds', where='here')"
    write(notebooks / "0_foundations", "0_91_small.ipynb", f"from ftlib import claims\n{claim}")
    assert command("claims")[1] == f"no claims recorded in {notebooks}\n"
    assert command("run", "0.91")[0] == 0
    status, shown, _ = command("claims", "runs")
    assert status == 0 and shown.splitlines()[1].split() == ["4-022", "holds", "1", "s", "here"]


def test_the_help_comes_within_a_second_and_without_torch():
    program = "import sys, runpy; sys.argv = ['ftlib', '--help']\n"
    program += "try: runpy.run_module('ftlib', run_name='__main__')\n"
    program += "finally: assert not {'torch', 'transformers', 'pandas', 'papermill'} & sys.modules.keys()"
    before = os.times()
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert os.times().children_user - before.children_user < 1  # of its own: the machine may be busy
    assert all(word in shown for word in ("list", "run", "inspect", "claims"))


def test_refreshed_chapters_hold_what_may_be_committed_and_nothing_else(notebooks, capsys):
    path = notebooks / "0_foundations" / "0_91_small.ipynb"
    printing = "import sys, time\nprint('warning', file=sys.stderr)\nprint('kept', flush=True)\ntime.sleep(1)"
    write(path.parent, path.name, BODY, f"{printing}\nprint('whole')",
          "import ipywidgets\nipywidgets.IntSlider()")  # fmt: skip
    failing = (path.parent / "0_92_failing.ipynb").read_bytes()
    assert refresh.refresh(notebooks) == 1
    assert (path.parent / "0_92_failing.ipynb").read_bytes() == failing, "a chapter that fails stays as it is"
    text = path.read_text()
    notebook = nbformat.reads(text, as_version=4)
    assert [cell.execution_count for cell in notebook.cells[1:]] == [1, 2, 3, 4]
    assert notebook.cells[3].outputs[0].text == "kept\nwhole\n" and len(notebook.cells[3].outputs) == 1
    assert notebook.cells[4].outputs == [] and "widgets" not in notebook.metadata
    assert not any(
        word in text for word in ("papermill", "start_time", artefact.MANIFEST_MIME, str(Path.home()))
    )
    assert "Loss rises" in text and notebook.cells[1].metadata.tags == ["parameters"]
    assert nbformat.writes(refresh.tidy(nbformat.from_dict(notebook))) == nbformat.writes(notebook)
