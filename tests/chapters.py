"""What tests need to know about a chapter's exercises, and how they execute a variant of a chapter.

An exercise is a code cell tagged `exercise` (the stub), whose last line is `check.exercise("4.01.2", answer)`
and Markdown after it tagged `hint` and `solution` (one cell or two). The solution holds one ```python block
inside <details>: what to write in place of the stub, without the check call.

A chapter is executed once, under nbval: as it stands, and after each stub its solution with the same check.
CHAPTERS="4.01 4.03" leaves all others out.
"""

import ast
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from ftlib import artefact, check, run

ANSWER = "answer"  # the tag of a cell that holds a solution and its check
MARKED = "nbval-check-output"
HERE = Path(__file__).parent
BLOCK = re.compile(r"<details>.*?```python\n(.*?)```.*?</details>", re.DOTALL)


def number(path: Path) -> str:
    return path.name[:4].replace("_", ".")


def notebooks() -> list[Path]:
    """The notebooks of the chapters that CHAPTERS names, or of all."""
    found = sorted(run.NOTEBOOKS.glob("*/[0-9]_[0-9][0-9]_*.ipynb"))
    chosen = os.environ.get("CHAPTERS", "").replace(",", " ").split()
    unknown = set(chosen) - set(map(number, found))
    assert not unknown, f"CHAPTERS names {', '.join(sorted(unknown))}, and there is no such chapter"
    return [path for path in found if not chosen or number(path) in chosen]


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
    """A copy of the notebook in which after each stub a cell holds its answer and the check of the stub."""
    variant = nbformat.from_dict(notebook)
    for name, cell in stubs(variant).items():
        call = ast.get_source_segment(cell.source, ast.parse(cell.source).body[-1])
        answer = new_code_cell(f"{answers[name].rstrip()}\n{call}", metadata={"tags": [ANSWER]})
        variant.cells.insert(variant.cells.index(cell) + 1, answer)
    return variant


@dataclass(frozen=True)
class Executed:
    """A notebook after its execution under nbval: whether every cell did as it should, else what was said."""

    passed: bool
    report: str
    file: Path
    seconds: float = 0.0

    @property
    def cells(self) -> list[NotebookNode]:
        return nbformat.read(self.file, as_version=4).cells


def execute(notebook: NotebookNode, file: Path) -> Executed:
    """Executes a notebook under nbval, in a kernel of this Python, into `file`, in whose folder it writes.

    nbval compares the outputs of cells that are marked, word for word, and takes one without an execution
    count for a cell that need not be compared: such a mark is an error here.
    """
    marked = [cell for cell in notebook.cells if MARKED in cell.metadata.get("tags", ())]
    assert all(cell.execution_count for cell in marked), "a marked cell was never executed: make notebooks"
    nbformat.write(notebook, file)
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-p", "keep_outputs"]
    command += ["-p", "no:cacheprovider", "-p", "no:xdist", "--color=no", "--rootdir", str(file.parent)]
    paths = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    own = {"FTLIB_RUN_FOLDER": str(file.parent), "PYTHONPATH": paths, "TQDM_DISABLE": "1"}
    started = time.perf_counter()
    done = subprocess.run([*command, str(file)], env=os.environ | own, capture_output=True, text=True)
    seconds = round(time.perf_counter() - started, 1)
    return Executed(done.returncode == 0, done.stdout + done.stderr, file, seconds)


def outcomes(cells: Iterable[NotebookNode], answers: bool = False) -> dict[str, dict]:
    """The record of each check in the outputs of the stubs, or of the answers, by its exercise."""
    wanted = [cell for cell in cells if (ANSWER in cell.metadata.get("tags", ())) is answers]
    shown = artefact.outputs(wanted)
    records = [output[check.CHECK_MIME] for output in shown if check.CHECK_MIME in output]
    return {record["exercise"]: record for record in records}


def answer(notebook: NotebookNode, source: str) -> object:
    """What an answer defines last, with the chapter's imports, functions and classes; no cell is executed."""
    defined: dict[str, ast.stmt] = {}
    for cell in notebook.cells:
        for statement in ast.parse(cell.source).body if cell.cell_type == "code" else ():
            if isinstance(statement, (ast.Import, ast.ImportFrom)):
                defined |= {one.asname or one.name.partition(".")[0]: statement for one in statement.names}
            elif isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
                defined[statement.name] = statement
    needed, left = {}, [ast.parse(source)]
    while left:
        for name in {one.id for one in ast.walk(left.pop()) if isinstance(one, ast.Name)} & defined.keys():
            if name not in needed:
                needed[name] = defined[name]
                left.append(defined[name])
    statements = [defined[name] for name in defined if name in needed]
    space: dict[str, object] = {"__name__": "__main__"}
    exec(compile(ast.Module(statements, []), "chapter", "exec"), space)
    exec(source, space)
    last = ast.parse(source).body[-1]
    return space[last.targets[0].id if isinstance(last, ast.Assign) else last.name]


def _name(source: str) -> str:
    """The exercise that a stub checks on its last line."""
    last = ast.parse(source).body[-1]
    assert isinstance(last, ast.Expr) and ast.unparse(last.value.func) == "check.exercise", (
        f"the last line of a stub calls check.exercise, not: {ast.unparse(last)}"
    )
    return ast.literal_eval(last.value.args[0])
