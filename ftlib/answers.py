"""What runs inside the fence: the part of a handed-in notebook that an answer needs, and then its calls.

Of the cells before the exercise's, those statements run that bind or change a name which the answer needs,
in their order: the training around it does not. The judge then asks, and this process answers.
"""

from __future__ import annotations

import ast
import builtins
import os
import re
import socket
import symtable
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from ftlib import check, fence, wire

PROGRAM = "from ftlib import answers, nursery; nursery.nurse(answers.run)"
PROBE = "from ftlib import nursery, wire; nursery.nurse(lambda channel: wire.send(channel, 'in'))"
CALL = re.compile(r"""\bexercise\(\s*["'](\d\.\d\d\.\d+)["']""")
COMMENT = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
MAGIC = re.compile(r"^[ \t]*[%!].*$", re.MULTILINE)
SEEDS = ("seed", "manual_seed")
TAKING = ("pop", "popitem", "popleft", "setdefault")  # methods with a result that change their object


@dataclass(frozen=True)
class Statement:
    """A statement of a cell, with the names that it binds, that it changes in place, and that it reads."""

    cell: int
    code: ast.stmt
    binds: frozenset[str]
    changes: frozenset[str]
    reads: frozenset[str]


def exercises(cells: Sequence[str]) -> dict[str, int]:
    """The names of the exercises that cells check, each with the number of the last cell that does."""
    code = [COMMENT.sub("", source) for source in cells]
    return {name: number for number, source in enumerate(code) for name in CALL.findall(source)}


def needed(cells: Sequence[str], name: str) -> tuple[list[Statement], list[str]]:
    """The statements that an exercise's answer needs, its cell's own last; and notes on what is left out.

    Raises SyntaxError or ValueError where the cell of the exercise is no Python.
    """
    last, notes, before, modules = exercises(cells)[name], [], [], {}
    for number, source in enumerate(cells[:last]):
        try:
            before += _statements(number, source, modules)
            left_out = "what is for IPython" if MAGIC.search(source) else ""
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            left_out = f"all of it ({type(error).__name__})"
        notes += [f"left out of code cell {number + 1}: {left_out}"] if left_out else []
    own, names, bound = list(_statements(last, cells[last], modules)), set(), set()
    for one in own:  # what the cell binds itself, it does not need from another
        bound |= one.binds if isinstance(one.code, (ast.FunctionDef, ast.ClassDef)) else set()
        names |= one.reads - bound
        bound |= one.binds if isinstance(one.code, (ast.Assign, ast.Import, ast.ImportFrom)) else set()
    while True:
        kept = [one for one in before if names & (one.binds | one.changes) or "*" in one.binds]
        more = names.union(*(one.reads for one in kept))
        if more == names:
            return [*kept, *own], notes
        names = more


def _statements(cell: int, source: str, modules: dict[str, str]) -> Iterator[Statement]:
    """The statements of a cell; adds to `modules` the names that it imports, each with its module."""
    for code in ast.parse(_python(source), f"code cell {cell + 1}").body:
        top = symtable.symtable(ast.unparse(code), "cell", "exec")
        binds, reads, tables = set(), set(), [top]
        while tables:
            table = tables.pop()
            tables += table.get_children()
            for one in table.get_symbols():
                if table is top or one.is_global():
                    reads |= {one.get_name()} if one.is_referenced() else set()
                    bound = one.is_assigned() or one.is_imported() or one.is_namespace()
                    binds |= {one.get_name()} if bound else set()
        for node in ast.walk(code):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                binds |= {"*"} if node.names[0].name == "*" else set()
                modules |= dict.fromkeys(binds, getattr(node, "module", None) or node.names[0].name)
        changes = {name for node in _own(code) for name in _changed(node, modules)}
        yield Statement(cell, code, frozenset(binds), frozenset(changes), frozenset(reads))


def _python(source: str) -> str:
    """A cell without what is for IPython: lines with % or !, or all of a cell in another language."""
    first = source.lstrip()
    other = first.startswith("%%") and not first.startswith(("%%time", "%%capture"))
    return "" if other else MAGIC.sub("", source)


def _own(code: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a statement that run when it does: not those in the functions that it defines."""
    yield code
    if not isinstance(code, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        for child in ast.iter_child_nodes(code):
            yield from _own(child)


def _changed(node: ast.AST, modules: dict[str, str]) -> Iterator[str]:
    """The names whose values a node may change: it assigns to a part of one, or makes a call for no result.

    A method may change what it belongs to; a function, what it is given (random.shuffle), or the state of its
    module (random.seed). Those of ftlib and the built-in ones show, and change nothing.
    """
    if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, (ast.Store, ast.Del)):
        yield from _root(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TAKING:
        yield from _root(node.func)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        function = node.value.func
        for root in _root(function):
            method = isinstance(function, ast.Attribute)
            if method and (root not in modules or function.attr in SEEDS):
                yield root
            elif not modules.get(root, "").startswith("ftlib") and not hasattr(builtins, root):
                yield from (name for argument in node.value.args for name in _root(argument))


def _root(node: ast.AST) -> list[str]:
    """The name at the root of `name.part[place]`."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return [node.id] if isinstance(node, ast.Name) else []


def run(channel: socket.socket) -> NoReturn:
    """Runs an answer inside the fence: the judge sends (exercise, cells), and then asks."""
    name, cells = wire.receive(channel)
    place = sys.modules["__main__"] = types.ModuleType("__main__")
    place.__dict__["display"] = lambda *_, **__: None

    def exercise(asked: str, attempt: object, *_: object, **__: object) -> None:
        if asked == name and where == last:
            _serve(channel, attempt)

    check.exercise, where, last = exercise, "", f" (code cell {exercises(cells)[name] + 1})"
    try:
        statements, notes = needed(cells, name)
        wire.send(channel, ("notes", notes))
        for one in statements:
            where = f" (code cell {one.cell + 1})"
            exec(compile(ast.Module([one.code], []), f"code cell {one.cell + 1}", "exec"), place.__dict__)
    except BaseException as error:  # SystemExit too
        _raised(channel, error, where)
    else:
        wire.send(channel, ("end",))
    os._exit(0)


def _raised(channel: socket.socket, error: BaseException, where: str = "") -> None:
    """Sends an exception: the names of its classes, and what it says."""
    if isinstance(error, MemoryError):
        fence.spare_memory()
    text = "?"
    with suppress(Exception):
        text = f"{error}"[:500]
    wire.send(channel, ("raised", [one.__name__ for one in type(error).__mro__], text + where))


def _serve(channel: socket.socket, attempt: object) -> NoReturn:
    """Hands an attempt over, a function as one that can be called; ends with the judge's last question."""
    function = callable(attempt) and not isinstance(attempt, type) and attempt is not check.todo
    wire.send(channel, ("attempt", function, None if function else attempt))
    result, given = None, ()
    with suppress(EOFError, OSError):
        while True:
            question = wire.receive(channel)
            try:
                if question[0] == "call":
                    given = question[1]
                    result = attempt(*given, **question[2])
                    reply = ("returned", result, given)
                else:
                    reply = ("gradients", _gradients(result, given, question[1]))
                wire.send(channel, reply)
            except BaseException as error:
                _raised(channel, error)
    os._exit(0)


def _gradients(result: object, given: tuple, gradient: object) -> list:
    """What flows back from the last result to those of its arguments that take a gradient."""
    import torch

    leaves = [one for one in given if isinstance(one, torch.Tensor) and one.requires_grad]
    return list(torch.autograd.grad(result, leaves, gradient, retain_graph=True, allow_unused=True))
