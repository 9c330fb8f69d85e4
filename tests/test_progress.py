"""The map of what a learner has passed, from notebooks made here with outputs as the checks leave them."""

import json
import os
import time

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ftlib import check, cli, progress, run, settings

TITLES = {"0.01": "Start here", "4.03": "LoRA", "5.01": "Metrics and loss curves"}


def copy(path, chapter, outcomes, changed=0.0):
    """A notebook of a chapter whose cells show these outcomes, by the number of the exercise, in order."""
    card = f"# {chapter} {TITLES[chapter]}\n\n| | |\n|---|---|\n| You make | what `{chapter}` makes |"
    cells = [new_markdown_cell(card)]
    for count, (name, outcome) in enumerate(outcomes, start=1):
        shown = check.Outcome(f"{chapter}.{name}", outcome).card()
        output = new_output("display_data", shown._repr_mimebundle_())
        cells.append(new_code_cell("check.exercise()", outputs=[output], execution_count=count))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(new_notebook(cells=cells)), encoding="utf-8")
    os.utime(path, (changed, changed))
    return path


def passed(chapter, **others):
    """Every exercise is passed, but for others: e2="not yet" is the second."""
    numbers = [name.rpartition(".")[2] for name in check.exercises(chapter)]
    return [(number, others.get(f"e{number}", "passed")) for number in numbers]


@pytest.fixture
def workbook(tmp_path):
    """The chapters as they lie: three, none of whose exercises is attempted."""
    folder = tmp_path / "workbook"
    for chapter in TITLES:
        nothing = [(name, "not attempted") for name, _ in passed(chapter)]
        copy(folder / f"stage_{chapter[0]}" / f"{chapter}.ipynb", chapter, nothing, changed=time.time())
    return folder


def test_the_map_shows_each_stage_with_its_chapters_and_what_you_can_now_do(workbook, tmp_path):
    copy(tmp_path / "mine" / "a.ipynb", "0.01", passed("0.01"))
    copy(tmp_path / "mine" / "deep" / "renamed by me.ipynb", "4.03", passed("4.03", e2="not yet"))
    shown = progress.progress_map(tmp_path / "mine", workbook)
    count, of_501 = len(check.exercises("4.03")), len(check.exercises("5.01"))
    assert shown.text.splitlines() == [
        "0 Foundations",
        f"  ✓ 0.01 Start here: passed {len(check.exercises('0.01'))} of {len(check.exercises('0.01'))}",
        "4 Fine-tuning",
        f"  · 4.03 LoRA: passed {count - 1} of {count}",
        "5 Evaluation",
        f"  · 5.01 Metrics and loss curves: passed 0 of {of_501}",
        "You can now",
        "  0.01  make what 0.01 makes",
    ]
    for words in ("4 Fine-tuning", f"passed {count - 1} of {count}", "make what 0.01 makes", 'aria-label="'):
        assert words in shown.html


def test_the_newest_execution_of_an_exercise_counts_and_no_pass_is_lost_silently(workbook, tmp_path):
    mine = tmp_path / "mine"
    copy(mine / "old.ipynb", "4.03", [("1", "passed"), ("2", "passed")], changed=1e9)
    copy(mine / "new.ipynb", "4.03", [("2", "not yet"), ("3", "not yet"), ("3", "passed")], changed=2e9)
    copy(mine / ".ipynb_checkpoints" / "old.ipynb", "4.03", passed("4.03"), changed=3e9)
    lines = progress.progress_map(mine, workbook).text.splitlines()
    assert f"  · 4.03 LoRA: passed 2 of {len(check.exercises('4.03'))}" in lines
    [copies] = [line for line in lines if line.startswith("4.03 has 2 copies")]
    assert "new.ipynb (2033-" in copies and "old.ipynb (2001-" in copies
    [lost] = [line for line in lines if line.startswith("4.03.2 was passed")]
    assert "old.ipynb" in lost and "new.ipynb" in lost and lost.endswith("counts: not yet")
    copy(mine / "newest.ipynb", "4.03", passed("4.03"), changed=2.1e9)
    text = progress.progress_map(mine, workbook).text
    assert "✓ 4.03 LoRA" in text and "was passed" not in text
    assert "4.03 has 3 copies; the newest execution counts, in newest.ipynb (2036-" in text


