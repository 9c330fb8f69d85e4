"""Every chapter: its skeleton, and its run as it stands, with the solutions in, and with wrong answers."""

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import chapters
from ftlib import check, run, settings

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(run.NOTEBOOKS.glob("*/[0-9]_[0-9][0-9]_*.ipynb"))
CELLS, CODE_LINES, CELL_LINES, BYTES = 60, 350, 25, 200_000
PRINTED_LINES = 25


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def number(path: Path) -> str:
    return path.name[:4].replace("_", ".")


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


@pytest.fixture(params=NOTEBOOKS, ids=number)
def path(request) -> Path:
    return request.param


def test_a_chapter_fits_in_one_sitting(path):
    notebook = read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(notebook.cells) <= CELLS
    assert sum(len(cell.source.splitlines()) for cell in code) <= CODE_LINES
    assert max(len(cell.source.splitlines()) for cell in code) <= CELL_LINES
    assert path.stat().st_size <= BYTES


def test_a_chapter_begins_in_the_agreed_order(path):
    title, bootstrap, parameters, start = read(path).cells[:4]
    assert title.source.startswith(f"# {number(path)} ")
    assert tags(bootstrap) == ["bootstrap"] and len(bootstrap.source.splitlines()) <= 8
    assert tags(parameters) == ["parameters"] and "settings.start(" in start.source


def test_all_chapters_have_the_same_bootstrap():
    assert len({read(path).cells[1].source for path in NOTEBOOKS}) == 1


def test_parameters_are_those_of_the_one_table(path):
    declared = run.chapters()[number(path)].parameters
    settings.validate({name: one.default for name, one in declared.items()})
    for name, one in declared.items():
        known = settings.PARAMETERS[name]
        assert one.kind is known.kind, name
        if known.low is not None:
            low, high = map(float, re.match(r"([\d.e+-]+) to ([\d.e+-]+)", one.comment).groups())
            assert (low, high) == (known.low, known.high), f"{name}: {one.comment}"
        elif known.choices:
            assert one.comment.split(" | ") == list(known.choices), f"{name}: {one.comment}"


def test_code_reads_like_a_page(path):
    for cell in read(path).cells:
        if cell.cell_type != "code":
            continue
        assert not re.search(r"if False\b|import \*|(?m:^\s*[!%])", cell.source)
        ast.parse(cell.source)


def test_committed_outputs_are_clean(path):
    for cell in read(path).cells:
        for output in cell.get("outputs", []):
            shown = output.get("text", "") + "".join(output.get("data", {}).get("text/plain", ""))
            assert output["output_type"] != "error" and output.get("name") != "stderr"
            assert shown.count("\n") <= PRINTED_LINES
            assert "widget-view" not in str(output.get("data", {}).keys())
            assert not re.search(r"/(home|root|tmp|work)/", shown)


def test_every_code_cell_was_executed_in_order(path):
    counts = [cell.execution_count for cell in read(path).cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Every chapter through the command line as it stands, once: chapter -> folder of its run."""
    out = tmp_path_factory.mktemp("runs")
    command = [sys.executable, "-m", "ftlib", "run", "all", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {folder.name[:4].replace("_", "."): folder for folder in out.iterdir() if folder.is_dir()}


def test_a_run_of_the_chapter_leaves_its_folder(path, runs):
    manifest = json.loads((runs[number(path)] / "manifest.json").read_text())
    assert manifest["metrics"] and manifest["seconds"] > 0 and manifest["device"]
    assert list(runs[number(path)].glob("figure_*.png")) and list(runs[number(path)].glob("*.html"))


def test_as_it_stands_no_exercise_is_attempted(path, runs):
    found = chapters.outcomes(read(runs[number(path)] / path.name))
    assert {name: one["outcome"] for name, one in found.items()} == dict.fromkeys(
        chapters.stubs(read(path)), "not attempted"
    )


def test_a_chapter_marks_outputs_for_nbval_to_compare(path):
    marked = [cell for cell in read(path).cells if "nbval-check-output" in tags(cell)]
    assert len(marked) >= 3 and all(cell.outputs for cell in marked)


def test_the_committed_outputs_hold_under_nbval(path, tmp_path):
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-p", "no:cacheprovider", str(path)]
    environment = os.environ | {"FTLIB_RUN_FOLDER": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_with_the_solutions_in_every_exercise_passes(path):
    notebook = read(path)
    variant = chapters.with_answers(notebook, chapters.solutions(notebook))
    found = chapters.outcomes(chapters.execute(variant))
    assert {name: one["outcome"] for name, one in found.items()} == dict.fromkeys(
        chapters.stubs(notebook), "passed"
    )


def planted() -> list:
    """(exercise, wrong answer, name of the property that catches it) of every chapter."""
    return [
        pytest.param(name, source, says, id=f"{name}-{index}")
        for path in NOTEBOOKS
        for name, one in importlib.import_module(f"ftlib.exercises.c{path.name[:4]}").EXERCISES.items()
        for index, (source, says) in enumerate(one.planted)
    ]


@pytest.mark.parametrize(("name", "source", "says"), planted())
def test_a_planted_wrong_answer_is_caught_with_its_hint(name, source, says):
    import torch

    from ftlib import evaluate

    space = {"torch": torch, "evaluate": evaluate}
    exec(source, space)
    answer = space[ast.parse(source).body[-1].name if source.startswith("def ") else source.split(" = ")[0]]
    outcome = check.judge(name, answer)
    assert (outcome.outcome, outcome.broken) == ("not yet", says)
    assert outcome.hint == next(one.hint for one in check.find(name).properties if one.says == says)


def test_every_exercise_of_a_chapter_is_checked_and_has_a_wrong_answer(path):
    known = importlib.import_module(f"ftlib.exercises.c{path.name[:4]}").EXERCISES
    assert known.keys() == chapters.stubs(read(path)).keys()
    assert all(one.planted for one in known.values())
