"""Learner copies: what is left out, what is their own, which names and places they may have."""

import csv
import functools
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import chapters
from ftlib import check, cli, release, run
from ftlib.settings import WorkbookError

NOTEBOOKS = {chapters.number(path): path for path in chapters.notebooks()}
SEEDS = range(1, 51)
ADA = release.copies(["Ada Lovelace"])[0]
FOR_ALL = release.Copy("", "", 0)


@functools.cache
def chapter(number: str) -> nbformat.NotebookNode:
    """A chapter as it is committed, but without its outputs, so that it is copied quickly."""
    notebook = nbformat.read(NOTEBOOKS[number], as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    return notebook


def asked(number: str) -> list[str]:
    """The exercises of a chapter that have numbers of a learner's own."""
    return [name for name in chapters.stubs(chapter(number)) if check.find(name).drawn]


ASKED = [(number, name) for number in NOTEBOOKS for name in asked(number)]
every_question = pytest.mark.parametrize(("number", "name"), ASKED, ids=[name for _, name in ASKED])


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def lines(*sources: str) -> set[str]:
    return {line.strip() for source in sources for line in source.splitlines()} - {""}


@pytest.fixture
def one_chapter(tmp_path):
    """A folder of stages with one chapter, 6.02."""
    folder = tmp_path / "notebooks"
    shutil.copytree(run.NOTEBOOKS / "6_deployment", folder / "6_deployment")
    return folder


@pytest.fixture
def command(one_chapter, tmp_path, monkeypatch, capfd):
    """Runs `release` with these arguments in a folder of its own; returns exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: (cli.main(["release", *map(str, arguments)], one_chapter), *capfd.readouterr())


@pytest.mark.parametrize("number", NOTEBOOKS)
@pytest.mark.parametrize("whose", [FOR_ALL, ADA], ids=["for all", "named"])
def test_a_copy_is_the_chapter_without_solutions_and_outputs(number, whose):
    whole = nbformat.read(NOTEBOOKS[number], as_version=4)
    made = release.learner_copy(whole, number, whose)
    assert whole == nbformat.read(NOTEBOOKS[number], as_version=4), "the chapter itself stays as it is"
    named = {"learner": whose.learner} if whose.learner else {}
    assert made.metadata.pop("ftlib") == {"chapter": number, **named, "seed": whose.seed}
    assert made.metadata == whole.metadata
    if whose.learner:
        whole = release.with_numbers(whole, number, whose.seed)
    assert [cell.id for cell in made.cells] == [
        cell.id for cell in whole.cells if "solution" not in tags(cell) or "hint" in tags(cell)
    ]
    for cell in made.cells:
        before = next(one for one in whole.cells if one.id == cell.id)
        if "solution" in tags(before):
            before.metadata.tags.remove("solution")
            before.source, after = before.source.split("\n\n<details><summary>Solution</summary>")
            assert after.count("<details>") == 0 and after.endswith("</details>")
        if cell.cell_type == "code":
            before.outputs, before.execution_count = [], None
        assert cell == before


@pytest.mark.parametrize("number", NOTEBOOKS)
def test_no_line_of_a_solution_is_left_in_a_copy_and_every_stub_and_hint_is_there(number):
    whole = chapter(number)
    for whose in (FOR_ALL, ADA):
        own = release.with_numbers(whole, number, whose.seed) if whose.learner else whole
        made = release.learner_copy(whole, number, whose)
        shown = lines(*(cell.source for cell in made.cells))
        taught = lines(*(cell.source for cell in own.cells if not {"hint", "solution"} & {*tags(cell)}))
        for source in chapters.solutions(own).values():
            assert not lines(source) & shown - taught
        assert not re.search(r"<summary>Solution|\"solution\"", nbformat.writes(made))
        assert [*chapters.stubs(made)] == [*chapters.solutions(own)]
        assert sum("hint" in tags(cell) for cell in made.cells) == len(chapters.stubs(made))


def made_chapter(*cells) -> nbformat.NotebookNode:
    """A chapter with these cells after its parameters."""
    parameters = new_code_cell("seed: int = 0  # 0 to 10000", metadata={"tags": ["parameters"]})
    return new_notebook(cells=[parameters, *cells])


HINT, SOLUTION = (
    f"<details><summary>{what}</summary>\n\n{text}\n\n</details>"
    for what, text in (("Hint", "count"), ("Solution", "```python\nanswer = 42\n```"))
)
PICTURE = {"plot.png": {"image/png": "NDI="}}


def test_what_goes_with_a_solution_goes_too():
    whole = made_chapter(
        new_markdown_cell(f"{HINT}\n\n{SOLUTION}\n\nSo it is 42.", metadata={"tags": ["hint", "solution"]}),
        new_markdown_cell(SOLUTION, metadata={"tags": ["solution"]}, attachments=PICTURE),
        new_code_cell("1 + 1", metadata={"tags": ["kept"], "answer": "42"}, execution_count=42),
    )
    whole.cells[1].attachments = PICTURE
    whole.cells[3].outputs = [nbformat.v4.new_output("stream", text="42")]
    whole.metadata["answers"] = ["42"]
    text = nbformat.writes(release.learner_copy(whole, "0.98", FOR_ALL))
    assert HINT.splitlines()[0] in text and "kept" in text
    assert not re.search(r"\b42\b|NDI=", text)


@pytest.mark.parametrize(
    ("source", "marks"),
    [
        (SOLUTION, []),
        (f"{HINT}\n\n{SOLUTION}", ["hint"]),
        (HINT.replace("Hint", "A hint") + SOLUTION, ["hint", "solution"]),
    ],
)
def test_a_solution_that_would_stay_and_a_hint_that_would_go_are_refused(source, marks):
    whole = made_chapter(new_markdown_cell(source, metadata={"tags": marks}))
    with pytest.raises(WorkbookError, match=r"chapter 0\.98: hint and solution"):
        release.learner_copy(whole, "0.98", FOR_ALL)


# Numbers of a learner's own


def value_of(source: str) -> object:
    """What a solution that is one assignment assigns."""
    space: dict[str, object] = {}
    exec(source, space)
    return space[re.match(r"\w+", source)[0]]


def test_the_parameter_seed_is_the_learner_s_and_the_line_keeps_its_width():
    for number in NOTEBOOKS:
        made = release.learner_copy(chapter(number), number, ADA)
        [old], [new] = (
            [line for cell in one.cells if "parameters" in tags(cell) for line in cell.source.splitlines()
             if line.startswith("seed:")]
            for one in (chapter(number), made)
        )  # fmt: skip
        assert new.startswith(f"seed: int = {ADA.seed} ") and new.index("#") == old.index("#")
        assert made.metadata["ftlib"]["seed"] == ADA.seed


@every_question
def test_with_a_seed_the_solution_in_the_chapter_s_own_words_passes_and_the_usual_answer_does_not(
    number, name
):
    usual = value_of(chapters.solutions(chapter(number))[name])
    assert check.judge(name, usual).outcome == check.judge(name, usual, seed=0).outcome == "passed"
    for seed in SEEDS:
        made = release.with_numbers(chapter(number), number, seed)  # it refuses a text that is not there once
        due = value_of(chapters.solutions(made)[name])
        assert check.judge(name, due, seed=seed).outcome == "passed"
        assert check.apart(due, check.find(name).drawn(seed).due) is None
        assert check.judge(name, usual, seed=seed).outcome == check.judge(name, due).outcome == "not yet"
        assert chapters.stubs(made)[name].source.endswith(f", seed={seed})")


@every_question
def test_another_learner_s_answer_seldom_passes(number, name):
    due = [check.find(name).drawn(seed).due for seed in SEEDS]
    pairs = [check.apart(*two) is None for two in itertools.combinations(due, 2)]
    assert sum(pairs) < 0.2 * len(pairs)


# How learners err, given the numbers in the text of the exercise in their order, and what the hint says then
ERRORS = {
    "1.02.1": (lambda shown: (shown[3] - 1) * shown[3] / 2, "count each document on its own"),
    "2.01.1": (lambda shown: 3 * shown[0] * shown[-1], "attention counts too"),
    "4.03.1": (lambda shown: 3 * shown[0] * shown[5], "these are the A alone"),
    "5.01.1": (lambda shown: sum(shown[1::2]) / 3, "take the mean of the surprises"),
    "7.01.1": (lambda shown: shown[4], "are exactly 95 %"),
}


@pytest.mark.parametrize("name", sorted(ERRORS.keys() & {name for _, name in ASKED}))
def test_hints_fit_mistakes_with_the_numbers_of_a_learner(name):
    error, hint = ERRORS[name]
    for seed in SEEDS:
        shown = re.findall(r"\d+(?:\.\d+)?", check.find(name).drawn(seed).texts[0])
        assert hint in check.judge(name, error([float(one) for one in shown]), seed=seed).hint


def test_a_copy_runs_where_it_was_written_and_its_check_knows_the_learner_s_numbers(tmp_path):
    release.release(tmp_path / "copies", [ADA.learner])
    path = tmp_path / "copies" / ADA.folder / NOTEBOOKS["4.03"].relative_to(run.NOTEBOOKS)
    made = nbformat.read(path, as_version=4)
    stub = chapters.stubs(made)["4.03.1"].source
    answer = chapters.solutions(release.with_numbers(chapter("4.03"), "4.03", ADA.seed))["4.03.1"]
    program = [*(cell.source for cell in made.cells[1:4]), stub, answer + stub.splitlines()[-1]]
    command = [sys.executable, "-c", "\n".join(program)]
    here = os.environ | {"PYTHONPATH": str(run.NOTEBOOKS.parent)}
    done = subprocess.run(command, cwd=path.parent, env=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"Exercise 4\.03\.1: (.*)", done.stdout) == ["not attempted", "passed"]


# Names and places


def test_a_seed_is_stable_and_does_not_depend_on_how_a_name_is_encoded():
    assert (ADA.seed, release.seed_of("अंजलि शर्मा")) == (6195, 3804)
    assert release.seed_of("José") == release.seed_of(unicodedata.normalize("NFD", " José "))
    assert {release.seed_of(str(number)) for number in range(2000)} < set(range(1, 10_001))


NAMES = [
    "Ada Lovelace",
    "अंजलि शर्मा",
    "李伟",
    "a/b",
    "a b",
    "a_b",
    "..",
    "../../etc",
    "CON",
    ".hidden",
    "-rf",
    "=1+1",
]
NAMES += ["~", 'O\'Neil, "Jo"', "x" * 300, "🙂", "C:\\x", "%s {name}"]


def test_whatever_a_name_is_its_folder_is_safe_and_nobody_else_s():
    found = release.copies(NAMES)
    folders = [one.folder for one in found]
    assert [one.learner for one in found] == NAMES and len({one.casefold() for one in folders}) == len(NAMES)
    for folder in folders:
        assert re.fullmatch(r"[^\W_][\w\u0900-\u097F]*-\d{1,5}", folder) and len(folder.encode()) < 255


def test_copies_of_a_class_come_with_a_list_of_their_seeds(command, tmp_path):
    (tmp_path / "class.txt").write_text("\ufeff" + "\n".join([*NAMES[:4], "  "]), encoding="utf-8")
    status, shown, errors = command("out", "--learners", "class.txt", "--learner", "%s {name}")
    assert (status, errors) == (0, "") and "learners.csv names 5 folders" in shown
    with (tmp_path / "out" / "learners.csv").open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [row["learner"] for row in rows] == ["%s {name}", *NAMES[:4]]
    for row in rows:
        folder = tmp_path / "out" / row["folder"]
        [notebook] = folder.rglob("*.ipynb")
        assert notebook.relative_to(folder).as_posix() == "6_deployment/6_02_serve.ipynb"
        about = json.loads(notebook.read_text(encoding="utf-8"))["metadata"]["ftlib"]
        assert about == {"chapter": "6.02", "learner": row["learner"], "seed": int(row["seed"])}
        assert (folder / "AGENTS.md").read_bytes() == (run.NOTEBOOKS / "AGENTS.md").read_bytes()
        said = (folder / "README.md").read_text(encoding="utf-8")
        assert f"## {row['learner']}\n" in said and row["seed"] in said
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"learners.csv", *(row["folder"] for row in rows)}


def test_a_copy_for_all_goes_into_an_empty_folder_and_never_over_anything(command, tmp_path):
    (tmp_path / "out").mkdir()
    assert command("out")[0] == 0
    written = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {path.name for path in written} == {"6_02_serve.ipynb", "AGENTS.md", "README.md"}
    status, shown, errors = command("out", "--learner", "Ada")
    assert (status, shown) == (2, "") and errors.startswith("error: out holds something already")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == written
    (tmp_path / "file").write_text("mine")
    assert command("file")[0] == 2 and (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--learner", "Ada", "--learner", " Ada"], "one folder for 'Ada' and 'Ada'"),
        (["--learner", "josé", "--learner", "jose\u0301"], "one folder for"),
        (["--learner", " "], "must be a line of text"),
        (["--learner", "a\0b"], "must be a line of text"),
        (["--learner", "a\udcff"], r"this is 'a\udcff'"),
        (["--learners", "missing.txt"], "missing.txt cannot be read as a list of names"),
        (["--learners", "empty.txt"], "empty.txt names no learner"),
        (["--learners", "latin.txt"], "latin.txt cannot be read as a list of names in UTF-8"),
    ],
)
def test_names_that_are_none_and_names_given_twice_are_refused_before_anything_is_written(
    command, tmp_path, arguments, said
):
    (tmp_path / "empty.txt").write_text(" \n\n")
    (tmp_path / "latin.txt").write_bytes("José".encode("latin-1"))
    status, shown, errors = command("out", *arguments)
    assert (status, shown) == (2, "") and said in errors and errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_learners_who_happen_to_have_one_seed_are_named(command):
    status, _, errors = command("out", "--learner", "Ines Faber", "--learner", "Ben Roth")
    assert status == 0 and "Ben Roth has the numbers of another learner: seed 3306" in errors
