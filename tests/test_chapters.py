"""Every chapter, or those that CHAPTERS names: its skeleton, and its one execution with the solutions in."""

import ast
import json
import re
import statistics
import tomllib
from pathlib import Path

import nbformat
import pytest
from filelock import FileLock

import chapters
from chapters import number
from ftlib import badges, run, settings

NOTEBOOKS = chapters.notebooks()
CELLS, CODE_LINES, CELL_LINES, WIDTH, BYTES = 60, 350, 20, 88, 200_000
WORDS = 40  # in the median Markdown cell
PRINTED_LINES = 25
FIGURES = 4  # three figures and a drawing
EXPECTED = re.compile(r"^\| Expected \| ([\w ]+?) ([\d.]+) \[([\d.]+), ([\d.]+)\]", re.MULTILINE)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


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
    lines = [line for cell in code for line in cell.source.splitlines()]
    assert max(len(line) for line in lines if "git+https" not in line) <= WIDTH  # an address may be long
    prose = [cell for cell in notebook.cells if cell.cell_type == "markdown" and "solution" not in tags(cell)]
    assert statistics.median(len(cell.source.split()) for cell in prose) <= WORDS
    assert path.stat().st_size <= BYTES


def test_a_chapter_shows_figures_that_are_told_in_words_too(path):
    shown = [
        output["data"].get("text/html", "")
        for cell in read(path).cells
        for output in cell.get("outputs", ())
        if "data" in output
    ]
    drawn = [html for html in shown if "<img" in html]
    assert len(drawn) >= FIGURES
    assert all(re.search(r'alt="[^"]{20,}"', html) and "<figcaption" in html for html in drawn)


def test_one_cell_of_a_chapter_holds_the_figure_that_stands_for_it(path):
    marked = [cell for cell in read(path).cells if "headline" in tags(cell)]
    assert len(marked) == 1
    assert any("<img" in output.get("data", {}).get("text/html", "") for output in marked[0].outputs)


def test_no_notebook_has_an_address_that_the_project_does_not_have(path):
    home = tomllib.loads((run.NOTEBOOKS.parent / "pyproject.toml").read_text())["project"]["urls"]
    allowed = list(home.values())
    if "Repository" in home:  # what `python -m ftlib badges` puts there
        name = home["Repository"].removeprefix(badges.GITHUB)
        allowed += [f"{badges.COLAB}/assets/colab-badge.svg", f"{badges.COLAB}/github{name}/blob/"]
    hosts = re.findall(
        r"https?://(?!www\.w3\.org)[^\s\")]+", "\n".join(cell.source for cell in read(path).cells)
    )
    assert [host for host in hosts if not host.startswith(tuple(allowed))] == []


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
            named = one.comment.removesuffix(" | ...").split(" | ")  # a long list may be cut
            whole = named if one.comment.endswith("...") else list(known.choices)
            assert named == whole and tuple(named) == known.choices[: len(named)], f"{name}: {one.comment}"


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


def test_a_chapter_marks_outputs_for_nbval_to_compare(path):
    marked = [cell for cell in read(path).cells if chapters.MARKED in tags(cell)]
    assert len(marked) >= 3 and all(cell.outputs and cell.execution_count for cell in marked)


# Executed, once


@pytest.fixture
def executed(path, tmp_path_factory, worker_id) -> chapters.Executed:
    """The one execution of a chapter with its solutions, for all tests, in whatever process they run.

    The first test asks for every chapter, so two are executed side by side; later tests find them done.
    """
    base = tmp_path_factory.getbasetemp()
    runs = (base if worker_id == "master" else base.parent) / "chapters"
    runs.mkdir(exist_ok=True)
    with FileLock(runs / f"{number(path)}.lock"):
        if not (note := runs / f"{number(path)}.json").exists():
            notebook = read(path)
            job = run.prepare(run.chapters()[number(path)], {}, runs)
            job.folder.mkdir()
            variant = chapters.with_answers(notebook, chapters.solutions(notebook))
            done = chapters.execute(variant, job.folder / path.name)
            if done.passed:
                run._keep(job, job.folder, done.seconds)
            note.write_text(json.dumps([done.passed, done.report, str(done.file)]))
    passed, report, file = json.loads(note.read_text())
    return chapters.Executed(passed, report, Path(file))


def test_no_cell_fails_and_the_marked_outputs_are_those_committed(executed):
    assert executed.passed, executed.report[-3000:]


def test_as_it_stands_no_exercise_is_attempted_and_every_solution_passes(path, executed):
    names = chapters.stubs(read(path))
    for answers, outcome in ((False, "not attempted"), (True, "passed")):
        found = chapters.outcomes(executed.cells, answers)
        assert {name: one["outcome"] for name, one in found.items()} == dict.fromkeys(names, outcome)


def test_what_is_kept_was_measured_with_the_code_and_the_data_of_today_and_holds_here(executed):
    """Change one of them, as to other questions or another loss, and the chapter says what it says here."""
    printed = "\n".join(
        output.get("text", "") + output.get("data", {}).get("text/plain", "")
        for cell in executed.cells
        for output in cell.get("outputs", ())
    )
    for said in ("nothing is kept for these values", "does not hold here"):
        assert said not in printed


def test_the_run_gives_what_the_title_card_expects(path, executed):
    """Within the interval on the card: seeds are the same, so only rounding differs between machines."""
    name, mean, low, high = EXPECTED.search(read(path).cells[0].source).groups()
    measured = json.loads((executed.file.parent / "manifest.json").read_text())["metrics"][name]
    assert float(low) <= measured["mean"] <= float(high) and float(low) < float(mean) <= float(high)


def test_a_run_of_the_chapter_leaves_its_folder(executed):
    folder = executed.file.parent
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["metrics"] and manifest["seconds"] > 0 and manifest["device"]
    assert list(folder.glob("figure_*.png")) and list(folder.glob("*.html"))
