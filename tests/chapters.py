"""What tests need to know about a chapter's exercises, and how they execute a variant of a chapter.

An exercise is a code cell tagged `exercise` (the stub), whose last line is `check.exercise("4.01.2", answer)`
and Markdown after it tagged `hint` and `solution` (one cell or two). The solution holds one ```python block
inside <details>: what to write in place of the stub, without the check call.
"""

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbformat import NotebookNode

from ftlib import artefact, check, run

BLOCK = re.compile(r"<details>.*?```python\n(.*?)```.*?</details>", re.DOTALL)


def stubs(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """The stub cells, by the name of their exercise."""
    tagged = [cell for cell in notebook.cells if "exercise" in cell.metadata.get("tags", ())]
    return {_name(cell.source): cell for cell in tagged}


def solutions(notebook: NotebookNode) -> dict[str, str]:
    """The source of each solution, by the name of its exercise; every exercise has a hint and a solution."""
    found: dict[str, str] = {}
    name, hinted = "", False
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", ())
        if "exercise" in tags:
            name, hinted = _name(cell.source), False
        if "hint" in tags:
            hinted = True
        if "solution" in tags:
            [source] = BLOCK.findall(cell.source)
            assert hinted, f"the solution of {name} comes without a hint before it"
            found[name] = source
    assert found.keys() == stubs(notebook).keys(), (
        f"exercises without a solution: {stubs(notebook).keys() - found.keys()}"
    )
    return found


def with_answers(notebook: NotebookNode, answers: Mapping[str, str]) -> NotebookNode:
    """A copy of the notebook in which each answer stands in place of its stub, before the check call."""
    variant = nbformat.from_dict(notebook)
    for name, cell in stubs(variant).items():
        if name in answers:
            call = ast.parse(cell.source).body[-1]
            cell.source = answers[name].rstrip() + "\n" + ast.get_source_segment(cell.source, call)
    return variant


def execute(notebook: NotebookNode) -> NotebookNode:
    """Executes a notebook in a folder of its own, in a kernel of this Python; raises what a cell raises."""
    from nbclient import NotebookClient

    with TemporaryDirectory() as folder:
        manager = run.this_interpreter(Path(folder))
        resources = {"metadata": {"path": folder}}
        return NotebookClient(notebook, kernel_manager_class=manager, resources=resources).execute()


def outcomes(executed: NotebookNode) -> dict[str, dict]:
    """The record of each check in the outputs, by the name of its exercise."""
    shown = artefact.outputs(executed.cells)
    records = [output[check.CHECK_MIME] for output in shown if check.CHECK_MIME in output]
    return {record["exercise"]: record for record in records}


def _name(source: str) -> str:
    """The exercise that a stub checks on its last line."""
    last = ast.parse(source).body[-1]
    assert isinstance(last, ast.Expr) and ast.unparse(last.value.func) == "check.exercise", (
        f"the last line of a stub calls check.exercise, not: {ast.unparse(last)}"
    )
    return ast.literal_eval(last.value.args[0])
