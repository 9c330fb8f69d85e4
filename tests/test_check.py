"""Checks of exercises: four outcomes, messages that teach, and what tests do with a chapter's exercises."""

import json

import nbformat
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import ftlib.exercises
from chapters import answer, execute, outcomes, solutions, stubs, with_answers
from ftlib import check
from ftlib.settings import WorkbookError

DOUBLES = check.Property(
    "the function doubles its argument",
    lambda double: None if double(3) == 6 else f"double(3) gave {double(3)}, not 6",
    "add the argument to itself",
)


def judge(attempt, *properties):
    return check.judge("0.00.1", attempt, properties or [DOUBLES])


def test_a_right_answer_passes():
    assert judge(lambda x: 2 * x) == check.Outcome("0.00.1", "passed")


def test_a_wrong_answer_hears_what_was_seen_which_property_broke_and_one_next_step():
    outcome = judge(lambda x: x + 1)
    assert outcome == check.Outcome(
        "0.00.1",
        "not yet",
        "double(3) gave 4, not 6",
        "the function doubles its argument",
        "add the argument to itself",
    )


def test_the_first_broken_property_is_the_one_reported():
    later = check.Property("later", lambda _: "also broken", "later hint")
    assert judge(lambda x: x + 1, DOUBLES, later).broken == DOUBLES.says
    assert judge(lambda x: 2 * x, DOUBLES, later).broken == "later"


@pytest.mark.parametrize(
    "attempt",
    [
        check.todo,
        ...,
        [1, check.todo],
        {"loss": ...},
        lambda x: check.todo,
        lambda x: ...,
        lambda x: check.todo * 2 + x,
        lambda x: 1 + check.todo,
        lambda x: check.todo.mean(),
        lambda x: sum(check.todo),
        lambda x: int(check.todo),
        lambda x: [] + ...,
        lambda x: len([1]) if check.todo else 2,
    ],
)
def test_a_placeholder_in_any_place_means_not_attempted(attempt):
    assert judge(attempt).outcome == "not attempted"


def test_a_stub_that_hands_the_placeholder_to_torch_means_not_attempted():
    assert judge(lambda x: torch.nn.functional.relu(check.todo)).outcome == "not attempted"
    assert judge(lambda x: torch.ones(2) * check.todo).outcome == "not attempted"


def test_a_method_that_still_returns_the_placeholder_means_not_attempted():
    class Doubler:
        def __call__(self, number):
            return check.todo

    assert judge(Doubler()).outcome == "not attempted"


def test_an_error_in_the_answer_is_reported_in_one_line():
    def broken(x):
        raise ValueError("first line\nsecond line")

    outcome = judge(broken)
    assert (outcome.outcome, outcome.seen) == ("not yet", "ValueError: first line")


def test_a_forgotten_return_is_recognised():
    assert "is a `return` or an assignment missing?" in judge(lambda x: None).seen
    assert "is a `return` or an assignment missing?" in judge(None).seen


def test_a_function_that_may_return_none_is_judged_by_its_property():
    def empty(box):
        box.clear()

    def clears(function):
        box = [1]
        return function(box) or (f"left {box}" if box else None)

    assert judge(empty, check.Property("the box is empty", clears, "use clear")).outcome == "passed"


