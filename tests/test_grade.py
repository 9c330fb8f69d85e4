"""Grading: hostile hand-ins among good ones, each reported rightly, none stopping the rest; all exercises."""

import ast
import contextlib
import csv
import io
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

import chapters
from ftlib import answers, check, cli, grade, nursery, release, run
from ftlib.exercises import c7_01
from ftlib.settings import PACKAGE

SALT = "grading/"  # the same draws in each run of the tests
CHAPTER = run.chapters()["7.01"].path
RIGHT = chapters.solutions(nbformat.read(CHAPTER, as_version=4))
KERNEL = nursery.kernel_keeps(answers.PROBE)
CHECKS = PACKAGE / "exercises" / "c7_01.py"
MARK = f"left by the hand-ins of {os.getpid()}"  # those of the tests beside these still run
START = "from ftlib import check\nimport os, sys, time"

# The text of an answer to 7.01.2 whose function does something first, and then what is right.
FUNCTION = """def increase(values):
    {}
    return sum(b - a if b >= a else b for a, b in zip(values, values[1:]))"""
WRONG = "def increase(values):\n    {}\n    return 0"
# Runs a program past the audit hook, whose event a module sends with its own `sys`.
PAST_THE_HOOK = """
import subprocess
class Silent:
    def __getattr__(self, name):
        return (lambda *_: None) if name == "audit" else getattr(sys, name)
subprocess.sys = Silent()
"""


@dataclass(frozen=True)
class Plant:
    """A hand-in: its code cells, or the bytes of its file, and what 7.01.2 must become; or all three."""

    cells: list[str] | bytes
    outcome: str
    seen: str = ""
    name: str = "7_01.ipynb"
    every: bool = False  # whether the other two exercises fare the same; else they are missing


def asked(source: str, name: str = "7.01.2", variable: str = "increase") -> str:
    return f'{source}\ncheck.exercise("{name}", {variable})'


def planted(*cells: str) -> list[str]:
    """The cells of a hand-in; the last one answers 7.01.2."""
    return [START, *cells[:-1], asked(cells[-1])]


def does(what: str) -> list[str]:
    """The cells of a hand-in whose function does something first, and then what is right."""
    return planted(FUNCTION.format(what))


def forged(*messages: str) -> list[str]:
    """The cells of a hand-in that writes messages of its own to every open file, the grader's channel too."""
    write = "    try: os.write(file, data)\n    except OSError: pass\n"
    framed = b"".join(len(one).to_bytes(4, "big") + one.encode() for one in messages)
    return planted(f"data = {framed!r}\nfor file in range(3, 30):\n{write}" + FUNCTION.format("pass"))


def starting() -> list[str]:
    """The first code cells of the chapter, with its settings."""
    sources = [cell.source for cell in nbformat.read(CHAPTER, as_version=4).cells if cell.cell_type == "code"]
    return sources[: 1 + next(at for at, one in enumerate(sources) if "settings.start(" in one)]


def remembered() -> str:
    """A function that knows the right answers to the inputs of a learner's own check, and no other ones."""
    inputs = []
    exercise = c7_01.EXERCISES["7.01.2"]
    for one in exercise.properties:
        check.judge("7.01.2", lambda values: inputs.append(list(values)) or c7_01.increase(values), [one])
    table = {str(one): c7_01.increase(one) for one in inputs}
    return f"def increase(values):\n    return {table}.get(str(values), 0)"


