"""Changes a program in one place, in the ways of a learner's slip: a sign, a slice, a keyword, a constant.

A mutant is named by what differs, with a little of what stands beside it: `x + 1 -> x - 1`. A program that
comes out unchanged, or does not compile, is none. The text of an error is left alone: no check reads it.
"""

import ast
import copy
import itertools
from collections.abc import Iterator

COMPARED = {
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
COMPUTED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
PAIRS = ("sum mean", "min max", "low high", "any all", "argmin argmax", "std var", "append extend")
SWAPPED = {one: other for pair in map(str.split, PAIRS) for one, other in (pair, pair[::-1])}
RETURNED = ("2 * ({})", "-({})", "({}).detach()", "({})[:1]", "None", "[{}]", "print({})")


def mutants(source: str) -> dict[str, str]:
    """The programs that differ from `source` in one place, by their names."""
    tree = ast.parse(source)
    plain = ast.unparse(tree)
    said = {inner for one in ast.walk(tree) if isinstance(one, ast.Raise) for inner in ast.walk(one)} - {
        one for one in ast.walk(tree) if isinstance(one, ast.Raise)
    }
    found: dict[str, str] = {}
    for number, node in enumerate(ast.walk(tree)):
        for change in _changes(node) if node not in said else ():
            other = copy.deepcopy(tree)
            target = next(one for place, one in enumerate(ast.walk(other)) if place == number)
            change(target)
            try:
                text = ast.unparse(ast.fix_missing_locations(other))
                compile(text, "mutant", "exec")
            except (SyntaxError, ValueError, TypeError):
                continue
            if text != plain and text not in found.values():
                name = _name(plain, text)
                same = sum(other.partition(" (")[0] == name for other in found)
                found[f"{name} ({same + 1})" if same else name] = text
    return found


def _name(plain: str, text: str) -> str:
    """What differs: before -> after, with ten characters on either side."""
    start = max(0, _alike(plain, text) - 10)
    end = max(0, _alike(plain[:start:-1], text[:start:-1]) - 10)
    gone, new = (" ".join(one[start : len(one) - end].split()) for one in (plain, text))
    return f"{gone} -> {new}"


def _alike(one: str, other: str) -> int:
    """How many characters at the start are the same."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _changes(node: ast.AST) -> Iterator:
    """Functions that change a copy of the node in place, one way each."""
    for name, values in _replaced(node):
        for value in values:
            yield lambda target, name=name, value=value: setattr(target, name, value)
    if isinstance(node, ast.Call):
        yield from (lambda target, at=at: target.args.pop(at) for at in range(len(node.args)))
        yield from (lambda target, at=at: target.keywords.pop(at) for at in range(len(node.keywords)))
        if len(node.args) > 1:
            yield lambda target: target.args.reverse()
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            for other in COMPARED[type(operator)]:
                yield lambda target, at=at, other=other: target.ops.__setitem__(at, other())
    if isinstance(node, (ast.List, ast.Tuple)) and isinstance(node.ctx, ast.Load) and len(node.elts) > 1:
        yield lambda target: target.elts.reverse()
        yield from (lambda target, at=at: target.elts.pop(at) for at in range(len(node.elts)))
    if isinstance(node, ast.Dict):
        for at in range(len(node.keys)):
            yield lambda target, at=at: (target.keys.pop(at), target.values.pop(at))
    for field in ("body", "orelse"):  # a statement left out
        statements = getattr(node, field, ()) if isinstance(node, ast.stmt) else ()
        for at in range(len(statements)):
            yield lambda target, field=field, at=at: getattr(target, field).__setitem__(at, ast.Pass())
    if isinstance(node, ast.FunctionDef):  # the first row only, rows in another order, arguments swapped
        names = [argument.arg for argument in node.args.args]
        lines = [f"{name} = {name}{part}" for name in names for part in ("[:1]", "[1:]", "[::-1]")]
        lines += [f"{one}, {other} = {other}, {one}" for one, other in itertools.combinations(names, 2)]
        for line in lines:
            yield lambda target, line=line: target.body.insert(0, ast.parse(line).body[0])


def _replaced(node: ast.AST) -> Iterator[tuple[str, list]]:
    """(Field, values to put there) of a node."""
    if isinstance(node, ast.Constant):
        yield "value", _constants(node.value)
    if isinstance(node, ast.BinOp):
        yield "op", [COMPUTED[type(node.op)]()] if type(node.op) in COMPUTED else []
        yield "right", [node.left]
    if isinstance(node, ast.BoolOp):
        yield "op", [ast.Or() if isinstance(node.op, ast.And) else ast.And()]
        yield "values", [node.values[:1], node.values[1:]]
    if isinstance(node, ast.UnaryOp):
        yield "op", [ast.UAdd() if isinstance(node.op, ast.USub) else ast.USub()]
    if isinstance(node, (ast.IfExp, ast.If, ast.While)):
        yield "test", [ast.Constant(True), ast.Constant(False), ast.UnaryOp(ast.Not(), node.test)]
    if isinstance(node, ast.Slice):
        for end in ("lower", "upper"):
            yield end, [None, ast.Constant(1), ast.Constant(-1), ast.Constant(2)]
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield "slice", [ast.Slice(), ast.Constant(0), ast.Slice(upper=ast.Constant(1))]
    if isinstance(node, ast.Attribute):
        yield "attr", [SWAPPED[node.attr]] if node.attr in SWAPPED else []
    if isinstance(node, ast.Name) and node.id in SWAPPED:
        yield "id", [SWAPPED[node.id]]
    if isinstance(node, ast.comprehension):
        every = ast.unparse(node.iter)
        parts = [f"list({every}){part}" for part in ("[1:]", "[:1]", "[:-1]", "[::-1]")]
        yield "iter", [ast.parse(part, mode="eval").body for part in parts]
        yield "ifs", [[]]
    if isinstance(node, (ast.Return, ast.Assign)) and node.value is not None:
        value = ast.unparse(node.value)
        yield "value", [ast.parse(form.replace("{}", value), mode="eval").body for form in RETURNED]
    if isinstance(node, ast.Raise) and node.exc is not None:
        yield "exc", [ast.Name("KeyError", ast.Load()), ast.Name("Exception", ast.Load())]
    yield from _inner(node)


def _inner(node: ast.AST) -> Iterator[tuple[str, list]]:
    """A call or a method gives way to what it was called on or with: `x.strip()` to `x`."""
    for field, child in ast.iter_fields(node):
        if isinstance(child, ast.Call):
            on = [child.func.value] if isinstance(child.func, ast.Attribute) else []
            yield field, [*on, *child.args[:1]]
        if isinstance(child, ast.UnaryOp):
            yield field, [child.operand]


def _constants(value: object) -> list:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1, -value, 0]
    if isinstance(value, float):
        return [2 * value, value / 2, -value, 0.0]
    if isinstance(value, str):
        return ["", value + "x", value.upper(), value[::-1]]
    return [1] if value is None else []