def test_within_a_notebook_the_newest_execution_is_that_with_the_highest_count(workbook, tmp_path):
    path = copy(tmp_path / "mine" / "a.ipynb", "4.03", [("1", "passed"), ("1", "not yet")])
    notebook = json.loads(path.read_text())
    notebook["cells"][1]["execution_count"] = 9
    path.write_text(json.dumps(notebook))
    text = progress.progress_map(tmp_path / "mine", workbook).text
    assert "4.03 LoRA: passed 1 of" in text and "was passed" not in text


DAMAGED = {
    "a null byte": lambda text: b"\0" + text,
    "half of it": lambda text: text[: len(text) // 2],
    "another encoding": lambda text: text.replace(b"Start", b"St\xe9rt"),
    "a list": lambda text: b"[]",
    "a cell that is none": lambda text: b'{"cells": [1]}',
    "an output that is none": lambda text: text.replace(b'"outputs": [', b'"outputs": [3, '),
    "a check that is none": lambda text: text.replace(b'{"exercise"', b'3, "other": {"exercise"'),
    "nothing": lambda text: b"",
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_file_that_cannot_be_read_is_one_line_that_names_it_and_the_rest_is_shown(workbook, tmp_path, how):
    bad = copy(tmp_path / "mine" / "bad.ipynb", "0.01", passed("0.01"))
    bad.write_bytes(DAMAGED[how](bad.read_bytes()))
    copy(tmp_path / "mine" / "good.ipynb", "4.03", passed("4.03"))
    lines = progress.progress_map(tmp_path / "mine", workbook).text.splitlines()
    [told] = [line for line in lines if "bad.ipynb" in line]
    assert "cannot be read as a notebook" in told
    assert any("✓ 4.03 LoRA" in line for line in lines) and any("· 0.01 Start here" in line for line in lines)


def test_other_notebooks_and_unknown_exercises_do_not_count(workbook, tmp_path):
    copy(tmp_path / "mine" / "a.ipynb", "4.03", [("99", "passed")])
    other = json.dumps(new_notebook(cells=[new_markdown_cell("# 9.99 My own chapter")]))
    (tmp_path / "mine" / "other.ipynb").write_text(other)
    (tmp_path / "mine" / "empty.ipynb").write_text(json.dumps(new_notebook()))
    text = progress.progress_map(tmp_path / "mine", workbook).text
    assert "4.03 LoRA: passed 0 of" in text and "My own" not in text and "empty" not in text


def test_the_command_prints_the_map_of_the_chapters_as_they_lie_or_of_a_folder(workbook, tmp_path, capsys):
    assert cli.main(["progress"], workbook) == 0
    assert "0.01 Start here: passed 0 of" in capsys.readouterr().out
    copy(tmp_path / "mine" / "a.ipynb", "0.01", passed("0.01"))
    assert cli.main(["progress", str(tmp_path / "mine")], workbook) == 0
    shown = capsys.readouterr().out
    assert "✓ 0.01 Start here" in shown and "4.03 LoRA: passed 0 of" in shown


@pytest.mark.parametrize("folder, says", [("missing", "is no folder"), ("empty", "is a chapter")])
def test_a_folder_without_a_chapter_is_one_clear_error(workbook, tmp_path, capsys, folder, says):
    (tmp_path / "empty").mkdir()
    assert cli.main(["progress", str(tmp_path / folder)], workbook) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and folder in errors and says in errors and errors.count("\n") == 1


def test_without_the_workbook_s_notebooks_the_map_is_of_this_folder(tmp_path, monkeypatch):
    copy(tmp_path / "a.ipynb", "0.01", passed("0.01"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress.progress_map, "__defaults__", (None, tmp_path / "missing"))
    assert "✓ 0.01 Start here" in progress.progress_map().text


def test_every_chapter_says_what_you_make_and_has_its_stage():
    text = progress.progress_map().text
    for number, chapter in run.chapters().items():
        assert f"· {number} {chapter.title}: passed 0 of {len(check.exercises(number))}" in text
    stages = (run.NOTEBOOKS.parent / "book" / "stages.csv").read_text(encoding="utf-8")
    for place, name in enumerate(run.STAGES):
        assert f"\n{place}_" in stages and f",{name}," in stages
    with pytest.raises(settings.WorkbookError):
        check.exercises("9.99")