def plants(out) -> dict[str, Plant]:
    """Learner -> what they hand in."""
    read = f"print(open({str(CHECKS)!r}).read())"
    found = {
        "good": Plant(
            [START, *map(asked, RIGHT.values(), RIGHT, ("p95", "increase", "without_cards"))],
            "passed",
            every=True,
        ),
        "renamed": Plant(planted(RIGHT["7.01.2"]), "passed", name="final version (2).ipynb"),
        "memory bomb": Plant(
            does("hoard = [bytearray(10**8) for _ in range(10**4)]"), "failed", "out of memory"
        ),
        "memory bomb in a cell": Plant(
            planted("more = [0] * 10**9 + [1] * 10**9", FUNCTION.format("more")), "failed", "out of memory"
        ),
        "exit 0": Plant(does("os._exit(0)"), "failed", r"process ended \(exit status 0\)"),
        "exit 0 in a cell": Plant(planted("os._exit(0)", FUNCTION.format("pass")), "passed"),
        "endless": Plant(
            planted(
                "import signal",
                "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FUNCTION.format("while True: pass"),
            ),
            "failed",
            "out of time",
        ),
        "fork bomb": Plant(does("while True: os.fork()"), "failed", "refused .*os.fork"),
        "loud": Plant(does("print('x' * 10**8)"), "failed", "output limit"),
        "null byte": Plant(b'{"cells": [], "metadata": {"a": "\0"}}', "failed", "unreadable", every=True),
        "null byte in a cell": Plant(planted("a = '\0'", RIGHT["7.01.2"]), "passed"),
        "half": Plant(b'{"cells": [{"cell_type": "code", "sou', "failed", "unreadable", every=True),
        "nested": Plant(b"[" * 10**6, "failed", "unreadable", every=True),
        "not a notebook": Plant(b'[{"cells": 1}]', "failed", "unreadable", every=True),
        "live widget": Plant(
            planted("import ipywidgets\nipywidgets.interact(print, x=3)", RIGHT["7.01.2"]), "passed"
        ),
        "waiting widget": Plant(
            planted(
                "import ipywidgets\nclicked = []",
                "button = ipywidgets.Button()\nbutton.on_click(clicked.append)",
                FUNCTION.format("pass") + "\nwhile not clicked: time.sleep(0.05)",
            ),
            "failed",
            "out of time",
        ),
        "own check": Plant(
            planted(f"check.exercise = lambda *_: print('passed')\n{WRONG.format('pass')}"),
            "failed",
            "was not called",
        ),
        "own judge": Plant(
            planted(
                "import ftlib\nftlib.check.judge = sys.modules['ftlib.check'].judge = "
                f"lambda name, *_: check.Outcome(name, 'passed')\n{WRONG.format('pass')}"
            ),
            "not yet",
        ),
        "own random": Plant(
            planted(
                "import math, random\nmath.isclose = lambda *_, **__: True\n"
                f"random.Random.choice = random.Random.randint = lambda *_: 0\n{WRONG.format('pass')}"
            ),
            "not yet",
        ),
        "own builtins": Plant(
            planted(f"import builtins\nbuiltins.isinstance = lambda *_: True\n{WRONG.format('pass')}"),
            "failed",
            "process ended",
        ),
        "own results": Plant(
            planted(
                WRONG.format(
                    f"try: open({str(out / grade.TABLE)!r}, 'w').write('own results,,7.01.2,passed')\n"
                    f"    except OSError: open('grades.csv', 'w').write('passed')"
                )
            ),
            "not yet",
        ),
        "own results by a link": Plant(
            planted(
                WRONG.format(f"os.symlink({str(out)!r}, 'out'); open('out/grades.csv', 'w').write('passed')")
            ),
            "failed",
            "refused",
        ),
        "reader": Plant(does(read), "failed", "refused .*c7_01"),
        "inspector": Plant(
            does(
                "import inspect, importlib\n"
                "    inspect.getsource(importlib.import_module('ftlib.exercises.c7_01'))"
            ),
            "failed|not yet",
            "refused .*exercises|ModuleNotFoundError",
        ),
        "cat": Plant(
            does(f"import subprocess; subprocess.run(['cat', {str(CHECKS)!r}])"),
            "failed",
            "refused .*subprocess",
        ),
        "ctypes": Plant(
            does("import ctypes; ctypes.CDLL(None).system(b'true')"), "failed", "refused .*ctypes"
        ),
        "sockets": Plant(
            does("import socket; socket.create_connection(('127.0.0.1', 9))"), "failed", "refused .*socket"
        ),
        "the reference": Plant(planted("from ftlib.exercises.c7_01 import increase"), "failed", "refused"),
        "claimed": Plant(planted("def increase(values):\n    return check.todo"), "not attempted"),
        "liar": Plant(
            planted(
                "class Liar(int):\n    __eq__ = __ge__ = __le__ = lambda *_: True\n"
                "    __hash__ = int.__hash__\ndef increase(values):\n    return Liar(0)"
            ),
            "not yet",
        ),
        "remembers": Plant(planted(remembered()), "not yet"),
        "sys.exit": Plant(does("sys.exit(0)"), "failed", "SystemExit"),
        "no such module": Plant(
            planted("import no_such_module", FUNCTION.format("no_such_module.x()")),
            "failed",
            r"ModuleNotFoundError.*code cell 2",
        ),
        "recursion": Plant(
            planted("def increase(values):\n    return increase(values)"), "not yet", "Recursion"
        ),
        "deep recursion": Plant(
            planted("sys.setrecursionlimit(10**9)\n" + FUNCTION.format("sorted([values], key=increase)")),
            "failed|not yet",
            "process ended|RecursionError",
        ),
        "aborts": Plant(does("os.abort()"), "failed", r"process ended \(signal"),
        "junk": Plant(
            does(
                "for file in range(3, 30):\n"
                "        try: os.write(file, b'junk' * 9)\n        except OSError: pass"
            ),
            "failed",
            "wrote to the grader's channel",
        ),
        "forger": Plant(forged('["tuple", ["passed", "7.01.2"]]'), "failed", "something else than an answer"),
        "forger of errors": Plant(
            forged(r'["tuple", ["raised", ["list", ["\u0000\ud800", "ValueError"]], "=\ud800\n"]]'),
            "failed",
            "\N{REPLACEMENT CHARACTER}: =",
        ),
        "forger of notes": Plant(
            forged('["tuple", ["notes", ["list", ["=1", ["list", []]]]]]', '["tuple", ["end"]]'),
            "failed",
            "was not called",
        ),
        "forger of replies": Plant(
            forged('["tuple", ["attempt", true, null]]', '["tuple", ["returned", 0, ["tuple", [3]]]]'),
            "failed",
            "arguments of other types",
        ),
        "large": Plant(
            planted("def increase(values):\n    return [0.5] * 10**7"), "failed", "cannot be judged: .*parts"
        ),
        "bottomless": Plant(
            planted("def increase(values):\n    a = []\n    a.append(a)\n    return a"),
            "failed",
            "cannot be judged",
        ),
        "no Python": Plant(
            planted("this is no Python", "%matplotlib inline\nx = 3", "(" * 10**5, RIGHT["7.01.2"]), "passed"
        ),
        "no Python in the answer": Plant(
            planted("def increase(values)\n    return 0"), "failed", "SyntaxError: .*code cell 2, line 1"
        ),
        "=cmd|' calc'!A0": Plant(planted("def increase(values):\n    return '=1+1'"), "not yet"),
        "<script>alert(1)": Plant(planted(RIGHT["7.01.2"]), "passed"),
        "closes the channel": Plant(
            does("os.closerange(3, 30); time.sleep(60)"), "failed", "closed the grader's channel"
        ),
        "leaves a process": Plant(
            planted(
                PAST_THE_HOOK
                + FUNCTION.format(f"subprocess.Popen(['sleep', '600'], env={{'MARK': {MARK!r}}})")
            ),
            "passed",
        ),
    }
    *start, last = found["leaves a process"].cells
    ends = [*start, last.replace("return sum", "os._exit(0)\n    return sum")]
    found["leaves a process and ends"] = Plant(ends, "failed", "process ended")
    if KERNEL:
        found["reads past the hook"] = Plant(
            planted(
                PAST_THE_HOOK
                + FUNCTION.format(
                    f"raise ValueError(subprocess.run(['cat', {str(CHECKS)!r}, {str(CHAPTER)!r}],"
                    " capture_output=True, text=True))"
                )
            ),
            "not yet",
            r"returncode=1, stdout=''",
        )
        found["forks past the hook"] = Plant(
            planted(
                PAST_THE_HOOK
                + FUNCTION.format(f"while True: subprocess.Popen(['sleep', '600'], env={{'MARK': {MARK!r}}})")
            ),
            "not yet",
            "BlockingIOError",
        )
        found["writes past the hook"] = Plant(
            planted(
                PAST_THE_HOOK
                + FUNCTION.format(
                    f"raise ValueError(subprocess.run(['touch', {str(out / 'x')!r}, {str(PACKAGE / 'x')!r}]))"
                )
            ),
            "not yet",
            "returncode=1",
        )
    return found


