"""Stamping the notebooks with a repository, on a copy of the tree."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import test_chapters

from book import pages
from ftlib import __version__, badges, cli, run

ROOT = run.NOTEBOOKS.parent
HOME = "https://github.com/some-one/The_Book.2"
COLAB = "https://colab.research.google.com"
RULES = (
    test_chapters.test_a_chapter_fits_in_one_sitting,
    test_chapters.test_no_notebook_has_an_address_that_the_project_does_not_have,
    test_chapters.test_a_chapter_begins_in_the_agreed_order,
    test_chapters.test_code_reads_like_a_page,
    test_chapters.test_committed_outputs_are_clean,
)


@pytest.fixture
def tree(tmp_path) -> Path:
    """What the command changes, without the stamp that this workbook may have."""
    shutil.copytree(run.NOTEBOOKS, tmp_path / "notebooks", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    badges.remove(tmp_path / "notebooks")
    return tmp_path


def files(tree):
    return {path: path.read_bytes() for path in [*tree.rglob("*.ipynb"), tree / "pyproject.toml"]}


def badge(tree, *arguments):
    return cli.main(["badges", *arguments], tree / "notebooks")


@pytest.mark.parametrize(
    ("given", "tag"), [("", f"v{__version__}"), ("@main", "main"), ("@v1.2.0-rc_1", "v1.2.0-rc_1")]
)
def test_a_stamp_is_a_badge_an_address_to_install_from_and_one_in_pyproject(tree, given, tag, capsys):
    assert badge(tree, f"some-one/The_Book.2{given}") == 0
    assert f"9 chapters open in Colab from {HOME} at {tag}" in capsys.readouterr().out
    for path in sorted((tree / "notebooks").glob("*/*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        place = path.relative_to(tree).as_posix()
        link = f"{COLAB}/github/some-one/The_Book.2/blob/{tag}/{place}"
        shown = f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({link})"
        assert notebook.cells[0].source.splitlines()[1:5:2] == ["", ""]
        assert notebook.cells[0].source.splitlines()[2] == shown
        assert f'    source = "ftlib[colab] @ git+{HOME}@{tag}"' in notebook.cells[1].source.splitlines()
    assert tomllib.loads((tree / "pyproject.toml").read_text())["project"]["urls"] == {"Repository": HOME}


def test_without_the_stamp_every_byte_is_what_it_was(tree, capsys):
    before = files(tree)
    assert badge(tree, "--undo") == 0 and files(tree) == before
    assert badge(tree, "someone/book") == 0
    once = files(tree)
    assert all(once[path] != before[path] for path in before)
    assert badge(tree, "someone/book") == 0 and files(tree) == once, "twice is once"
    assert badge(tree, "other/book@main") == 0
    assert not any(b"someone" in content for content in files(tree).values())
    assert badge(tree, "--undo") == 0 and files(tree) == before
    assert "9 chapters without a badge" in capsys.readouterr().out


def test_line_ends_of_another_system_stay(tree):
    for path, content in files(tree).items():
        path.write_bytes(content.replace(b"\n", b"\r\n"))
    before = files(tree)
    assert badge(tree, "someone/book") == 0
    assert not any(re.search(rb"(?<!\r)\n", content) for content in files(tree).values())
    assert badge(tree, "--undo") == 0 and files(tree) == before


@pytest.mark.parametrize("wrong", [
    "book", "a/b/c", "/book", "someone/", "some one/book", "someone/bo ok", "a--b/book", "a-/book",
    f"{'a' * 40}/book", f"a/{'b' * 101}",
    "a/..", "a/.", "a/book.git", "a/b@", "a/b@v1..2", "a/b@v1.", "a/b@x/y",
    "https://github.com/a/b", "a/b@v1@v2", 'a/b@"', "a/b\n", "ä/b", "a/b)",
])  # fmt: skip
def test_what_is_no_repository_is_one_clear_error_and_changes_nothing(tree, wrong, capsys):
    before = files(tree)
    assert badge(tree, wrong) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: repository ") and "OWNER/REPO@TAG" in errors and errors.count("\n") == 1
    assert files(tree) == before


@pytest.mark.parametrize("what", ["title", "bootstrap", "table"])
def test_a_notebook_or_a_project_of_another_form_stops_it_before_anything_is_changed(tree, what, capsys):
    path = next((tree / "notebooks").glob("7*/*.ipynb")) if what != "table" else tree / "pyproject.toml"
    parts = {"title": (b'"# 7.01 ', b'"#  7.01 '), "bootstrap": (b"source = ", b"came_from = ")}
    path.write_bytes(path.read_bytes().replace(*parts.get(what, (b"[project.urls]", b"[project.scripts]"))))
    before = files(tree)
    assert badge(tree, "someone/book") == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and path.name in errors and errors.count("\n") == 1
    assert files(tree) == before


def test_a_command_without_a_repository_and_undo_is_one_clear_error(tree, capsys):
    for arguments in ([], ["a/b", "--undo"]):
        with pytest.raises(SystemExit) as exit:
            badge(tree, *arguments)
        assert exit.value.code == 2 and capsys.readouterr().err.startswith("error: ")


def test_the_book_shows_a_badge_as_words_and_loads_nothing_for_it(tree):
    badge(tree, "someone/book")
    path = next((tree / "notebooks").glob("5*/*.ipynb"))
    card = pages.read(path.read_text(encoding="utf-8")).cells[0].source
    assert f"[Open in Colab]({COLAB}/github/someone/book/blob/" in card and "badge.svg" not in card


def test_stamped_chapters_keep_the_rules_of_chapters(tree, monkeypatch):
    assert badge(tree, f"{'o' * 39}/{'b' * 60}") == 0
    paths = sorted((tree / "notebooks").glob("*/*.ipynb"))
    monkeypatch.setattr(run, "NOTEBOOKS", tree / "notebooks")
    monkeypatch.setattr(test_chapters, "NOTEBOOKS", paths)
    test_chapters.test_all_chapters_have_the_same_bootstrap()
    for path in paths:
        for rule in RULES:
            rule(path)
    command = [sys.executable, "-m", "ruff", "check", "notebooks"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    notebook = nbformat.read(paths[0], as_version=4)
    notebook.cells[0].source += "\nhttps://github.com/somebody/else"
    nbformat.write(notebook, paths[0])
    with pytest.raises(AssertionError, match="somebody/else"):
        test_chapters.test_no_notebook_has_an_address_that_the_project_does_not_have(paths[0])
