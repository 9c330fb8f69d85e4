"""Checks of exercises. They look at the learner's object and nothing else, so they work wherever Python runs.

Four outcomes: passed, not yet, not attempted, cannot check here. What an exercise must satisfy stands in
`ftlib/exercises`, a small module a chapter: EXERCISES, a mapping from "4.01.2" to an `Exercise`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ftlib import plot
from ftlib.settings import WorkbookError, closest

CHECK_MIME = "application/vnd.ftlib.check+json"
COLORS = {
    "passed": "#009E73",
    "not yet": "#D55E00",
    "not attempted": plot.GREY,
    "cannot check here": "#0072B2",
}
OPERATIONS = (
    "call getitem setitem iter len bool float int index contains eq ne lt le gt ge neg abs add radd sub rsub "
    "mul rmul matmul rmatmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow and rand or ror"
)


class CannotCheck(Exception):
    """Raised by a test of a property that needs something this machine lacks; the text says what."""


class _NotAttempted(Exception):
    """The answer, or what it returned, is still the placeholder."""


class Todo:
    """The placeholder of a stub, to be assigned, returned or shown; computing with it is *not attempted*."""

    def __repr__(self) -> str:
        return "todo"

    def __getattr__(self, name: str) -> object:
        raise AttributeError(name) if name.startswith("_") else _NotAttempted


def _placeholder_used(*_: object, **__: object) -> object:
    raise _NotAttempted


for _operation in OPERATIONS.split():
    setattr(Todo, f"__{_operation}__", _placeholder_used)

todo = Todo()


@dataclass(frozen=True)
class Property:
    """One thing a right answer satisfies.

    says: the property in one short sentence. test: takes the answer; returns None when the property holds,
    else one line that says what was tried and what was seen. hint: the one next step then.
    """

    says: str
    test: Callable[[Any], str | None]
    hint: str


@dataclass(frozen=True)
class Exercise:
    """The properties in the order they are tried, and wrong answers for the test suite.

    planted: pairs (source that replaces the stub, `says` of the property that must catch it).
    """

    properties: Sequence[Property]
    planted: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Outcome:
    """What a check found; `broken` and `hint` are empty unless the outcome is *not yet*."""

    exercise: str
    outcome: str
    seen: str = ""
    broken: str = ""
    hint: str = ""

    def card(self) -> plot.Shown:
        """At most five lines: the outcome, what was seen, the broken property, one next step."""
        rows = {"seen": self.seen, "must hold": self.broken, "next step": self.hint}
        lines = {name: textwrap.shorten(text, 200, placeholder=" …") for name, text in rows.items()}
        title = f"Exercise {self.exercise}: {self.outcome}"
        return plot.card(title, lines, COLORS[self.outcome], {CHECK_MIME: asdict(self)})


def exercise(name: str, attempt: object, properties: Sequence[Property] | None = None) -> None:
    """Checks an answer and shows the outcome; the output also carries it as JSON, for instructors.

    name: "4.01.2", the second exercise of chapter 4.01. attempt: a value, a function or a class.
    properties: those of `ftlib.exercises` unless given. Raises WorkbookError for an unknown name only.
    """
    judge(name, attempt, properties).card().display()


def judge(name: str, attempt: object, properties: Sequence[Property] | None = None) -> Outcome:
    """The outcome of a check, without showing it.

    >>> even = Property("the number is even", lambda n: f"{n} leaves 1" if n % 2 else None, "try 2")
    >>> [judge("0.00.1", answer, [even]).outcome for answer in (3, 4, todo)]
    ['not yet', 'passed', 'not attempted']
    """
    returned: list[object] = []
    answer = _watched(attempt, returned) if inspect.isfunction(attempt) else attempt
    for part in find(name).properties if properties is None else properties:
        try:
            if _is_placeholder(attempt):
                raise _NotAttempted
            seen = part.test(answer)
        except CannotCheck as error:
            return Outcome(name, "cannot check here", seen=str(error))
        except Exception as error:
            if isinstance(error, _NotAttempted) or any(word in str(error) for word in ("Todo", "ellipsis")):
                return Outcome(
                    name, "not attempted", hint="replace check.todo with your answer, run the cell again"
                )
            seen = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        if seen and (attempt is None or (returned and returned[-1] is None)):
            seen = "the answer is None: is a `return` or an assignment missing?"
        if seen:
            return Outcome(name, "not yet", seen, part.says, part.hint)
    return Outcome(name, "passed")


def find(name: str) -> Exercise:
    """The exercise of that name; WorkbookError, with the closest name, when there is none."""
    chapter = name.rpartition(".")[0]
    try:
        known = importlib.import_module(f"ftlib.exercises.c{chapter.replace('.', '_')}").EXERCISES
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("ftlib.exercises"):
            raise
        raise WorkbookError(f"exercise {name!r}: chapter {chapter!r} has no checks") from None
    if name not in known:
        raise WorkbookError(f"no exercise {name!r}{closest(name, known)}")
    return known[name]


def _is_placeholder(value: object) -> bool:
    """Whether a value is, or directly holds, `todo` or `...`."""
    parts = (
        value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
    )
    return any(part is todo or part is ... for part in parts)


def _watched(function: Callable, returned: list[object]) -> Callable:
    """The learner's function; what it returns is noted, and a placeholder means that it was not attempted."""

    @functools.wraps(function)
    def call(*arguments: object, **named: object) -> object:
        result = function(*arguments, **named)
        if _is_placeholder(result):
            raise _NotAttempted
        returned.append(result)
        return result

    return call
