"""The checks of every exercise: they pass what is right, catch what is wrong, say what fits the mistake."""

import functools
import importlib
import signal

import nbformat
import pytest
from mutants import mutants

import chapters
from ftlib import check

NOTEBOOKS = chapters.notebooks()
# Wrong programs may also be odd ones.
pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore:Precision loss")
SECONDS = 20  # what an answer may take that changes a loop into an endless one


@functools.cache
def read(path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def exercises(path) -> dict:
    return importlib.import_module(f"ftlib.exercises.c{path.name[:4]}").EXERCISES


NAMES = [(path, name) for path in NOTEBOOKS for name in exercises(path)]
every_exercise = pytest.mark.parametrize(("path", "name"), NAMES, ids=[name for _, name in NAMES])


def judge(path, name: str, source: str) -> check.Outcome:
    """The outcome of an answer, given as a program; one that does not come to an end is not right."""

    def stop(*_):
        raise TimeoutError("it does not come to an end")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        return check.judge(name, chapters.answer(read(path), source))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=chapters.number)
def test_every_exercise_of_a_chapter_is_checked_and_has_wrong_answers(path):
    assert exercises(path).keys() == chapters.stubs(read(path)).keys()
    assert all(len(one.planted) >= 5 for one in exercises(path).values())


@every_exercise
def test_a_planted_wrong_answer_is_caught_with_the_hint_that_fits(path, name):
    one = exercises(path)[name]
    for source, says in one.planted:
        outcome = judge(path, name, source)
        assert (outcome.outcome, outcome.broken) == ("not yet", says), source
        assert outcome.hint in [each.hint for each in one.properties if each.says == says]


@every_exercise
def test_a_solution_changed_in_one_place_is_caught_or_listed_with_the_reason_why_it_is_right(path, name):
    solution = chapters.solutions(read(path))[name]
    assert judge(path, name, solution).outcome == "passed"
    changed, known = mutants(solution), exercises(path)[name].equivalent
    passed = {one for one, source in changed.items() if _outcome(path, name, source) == "passed"}
    assert len(changed) >= 5 and passed == set(known), f"{len(passed)} of {len(changed)} changes pass"
    assert all(reason.strip() for reason in known.values())


def _outcome(path, name: str, source: str) -> str:
    try:
        return judge(path, name, source).outcome
    except Exception:  # the program fails before there is an answer, which its learner sees
        return "failed"
