"""Which statements of a notebook an answer needs."""

import ast

import pytest

from ftlib import answers

LAST = 'check.exercise("7.01.2", answer)'


def kept(*cells: str) -> list[str]:
    """What runs of the cells before the last, which answers."""
    statements, _ = answers.needed([*cells[:-1], f"{cells[-1]}\n{LAST}"], "7.01.2")
    return [ast.unparse(one.code) for one in statements if one.cell < len(cells) - 1]


@pytest.mark.parametrize(
    ("before", "answer", "needed"),
    [
        (["import math\nimport json"], "answer = math.pi", ["import math"]),
        (["x = 1\ny = x\nz = 3"], "answer = y", ["x = 1", "y = x"]),
        (["def f():\n    return g()", "def g():\n    return 1"], "answer = f()",
         ["def f():\n    return g()", "def g():\n    return 1"]),
        (["rows = [3]\nrows.append(4)\nrows[0] = 1\nrows += [2]\ndel rows[0]\nprint(rows)"], "answer = rows",
         ["rows = [3]", "rows.append(4)", "rows[0] = 1", "rows += [2]", "del rows[0]"]),
        (["rows = [3, 4]\nlast = rows.pop()\nfirst = rows[0]"], "answer = rows",
         ["rows = [3, 4]", "last = rows.pop()"]),
        (["import random\nrandom.seed(3)\nrows = [1, 2]\nrandom.shuffle(rows)"], "answer = rows",
         ["import random", "random.seed(3)", "rows = [1, 2]", "random.shuffle(rows)"]),
        (["from ftlib import plot\nscores = [1]\nplot.line(3, scores)"], "answer = scores", ["scores = [1]"]),
        (["for n in range(3):\n    total = n\nother = 1"], "answer = total",
         ["for n in range(3):\n    total = n"]),
        (["rows = train()"], "def answer(rows):\n    return [rows for rows in rows]", []),
        (["x = train()"], "x = 1\nanswer = x", []),
        (["x = 1"], "x += 1\nanswer = x", ["x = 1"]),
        (["answer = train()"], "def answer():\n    return answer", []),
        (["class A:\n    b = 1", "A.c = 2", "a = A()"], "answer = a",
         ["class A:\n    b = 1", "A.c = 2", "a = A()"]),
        (["from math import *"], "answer = pi", ["from math import *"]),
        (["try:\n    import fast\nexcept ImportError:\n    fast = None"], "answer = fast",
         ["try:\n    import fast\nexcept ImportError:\n    fast = None"]),
        (["seed: int = 0", "def start(n):\n    global state\n    state = n", "start(seed)"], "answer = state",
         ["def start(n):\n    global state\n    state = n"]),
        (["x = 1"], "answer = 1\nx = 2", []),
    ],
)  # fmt: skip
def test_the_statements_run_that_bind_or_change_what_the_answer_needs(before, answer, needed):
    assert kept(*before, answer) == needed


def test_what_is_no_python_is_left_out_and_said():
    cells = ["%matplotlib inline\nx = 1", "%%bash\nls", "this is\nno Python", "!ls\ny = x"]
    cells += [f"%%time\nanswer = y\n{LAST}"]
    statements, notes = answers.needed(cells, "7.01.2")
    assert [ast.unparse(one.code) for one in statements][:-1] == ["x = 1", "y = x", "answer = y"]
    said = ["what is for IPython", "what is for IPython", "all of it (SyntaxError)", "what is for IPython"]
    assert notes == [f"left out of code cell {at}: {what}" for at, what in enumerate(said, start=1)]


def test_the_last_cell_that_checks_an_exercise_counts_and_what_comes_later_does_not():
    first = f"from ftlib import check\nanswer = 1\n{LAST}"
    cells = [first, "x = 1", f"answer = x; {LAST}", "x = 2", f"# {LAST}"]
    assert answers.exercises(cells) == {"7.01.2": 2}
    statements, _ = answers.needed(cells, "7.01.2")
    assert [one.cell for one in statements] == [0, 1, 2, 2]