# Those that the fence stops without the kernel's part too; the rest is the same code.
FALLBACK = (
    "good",
    "memory bomb",
    "exit 0",
    "endless",
    "fork bomb",
    "loud",
    "own judge",
    "own results",
    "own results by a link",
    "reader",
    "inspector",
    "cat",
    "ctypes",
    "sockets",
    "the reference",
    "junk",
    "leaves a process",
    "leaves a process and ends",
)


def write(path, content) -> None:
    """Writes a hand-in; of code cells a notebook whose stored outputs claim that it passed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    claim = {check.CHECK_MIME: {"exercise": "7.01.2", "outcome": "passed"}}
    cells = [new_code_cell(one, outputs=[new_output("display_data", data=claim)]) for one in content]
    nbformat.write(new_notebook(cells=cells), path)


@dataclass(frozen=True)
class Graded:
    """What a grading left: the rows of its table, its page, what it said, its exit status."""

    rows: list[dict[str, str]]
    page: str
    said: str
    status: int

    def of(self, learner: str) -> dict[str, dict[str, str]]:
        """The rows of a learner, by exercise."""
        return {row["exercise"]: row for row in self.rows if row["learner"].removeprefix("'") == learner}


def graded(folder, limits: nursery.Limits, kernel: bool = True) -> Graded:
    """Grades what lies in `handed in` of a folder."""
    out, said = folder / "out", io.StringIO()
    with contextlib.redirect_stderr(said):
        status = grade.grade(folder / "handed in", out, limits, 2, SALT, kernel)
    with (out / grade.TABLE).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return Graded(rows, (out / grade.PAGE).read_text(encoding="utf-8"), said.getvalue(), status)


def hand_in(folder, names) -> dict[str, Plant]:
    """Writes the planted hand-ins of these names, and in the place of the results something else."""
    everything = plants(folder / "out")
    chosen = {name: everything[name] for name in names or everything}
    for learner, plant in chosen.items():
        write(folder / "handed in" / learner / plant.name, plant.cells)
    (folder / "out").mkdir()
    (folder / "elsewhere").write_text("kept")
    (folder / "out" / grade.TABLE).symlink_to(folder / "elsewhere")
    return chosen


@pytest.fixture(scope="module", params=["kernel", "hook"])
def hostile(request, tmp_path_factory) -> tuple[dict[str, Plant], Graded, object]:
    """The planted hand-ins, graded with the whole fence, and those that the hook alone stops, without it."""
    folder = tmp_path_factory.mktemp(request.param)
    kernel = request.param == "kernel"
    return hand_in(folder, () if kernel else FALLBACK), graded(folder, nursery.Limits(8, 1), kernel), folder


def test_each_hostile_hand_in_is_reported_rightly_and_stops_no_other(hostile):
    planted, result, _ = hostile
    found = {}
    for learner, plant in planted.items():
        rows = result.of(learner)
        assert rows.keys() == RIGHT.keys(), learner
        for name, row in rows.items():
            due = plant.outcome if plant.every or name == "7.01.2" else "missing"
            seen = "" if due == "missing" else plant.seen
            if not (re.fullmatch(due, row["outcome"]) and re.search(seen, row["seen"])):
                found[f"{learner} {name}"] = (due, seen, row["outcome"], row["seen"])
    assert found == {}
    assert result.status == 0


def test_no_process_and_no_folder_of_a_hand_in_is_left(hostile):
    assert not nursery.LIVE
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            left += [process] if process.environ().get("MARK") == MARK else []
    assert left == []


def test_the_results_are_the_grader_s_own_whatever_stood_in_their_place(hostile):
    _, result, folder = hostile
    assert (folder / "elsewhere").read_text() == "kept"
    assert not (folder / "out" / grade.TABLE).is_symlink()
    assert "own results,,7.01.2,passed" not in result.page
    assert sorted(path.name for path in (folder / "out").iterdir()) == [grade.TABLE, grade.PAGE]


def test_a_line_says_when_the_kernel_keeps_no_fence_and_each_hand_in_has_one(hostile):
    planted, result, folder = hostile
    weaker = "no namespaces" in result.said
    assert weaker is (folder.name.startswith("hook") or not KERNEL)
    assert len(re.findall(r"(?m)^\d+ of \d+ ", result.said)) == len(planted)
    assert re.search(r"\d+ hand-ins, [\d.]+ a minute", result.said)


def test_a_page_and_a_table_hold_what_learners_wrote_as_text_alone(hostile):
    planted, result, _ = hostile
    assert "<script" not in result.page
    if "<script>alert(1)" in planted:
        assert "&lt;script&gt;alert(1)" in result.page
        [row] = [row for row in result.rows if "cmd" in row["learner"] and row["exercise"] == "7.01.2"]
        assert row["learner"].startswith("'=") and row["file"].startswith("'=")
    assert not any(cell.startswith(grade.FORMULA) for row in result.rows for cell in row.values())


def test_a_learner_s_own_check_passes_what_remembers_its_inputs():
    place = {}
    exec(remembered(), place)
    assert check.judge("7.01.2", place["increase"]).outcome == "passed"


def test_what_lies_in_the_folder_and_is_no_notebook_is_said(tmp_path):
    folder = tmp_path / "handed in"
    write(folder / "side.ipynb", [START, asked("p95 = 0.1", "7.01.1", "p95")])
    write(folder / "twice" / "7_01.ipynb", [START, asked("p95 = 4", "7.01.1", "p95")])
    write(folder / "twice" / "again" / "7_01.ipynb", [START, asked("p95 = 0.1", "7.01.1", "p95")])
    write(folder / "kept" / ".ipynb_checkpoints" / "7_01.ipynb", [START])
    write(folder / "other" / "poem.ipynb", ["print('a poem')"])
    died = asked("os._exit(1)\np95 = 0.1", "7.01.1", "p95"), asked(RIGHT["7.01.2"])
    write(folder / "died" / "x.ipynb", [START, *died])
    (folder / "linked").mkdir()
    (folder / "linked" / "7_01.ipynb").symlink_to("/etc/passwd")
    (folder / "linked folder").symlink_to("/etc")
    os.mkfifo(folder / "7_01_pipe.ipynb")
    (folder / "huge").mkdir()
    with (folder / "huge" / "7_01.ipynb").open("wb") as file:
        file.truncate(21 * 10**6)
    result = graded(tmp_path, nursery.Limits(20, 1.5))
    seen = {
        (row["learner"], row["file"], row["outcome"], row["seen"].partition(":")[2] or row["seen"])
        for row in result.rows
        if row["exercise"] in ("", "7.01.1")
    }
    link = " a link, or no file: links are not followed"
    assert seen == {
        ("side", "side.ipynb", "passed", ""),
        ("twice", "twice/7_01.ipynb", "not yet", "you said 4"),
        ("twice", "twice/again/7_01.ipynb", "passed", ""),
        ("kept", "kept", "failed", "no notebook in this folder"),
        ("other", "other/poem.ipynb", "failed", "no exercise of the workbook in it"),
        ("died", "died/x.ipynb", "failed", "process ended (exit status 1)"),
        ("linked", "linked/7_01.ipynb", "failed", link),
        ("linked folder", "linked folder", "failed", link),
        ("7_01_pipe", "7_01_pipe.ipynb", "failed", link),
        ("huge", "huge/7_01.ipynb", "failed", " larger than 20 MB"),
    }
    assert result.of("died")["7.01.2"]["outcome"] == "passed"
    notes = {row["file"]: row["note"] for row in result.rows}
    assert notes["twice/again/7_01.ipynb"] == notes["twice/7_01.ipynb"] == "one of 2 copies of the chapter"
    assert result.status == 0


def test_the_numbers_are_those_of_the_learner_for_whom_the_copy_was_made(tmp_path):
    seed = release.seed_of("Ben")
    due = check.find("7.01.1").drawn(seed).due
    metadata = {"ftlib": {"chapter": "7.01", "learner": "Ben", "seed": 7}}
    folder = tmp_path / "handed in"
    for learner, answer in (("Ben", due), (f"Ben-{seed}", 0.1), ("anna", due), ("carl", 0.1)):
        path = folder / learner / "mine.ipynb"
        write(path, [START, asked(f"p95 = {answer!r}", "7.01.1", "p95").replace("p95)", "p95, seed=7)")])
        if learner != "carl":
            path.write_text(json.dumps(json.loads(path.read_text()) | {"metadata": metadata}))
    rows = [row for row in graded(tmp_path, nursery.Limits()).rows if row["exercise"] == "7.01.1"]
    assert [(row["learner"], row["outcome"], row["note"]) for row in rows] == [
        ("Ben", "passed", ""),
        (f"Ben-{seed}", "not yet", ""),
        ("anna", "passed", "the copy was made for 'Ben'"),
        ("carl", "passed", "no learner's name in it: judged with the chapter's numbers"),
    ]


def test_the_chapter_of_a_copy_without_exercises_is_known(tmp_path):
    path = tmp_path / "handed in" / "anna" / "mine.ipynb"
    write(path, [START])
    metadata = {"ftlib": {"chapter": "7.01", "learner": "\0"}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"metadata": metadata}))
    assert {row["outcome"] for row in graded(tmp_path, nursery.Limits()).rows} == {"missing"}


def test_a_bad_command_is_one_line_and_exit_status_2(tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, words in ((tmp_path / "none", "is no folder"), (empty, "holds no notebook")):
        assert cli.main(["grade", str(folder), "--out", str(tmp_path / "out")]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit, match="2"):
        cli.main(["grade", str(empty), "--seconds", "0"])


def test_what_the_grader_cannot_judge_is_said_and_the_exit_status_is_1(tmp_path, monkeypatch):
    def broken(answer):
        answer(object())

    exercise = check.Exercise([check.Property("it is sent", broken, "none")], ())
    monkeypatch.setitem(c7_01.EXERCISES, "7.01.2", exercise)
    write(tmp_path / "handed in" / "anna.ipynb", planted(RIGHT["7.01.2"]))
    result = graded(tmp_path, nursery.Limits())
    assert result.of("anna")["7.01.2"]["outcome"] == "not graded"
    assert result.status == 1


def answering(started: list[psutil.Process]) -> bool:
    """Whether the nursery is there, and the answer, with its guard."""
    with contextlib.suppress(psutil.NoSuchProcess):
        programs = [one.cmdline() for one in started]
        return len(programs) >= 2 + KERNEL and any(answers.PROGRAM in one for one in programs)
    return False


@pytest.mark.parametrize("when", ["while it looks what the kernel keeps", "while it grades"])
def test_an_interrupted_grading_leaves_no_process_and_no_folder(when, tmp_path):
    endless = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass\n"
    write(tmp_path / "handed in" / "anna.ipynb", planted(endless + RIGHT["7.01.2"]))
    (tmp_path / "own").mkdir()
    command = [sys.executable, "-m", "ftlib", "grade", tmp_path / "handed in", "--out", tmp_path / "out"]
    own = os.environ | {"TMPDIR": str(tmp_path / "own"), "PYTHONPATH": str(PACKAGE.parent)}
    grader = psutil.Popen(command, env=own, stderr=subprocess.PIPE, text=True)
    deadline, started = time.monotonic() + 60, []
    while not started and time.monotonic() < deadline:
        time.sleep(0.05)
        started = grader.children(recursive=True)
        if when == "while it grades" and not answering(started):
            started = []
    grader.terminate()
    assert grader.communicate(timeout=30)[1].splitlines()[-1].startswith("interrupted")
    assert grader.returncode == 130
    assert started and psutil.wait_procs(started, timeout=30)[1] == []
    assert [*(tmp_path / "own").iterdir()] == []


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> tuple[Graded, dict[str, dict[str, str]]]:
    """Every chapter as it stands, with its solutions, and with wrong answers; these, by exercise."""
    folder, wrong = tmp_path_factory.mktemp("taught"), {}
    for path in chapters.notebooks():
        notebook = nbformat.read(path, as_version=4)
        here = {}
        for name, stub in chapters.stubs(notebook).items():
            planted = check.find(name).planted
            here[name] = planted[len(planted) // 2][0]
            due, said = (ast.parse(source).body[-1] for source in (stub.source, here[name]))
            if isinstance(said, ast.Assign):  # to a name that may be shorter than the chapter's
                here[name] += f"\n{due.value.args[1].id} = {said.targets[0].id}"
        wrong |= here
        variants = {
            "stubs": notebook,
            "solutions": chapters.with_answers(notebook, chapters.solutions(notebook)),
            "wrong": chapters.with_answers(notebook, here),
        }
        for learner, variant in variants.items():
            place = folder / "handed in" / learner
            place.mkdir(parents=True, exist_ok=True)
            nbformat.write(variant, place / path.name)
    tensors = [START + "\nimport torch", asked(DIES, "4.03.2", "merged_weight")]
    write(folder / "handed in" / "tensors" / "x.ipynb", [*tensors, asked(LIES, "4.03.3", "rank_needed")])
    needs = asked(FUNCTION.format("assert chosen.chapter == '7.01'"))
    write(folder / "handed in" / "needs" / "x.ipynb", [START, *starting(), needs])
    return graded(folder, nursery.Limits(100, 4)), wrong


DIES = """class Deadly(torch.autograd.Function):
    @staticmethod
    def forward(context, weight, down, up, alpha):
        return weight + alpha / len(down) * (up @ down)
    @staticmethod
    def backward(context, gradient):
        os._exit(3)