def middle(numbers):
    """The reference of the next tests."""
    if not numbers:
        raise ValueError("nothing has no middle")
    return {"middle": sorted(numbers)[len(numbers) // 2], "from": [min(numbers), max(numbers)]}


MIDDLE = check.against(
    middle,
    check.Case("one number is its own middle", lambda rng: ([rng.random()],), "return it"),
    check.Case("the middle is that of the sorted numbers", lambda rng: (rng.sample(range(99), 5),), "sort"),
    check.Case("nothing has no middle", lambda rng: ([],), "raise ValueError"),
)


@pytest.mark.parametrize(
    ("answer", "broken", "seen"),
    [
        (lambda x: middle(x) | {"middle": x[0]}, "the middle is that of the sorted numbers", "['middle'] "),
        (lambda x: middle(x)["middle"], "one number is its own middle", "not {'middle'"),
        (lambda x: middle(x) | {"from": [min(x), -1]}, "one number is its own middle", "['from'][1] is -1,"),
        (lambda x: middle(x) | {"from": (min(x), max(x))}, "one number is its own middle", "['from'] is ("),
        (lambda x: middle(x) | {"more": 1}, "one number is its own middle", "the answer is {"),
        (lambda x: middle(x) if x else {}, "nothing has no middle", "{} is returned, where ValueError is"),
        (lambda x: middle(x) if x else x[0], "nothing has no middle", "IndexError: list index out of range"),
        (lambda x: x.sort() or middle(x), "the middle is that of the sorted numbers", "changes what it is"),
        (lambda x: None, "one number is its own middle", "is a `return`"),
    ],
)
def test_an_answer_is_compared_with_a_reference_on_random_inputs_and_hears_where_they_part(
    answer, broken, seen
):
    outcome = judge(answer, *MIDDLE)
    assert (outcome.outcome, outcome.broken) == ("not yet", broken) and seen in outcome.seen
    assert judge(middle, *MIDDLE).outcome == judge(lambda x: middle(list(x)), *MIDDLE).outcome == "passed"
    assert judge(lambda x: check.todo, *MIDDLE).outcome == "not attempted"
    assert judge(lambda x: sum(x) + check.todo, *MIDDLE).outcome == "not attempted"


def test_gradients_types_and_shapes_of_tensors_are_compared_too():
    def softmax(x):
        return x.softmax(-1)

    def drawn(rng):
        generator = torch.Generator().manual_seed(rng.randrange(99))
        return (torch.randn(2, 3, generator=generator).requires_grad_(),)

    properties = check.against(softmax, check.Case("it is softmax", drawn, "use exp"))
    wrong = {
        lambda x: x.detach().softmax(-1): "no gradient flows back",
        lambda x: x.softmax(-1).detach() + 0 * x: "the gradient of x is not",
        lambda x: x.softmax(0): "is tensor [2, 3], not tensor [2, 3]",
        lambda x: x.softmax(-1)[:1]: "is tensor [1, 3]",
        lambda x: x.double().softmax(-1): "is tensor [2, 3]",
        lambda x: x.softmax(-1).tolist(): "not tensor [2, 3]",
    }
    for function, seen in wrong.items():
        assert seen in judge(function, *properties).seen
    assert judge(lambda x: x.exp() / x.exp().sum(-1, keepdim=True), *properties).outcome == "passed"


@pytest.mark.parametrize(
    ("seen", "due", "alike"),
    [
        (1.0, 1.00001, True), (2, 2.0, True), (1.0, 1.01, False), (True, 1, False), (1, True, False),
        ("1", 1, False), (None, None, True), (None, 0, False), ((1,), [1], False), ({1: 2}, {1: 2}, True),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, False), (float("nan"), 1.0, False), ([], [], True),
        (36_865, 36_864, False), (36_864.0, 36_864, True), (512 ** (1 / 3), 8, True),
        ([20_001], [20_000], False), (torch.tensor([20_001]), torch.tensor([20_000]), False),
        (torch.tensor(1.00001), torch.tensor(1.0), True),
    ],
)  # fmt: skip
def test_numbers_are_alike_to_four_digits_and_whole_ones_and_everything_else_exactly(seen, due, alike):
    assert (check.apart(seen, due) is None) is alike


def test_an_answer_that_is_a_value_hears_the_hint_for_its_mistake():
    mistakes = {"the ends count too": 3, "so does the last": 4}
    properties = check.value(5, "all are counted", "count again", mistakes)
    heard = {wrong: hint for hint, wrong in mistakes.items()}
    for said, hint in {**heard, **dict.fromkeys((6, "5", True), "count again")}.items():
        outcome = judge(said, *properties)
        assert (outcome.outcome, outcome.hint, outcome.seen) == ("not yet", hint, f"you said {said!r}")
    assert judge(5, *properties).outcome == "passed"


def test_what_cannot_be_checked_here_says_why():
    def needs_a_gpu(attempt):
        raise check.CannotCheck("it needs a GPU")

    outcome = judge(1, check.Property("it is fast", needs_a_gpu, ""))
    assert (outcome.outcome, outcome.seen) == ("cannot check here", "it needs a GPU")


@given(st.text(), st.text(), st.text())
def test_a_message_has_at_most_five_lines_whatever_was_seen(seen, says, hint):
    outcome = judge(1, check.Property(says, lambda _: seen or "x", hint))
    assert len(repr(outcome.card()).split("\n")) <= 5


def test_a_check_shows_its_outcome_and_carries_it_as_json(capsys):
    check.exercise("0.00.1", 1, [check.Property("it is two", lambda answer: f"{answer} is not 2", "count")])
    assert capsys.readouterr().out.splitlines() == [
        "Exercise 0.00.1: not yet",
        "  seen       1 is not 2",
        "  must hold  it is two",
        "  next step  count",
    ]
    record = judge(1, DOUBLES).card().records[check.CHECK_MIME]
    assert json.loads(json.dumps(record)) == record
    assert set(record) == {"exercise", "outcome", "seen", "broken", "hint"}


@pytest.fixture
def chapter_of_checks(tmp_path, monkeypatch):
    """A chapter 0.98 whose checks stand in the package of exercises."""
    (tmp_path / "c0_98.py").write_text(
        "from ftlib.check import Exercise, Property\n"
        "TWO = Property('it is two', lambda n: None if n == 2 else f'{n} is not 2', 'count again')\n"
        "EXERCISES = {'0.98.1': Exercise([TWO], planted=[('answer = 3', 'it is two')])}\n"
    )
    monkeypatch.setattr(ftlib.exercises, "__path__", [*ftlib.exercises.__path__, str(tmp_path)])


def test_an_exercise_finds_its_properties_in_the_module_of_its_chapter(chapter_of_checks):
    assert check.judge("0.98.1", 2).outcome == "passed"
    assert check.judge("0.98.1", 3).hint == "count again"


def test_an_unknown_exercise_suggests_the_closest(chapter_of_checks):
    with pytest.raises(WorkbookError, match=r"no exercise '0\.98\.2'; did you mean '0\.98\.1'"):
        check.judge("0.98.2", 1)
    with pytest.raises(WorkbookError, match=r"chapter '0\.97' has no checks"):
        check.judge("0.97.1", 1)


STUB = """from ftlib import check

TWO = check.Property("it is two", lambda n: None if n == 2 else f"{n} is not 2", "count again")"""


@pytest.fixture
def chapter():
    """A notebook with one exercise, written as CONTRIBUTING.md says."""
    return new_notebook(
        cells=[
            new_code_cell(STUB),
            new_markdown_cell("**Exercise 0.98.1** One and one?"),
            new_code_cell(
                'answer = check.todo\ncheck.exercise("0.98.1", answer, [TWO])',
                metadata={"tags": ["exercise"]},
            ),
            new_markdown_cell("<details><summary>Hint</summary>count</details>", metadata={"tags": ["hint"]}),
            new_markdown_cell(
                "<details><summary>Solution</summary>\n\n```python\nanswer = 1 + 1\n```\n\n</details>",
                metadata={"tags": ["solution"]},
            ),
        ]
    )


def test_a_chapter_is_executed_once_as_it_stands_and_with_its_solutions(chapter, tmp_path):
    answers = solutions(chapter) | {"0.98.2": "other = 3"}
    stub = 'other = check.todo\ncheck.exercise("0.98.2", other, [TWO])'
    chapter.cells.append(new_code_cell(stub, metadata={"tags": ["exercise"]}))
    variant = with_answers(chapter, answers)
    done = execute(variant, tmp_path / "chapter.ipynb")
    assert done.passed, done.report
    cells = done.cells
    assert outcomes(cells)["0.98.1"]["outcome"] == outcomes(cells)["0.98.2"]["outcome"] == "not attempted"
    answered = outcomes(cells, answers=True)
    assert answered["0.98.1"]["outcome"] == "passed"
    assert (answered["0.98.2"]["seen"], answered["0.98.2"]["hint"]) == ("3 is not 2", "count again")
    assert "check.todo" in stubs(chapter)["0.98.1"].source, "the chapter itself stays as it is"
    assert [cell.execution_count for cell in cells if cell.cell_type == "code"] == [1, 2, 3, 4, 5]


def test_a_cell_that_fails_and_a_marked_output_that_differs_are_reported(chapter, tmp_path):
    """nbval compares only marked cells that were executed, so a mark without an execution is refused."""
    for number, (source, output, marks) in enumerate([
        ("6 * 7", "42", ["nbval-check-output"]),
        ("6 * 8", "42", ["nbval-check-output"]),
        ("import random\nrandom.random()", "0.5", []),
        ("{}['missing']", "1", []),
    ]):  # fmt: skip
        cell = new_code_cell(source, execution_count=number + 1, metadata={"tags": marks})
        cell.outputs = [new_output("execute_result", {"text/plain": output}, execution_count=number + 1)]
        chapter.cells.append(cell)
    done = execute(chapter, tmp_path / "chapter.ipynb")
    assert not done.passed and "2 failed, 4 passed" in done.report
    assert "mismatch 'text/plain'" in done.report and "KeyError" in done.report
    chapter.cells[-4].execution_count = None
    with pytest.raises(AssertionError, match="was never executed"):
        execute(chapter, tmp_path / "chapter.ipynb")


def test_an_answer_finds_what_the_chapter_imports_and_defines_without_its_cells_being_executed(chapter):
    cells = ["import math\n1 / 0", "def area(radius):\n    return math.pi * square(radius)\nopen('missing')"]
    chapter.cells += [new_code_cell(source) for source in [*cells, "def square(x):\n    return x * x"]]
    found = answer(chapter, "def twice(radius):\n    return 2 * area(radius)")
    assert found(1) == pytest.approx(6.283, abs=1e-3)
    assert answer(chapter, "x = 1 + 1") == 2


@pytest.mark.parametrize("number, what", [(3, "without a hint"), (4, "without a solution")])
def test_an_exercise_without_its_hint_or_solution_is_found(chapter, number, what):
    del chapter.cells[number]
    with pytest.raises(AssertionError, match=what):
        solutions(chapter)


def test_a_stub_that_does_not_end_with_its_check_is_found(chapter):
    chapter.cells[2].source += "\nprint(answer)"
    with pytest.raises(AssertionError, match=r"last line of a stub calls check\.exercise"):
        stubs(nbformat.from_dict(chapter))


def test_a_grader_s_salt_draws_other_inputs_each_time_the_same():
    def inputs(salt: str) -> list:
        seen = []
        case = check.Case("it is the same", lambda rng: (rng.random(),), "")
        check.judge("0.00.1", lambda x: seen.append(x) or x, check.against(lambda x: x, case), salt=salt)
        return seen

    assert inputs("") == inputs("") != inputs("a/") == inputs("a/")
    assert len({*inputs(""), *inputs("a/"), *inputs("b/")}) == 30
