"""Every call of another package fits the version that is installed: found without running a chapter.

Libraries rename parameters from version to version, and some calls are reached on one device only.
"""

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

import chapters
from ftlib import run

ROOT = run.NOTEBOOKS.parent
SOURCES = [
    *sorted(ROOT.glob("ftlib/**/*.py")),
    *sorted(ROOT.glob("data/recipes/**/*.py")),
    *sorted(ROOT.glob("benchmarks/*.py")),
    *chapters.notebooks(),
]
OWN = {"ftlib", "data", "notebooks", *(path.stem for path in SOURCES)}
ANYTHING = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}  # a signature that says nothing


def code(path: Path) -> str:
    """The code of a module, or of all cells of a notebook."""
    if path.suffix == ".py":
        return path.read_text(encoding="utf-8")
    return "\n\n".join(
        cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"
    )


def imported(tree: ast.AST) -> dict[str, tuple[str, str]]:
    """The names that other packages gave: name -> (module, what of it; "" for the module itself)."""
    found, bound = {}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                top = one.name.partition(".")[0]
                found[one.asname or top] = (one.name if one.asname else top, "")
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {one.asname or one.name: (node.module, one.name) for one in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)  # a variable of the same name: nobody knows which of the two is called
    return {name: place for name, place in found.items() if _foreign(place[0]) and name not in bound}


def _foreign(module: str) -> bool:
    top = module.partition(".")[0]
    return top not in OWN and top not in sys.stdlib_module_names


def target(function: ast.expr, names: dict[str, tuple[str, str]]) -> object:
    """What a call reaches, or None where only a run can tell."""
    steps = []
    while isinstance(function, ast.Attribute):
        steps.insert(0, function.attr)
        function = function.value
    if not isinstance(function, ast.Name) or function.id not in names:
        return None
    module, what = names[function.id]
    found = importlib.import_module(module)
    for step in [what, *steps] if what else steps:
        if isinstance(found, ModuleType) and not hasattr(found, step):
            found = importlib.import_module(f"{found.__name__}.{step}")
        else:
            found = getattr(found, step)
    return found


def checked(source: str) -> Iterator[tuple[str, str]]:
    """Each call whose signature is known: where it stands, and what is wrong with it, or ""."""
    tree = ast.parse(source)
    names = imported(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        where = f"{ast.unparse(node.func)} (line {node.lineno})"
        try:
            called = target(node.func, names)
            signature = inspect.signature(called) if called is not None else None
        except (AttributeError, ImportError) as error:
            yield where, str(error)
            continue
        except (TypeError, ValueError):  # written in C, without a signature
            continue
        if signature is None or ANYTHING.issuperset(one.kind for one in signature.parameters.values()):
            continue
        positional = [one for one in node.args if not isinstance(one, ast.Starred)]
        keywords = {one.arg: None for one in node.keywords if one.arg}
        try:
            signature.bind_partial(*positional, **keywords)
        except TypeError as error:
            yield where, str(error)
        else:
            yield where, ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_call_of_another_package_fits_its_signature(path):
    assert {where: wrong for where, wrong in checked(code(path)) if wrong} == {}


def test_many_calls_are_checked():
    assert sum(1 for path in SOURCES for _ in checked(code(path))) > 100


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("from peft import LoraConfig\nLoraConfig(rank=8)", "unexpected keyword argument 'rank'"),
        (
            "import torch\ntorch.optim.AdamW([], learning_rate=1)",
            "unexpected keyword argument 'learning_rate'",
        ),
        ("def f():\n    from trl import PPOTrainer\n    PPOTrainer()", "PPOTrainer"),
        ("import numpy as np\nnp.mean([1], 0, 0, 0, 0, 0, 0, 0, 0)", "too many positional arguments"),
    ],
)
def test_a_call_that_does_not_fit_is_reported(source, wrong):
    [(_, found)] = checked(source)
    assert wrong in found


def test_what_only_a_run_can_tell_is_left_to_the_run():
    assert list(checked("from torch import nn\nnn = 3\nnn.x(1)\nlen([])\nx = {}\nx.get(y=1)")) == []