merged_weight = lambda *given: Deadly.apply(*given)"""
LIES = """torch.Tensor.isclose = torch.isclose = lambda one, *_, **__: one == one
torch.Tensor.__eq__ = lambda *_: True
def rank_needed(before, after, share):
    return torch.tensor(1)"""


def test_an_answer_may_need_what_the_chapter_computes_before_it(taught):
    assert taught[0].of("needs")["7.01.2"]["outcome"] == "passed"


def test_tensors_that_lie_and_gradients_that_kill_are_no_answer(taught):
    rows = taught[0].of("tensors")
    assert (rows["4.03.2"]["outcome"], rows["4.03.2"]["seen"]) == ("failed", "process ended (exit status 3)")
    assert (rows["4.03.3"]["outcome"], rows["4.03.3"]["seen"][:13]) == ("not yet", "the answer is")


def test_every_solution_passes_and_no_stub_counts_as_an_attempt(taught):
    result, wrong = taught
    for learner, due in (("solutions", "passed"), ("stubs", "not attempted")):
        found = {name: (row["outcome"], row["seen"]) for name, row in result.of(learner).items()}
        assert found == dict.fromkeys(wrong, (due, ""))


def test_a_wrong_answer_breaks_behind_the_fence_what_it_breaks_before_it(taught):
    result, wrong = taught
    for path in chapters.notebooks():
        notebook = nbformat.read(path, as_version=4)
        for name in chapters.stubs(notebook):
            due = check.judge(name, chapters.answer(notebook, wrong[name]))
            row = result.of("wrong")[name]
            seen = [row[column] for column in ("outcome", "seen", "must hold", "hint")]
            assert seen == [due.outcome, grade._plain(due.seen), due.broken, due.hint], name
            assert due.outcome == "not yet", name


def test_a_copy_that_comes_back_is_asked_for_the_numbers_it_was_handed_out_with(tmp_path):
    """Ada answers with her own numbers, Alan with those of the chapter, which are the same for all."""
    copies = release.release(tmp_path / "copies", ["Ada", "Alan"])
    whole = nbformat.read(CHAPTER, as_version=4)
    for one in copies:
        file = tmp_path / "copies" / one.folder / CHAPTER.relative_to(run.NOTEBOOKS)
        own = release.with_numbers(whole, "7.01", one.seed) if one.learner == "Ada" else whole
        answered = chapters.with_answers(nbformat.read(file, as_version=4), chapters.solutions(own))
        place = tmp_path / "handed in" / one.folder
        place.mkdir(parents=True)
        nbformat.write(answered, place / "x.ipynb")
    result = graded(tmp_path, nursery.Limits(60, 4))
    for one, due in zip(copies, ("passed", "not yet"), strict=True):
        rows = result.of(one.folder)
        assert [row["outcome"] for row in rows.values()] == [due, "passed", "passed"]
        assert {row["note"] for row in rows.values()} == {""}
    assert "3 of 3</td>" in result.page and "2 of 3</td>" in result.page
