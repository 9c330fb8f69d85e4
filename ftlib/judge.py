"""The judge of a fenced answer: asks it with inputs of its own, and decides as the learner's check does.

Nothing of a learner runs here. An answer is a value that came over the wire, or a function that asks the
fenced process. The references and the checks stay on this side.
"""

from __future__ import annotations

import builtins
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ftlib import check, settings
from ftlib.nursery import Failed, Fenced, Limits, Nursery

NO_CALL = "its cell ran to the end, and check.exercise was not called with an answer"


@dataclass(frozen=True)
class Judged:
    """What became of an exercise: the outcome of its check, or *failed* with the reason in `seen`."""

    outcome: check.Outcome
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Court:
    """How answers are judged: on the inputs of a learner's own check, then on others, drawn with the salt."""

    salt: str
    limits: Limits

    def judge(self, nursery: Nursery, name: str, cells: Sequence[str], seed: int = 0) -> Judged:
        """Judges the answer to an exercise in the code cells of a notebook. seed: the learner's."""
        started, notes = time.monotonic(), []
        try:
            with Fenced(nursery, self.limits, _libraries(name)) as process:
                started = time.monotonic()
                process.send((name, list(cells)))
                attempt = _attempt(process, notes)
                outcome = check.judge(name, attempt, seed=seed)
                if outcome.outcome == "passed":
                    outcome = check.judge(name, attempt, seed=seed, salt=self.salt)
        except Failed as error:
            outcome = check.Outcome(name, error.outcome, seen=str(error))
        return Judged(outcome, round(time.monotonic() - started, 1), notes)


def _libraries(name: str) -> set[str]:
    """What the checks of a chapter import inside functions, since it is heavy: its answers need it, too."""
    checks = settings.PACKAGE / "exercises" / f"c{name.rpartition('.')[0].replace('.', '_')}.py"
    return set(re.findall(r"(?m)^ +(?:import|from) ([\w.]+)", checks.read_text(encoding="utf-8")))


def _attempt(process: Fenced, notes: list[str]) -> object:
    """The answer that the process announces: a value, or a function that asks it."""
    while True:
        match process.receive():
            case ("notes", list(found)):
                notes[:] = [str(one)[:200] for one in found[:20]]
            case ("attempt", True, _):
                return _function(process)
            case ("attempt", False, attempt):
                return attempt
            case ("raised", [str(kind), *_] as names, str(text)):
                if isinstance(_error(names, text), check._NotAttempted):
                    return check.todo
                raise Failed(f"{kind}: {text}")
            case ("end",):
                raise Failed(NO_CALL)
            case _:
                raise Failed("wrote to the grader's channel: something else than an answer")


def _function(process: Fenced) -> Callable:
    """A function that does what the learner's does, also to what it is given."""

    def answer(*arguments: object, **named: object) -> object:
        result, after = _ask(process, ("call", arguments, named), "returned", 2)
        if type(after) is not tuple or len(after) != len(arguments):
            raise Failed("wrote to the grader's channel: other arguments")
        for mine, theirs in zip(arguments, after, strict=True):
            _follow(mine, theirs)
        if getattr(result, "requires_grad", False):
            return _with_gradient(process, result, [one for one in arguments if _takes_gradient(one)])
        return result

    return answer


def _ask(process: Fenced, question: tuple, reply: str, parts: int) -> tuple:
    """The parts of the reply to a question; what the learner's code raises is raised here."""
    process.send(question)
    match process.receive():
        case ("raised", [str(), *_] as names, str(text)):
            raise _error(names, text)
        case (kind, *found) if kind == reply and len(found) == parts:
            return tuple(found)
    raise Failed("wrote to the grader's channel: something else than a reply")


def _error(names: list, text: str) -> Exception:
    """An exception of that name, of the nearest built-in class; raises Failed for the fence's own reasons."""
    if "Refused" in names:
        raise Failed(f"refused access: {text}")
    if "MemoryError" in names or ("memory" in text and "alloc" in text):
        raise Failed("out of memory")
    if "WireError" in names:
        raise Failed(f"its answer cannot be judged: {text}")
    if "_NotAttempted" in names:
        return check._NotAttempted()
    for kind in (getattr(builtins, name, None) for name in names if isinstance(name, str)):
        if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, UnicodeError):
            name = names[0] if names[0].isidentifier() else kind.__name__
            return type(name, (kind,), {"__str__": lambda self: text})()
    raise Failed(f"{names[0]}: {text}")


def _follow(mine: object, theirs: object) -> None:
    """Changes an argument in place as the learner's function changed its copy."""
    if type(mine) is not type(theirs):
        raise Failed("wrote to the grader's channel: arguments of other types")
    if isinstance(mine, list):
        mine[:] = theirs
    elif isinstance(mine, (dict, set)):
        mine.clear()
        mine.update(theirs)
    elif isinstance(mine, tuple) and len(mine) == len(theirs):
        for one, other in zip(mine, theirs, strict=True):
            _follow(one, other)
    elif hasattr(mine, "detach"):
        if mine.dtype != theirs.dtype:
            raise Failed("wrote to the grader's channel: arguments of other types")
        mine.data = theirs.detach()


def _takes_gradient(value: object) -> bool:
    return hasattr(value, "detach") and value.requires_grad


def _with_gradient(process: Fenced, result: object, inputs: Iterable) -> object:
    """The result as a tensor from which gradients flow back to the inputs, as the learner's code says."""
    import torch

    class Fetched(torch.autograd.Function):
        @staticmethod
        def forward(context: object, *given: object) -> object:
            return result.detach().clone()

        @staticmethod
        def backward(context: object, gradient: object) -> tuple:
            [found] = _ask(process, ("pull", gradient.detach()), "gradients", 1)
            for one, mine in zip(found, inputs, strict=True):
                if one is not None and (not hasattr(one, "detach") or one.shape != mine.shape):
                    raise Failed("wrote to the grader's channel: no gradient")
            return tuple(found)

    return Fetched.apply(*inputs) if inputs else result
