"""Checks of exercises. They look at the learner's object and nothing else, so they work wherever Python runs.

Four outcomes: passed, not yet, not attempted, cannot check here. What an exercise must satisfy stands in
`ftlib/exercises`, a small module a chapter: EXERCISES, a mapping from "4.01.2" to an `Exercise`.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import functools
import importlib
import inspect
import itertools
import math
import numbers
import random
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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


# What the draws of inputs begin with: a grader's, so that they are not those of a learner's own check.
SALT: contextvars.ContextVar[str] = contextvars.ContextVar("salt", default="")


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
    """The properties in the order they are tried; wrong answers, and right ones, for the test suite.

    planted: pairs (source that replaces the stub, `says` of the property that must catch it). The suite also
    changes the solution in one place, again and again: equivalent names the changes (`line -> line`) that
    leave what it does as it is, each with the reason.
    drawn: the question of a seed, where it has numbers that may be others (see `asked`).
    """

    properties: Sequence[Property]
    planted: Sequence[tuple[str, str]]
    equivalent: Mapping[str, str] = field(default_factory=dict)
    drawn: Callable[[int], Question] | None = None

    def of(self, seed: int) -> Sequence[Property]:
        """The properties for the numbers of a seed; with 0 those of the chapter."""
        return self.drawn(seed).properties if self.drawn else self.properties


@dataclass(frozen=True)
class Question:
    """What an exercise asks with certain numbers.

    texts: the pieces of its Markdown, hint and solution that hold the numbers, in one order for all numbers.
    due: the right answer. properties: as of `Exercise`.
    """

    texts: Sequence[str]
    due: object
    properties: Sequence[Property]


@dataclass(frozen=True)
class Case:
    """Inputs on which a function must do what the reference does.

    says, hint: as of `Property`. draw: makes the arguments, a tuple, other ones with each random.Random.
    """

    says: str
    draw: Callable[[random.Random], tuple]
    hint: str


def against(reference: Callable, *cases: Case, tries: int = 10) -> list[Property]:
    """Properties of a function that must do what `reference` does: a property a case, each on `tries` inputs.

    Compared are values (as `apart` does) with their types and shapes, the kind of error, the gradients of
    tensors drawn with requires_grad, and whether the arguments stay as they were. Put first what shows one
    mistake alone (one row before several), so that the hint fits.
    """

    def differs(case: Case, answer: Callable) -> str | None:
        drawn = (case.draw(random.Random(f"{SALT.get()}{case.says}/{number}")) for number in range(tries))
        return next(filter(None, (_difference(reference, answer, inputs) for inputs in drawn)), None)

    return [Property(case.says, functools.partial(differs, case), case.hint) for case in cases]


def value(due: object, says: str, hint: str, mistakes: Mapping[str, object]) -> list[Property]:
    """Properties of an answer that is a value: wrong values with hints of their own come first.

    mistakes: hint -> the wrong value that it is for. ValueError: two of all these values are alike.
    """
    if any(apart(*two) is None for two in itertools.combinations([due, *mistakes.values()], 2)):
        raise ValueError("two of the values are alike")

    def said(answer: object, wrong: object = None) -> str | None:
        right = apart(answer, due) is None if wrong is None else apart(answer, wrong) is not None
        return None if right else f"you said {_show(answer)}"

    known = [Property(says, functools.partial(said, wrong=wrong), why) for why, wrong in mistakes.items()]
    return [*known, Property(says, said, hint)]


def asked(
    question: Callable[..., Question],
    usual: tuple,
    draw: Callable[[random.Random], tuple],
    planted: Sequence[tuple[str, str]],
) -> Exercise:
    """An exercise with numbers in it: `usual` in the chapter, those that `draw` draws for a learner's seed.

    Numbers are drawn again where the answer would be the usual one, or `value` cannot tell two answers apart.
    """
    first = question(*usual)

    def drawn(seed: int) -> Question:
        rng, found = random.Random(seed), first
        while seed and apart(found.due, first.due) is None:
            with contextlib.suppress(ValueError):
                found = question(*draw(rng))
        return found

    return Exercise(first.properties, planted, drawn=drawn)


def apart(seen: object, due: object, place: str = "the answer") -> str | None:
    """Where two values first differ, and how; None where types, shapes, keys and numbers agree.

    Numbers agree to 1e-4 of them; where a whole number is due, to what rounding does to it.
    """
    alike = type(seen) is type(due)
    if alike and isinstance(due, (Mapping, list, tuple)):
        mine, keys = (list(one if isinstance(one, Mapping) else range(len(one))) for one in (seen, due))
        if alike := len(mine) == len(keys) and all(key in mine for key in keys):
            return next(filter(None, (apart(seen[at], due[at], f"{place}[{at!r}]") for at in keys)), None)
    elif isinstance(due, numbers.Real) and not isinstance(due, bool):
        real = isinstance(seen, numbers.Real) and not isinstance(seen, bool)
        close = 1e-9 if isinstance(due, numbers.Integral) else 1e-4  # one more of 36 864 is another count
        alike = real and math.isclose(seen, due, rel_tol=close, abs_tol=1e-6)
    elif hasattr(due, "isclose"):
        alike = hasattr(seen, "isclose") and (seen.shape, seen.dtype) == (due.shape, due.dtype)
        close = 1e-4 if alike and due.is_floating_point() else 0
        alike = alike and bool(due.isclose(seen, rtol=close, atol=1e-6, equal_nan=True).all())
    else:
        alike = alike and bool(seen == due)
    return None if alike else f"{place} is {_show(seen)}, not {_show(due)}"


def _difference(reference: Callable, answer: Callable, inputs: tuple) -> str | None:
    """How the answer differs from the reference on these inputs, in one line; None where it does not."""
    theirs, given = copy.deepcopy(inputs), copy.deepcopy(inputs)
    names = list(inspect.signature(reference).parameters)
    call = ", ".join(f"{name}={_show(one)}" for name, one in zip(names, inputs, strict=False))
    try:
        due = reference(*theirs)
    except Exception as error:
        try:
            seen = answer(*given)
        except type(error):
            return None
        return f"{_show(seen)} is returned, where {type(error).__name__} is to be raised, given {call}"
    seen = answer(*given)
    if what := apart(seen, due):
        return f"{what}, given {call}"
    if apart(given, inputs):
        return f"the function changes what it is given: {call}"
    if getattr(due, "requires_grad", False):
        if not seen.requires_grad:
            return "the value is right, but no gradient flows back from it"
        for result in (due, seen):
            (result + result.square()).sum().backward()  # a sum alone hides what adds up to a constant
        for name, mine, ours in zip(names, given, theirs, strict=False):
            if apart(getattr(mine, "grad", None), getattr(ours, "grad", None)):
                return f"the value is right, but the gradient of {name} is not"
    return None


def _show(value: object) -> str:
    """A value in few words; of a tensor its shape, unless it is one number."""
    if hasattr(value, "detach"):
        return f"tensor {list(value.shape)}" if value.dim() else f"tensor {value.item():.4g}"
    if isinstance(value, list) and all(isinstance(one, float) for one in value):
        value = [round(one, 4) for one in value]
    return f"{value:.4g}" if isinstance(value, float) else textwrap.shorten(repr(value), 80, placeholder="…")


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


def exercise(name: str, attempt: object, properties: Sequence[Property] | None = None, seed: int = 0) -> None:
    """Checks an answer and shows the outcome; the output also carries it as JSON, for instructors.

    name: "4.01.2", the second exercise of chapter 4.01. attempt: a value, a function or a class.
    properties: those of `ftlib.exercises` unless given. seed: of the learner whose numbers the
    exercise has; 0 for those of the chapter. Raises WorkbookError for an unknown name only.
    """
    judge(name, attempt, properties, seed).card().display()


def judge(
    name: str,
    attempt: object,
    properties: Sequence[Property] | None = None,
    seed: int = 0,
    salt: str = "",
) -> Outcome:
    """The outcome of a check, as of `exercise`, without showing it. salt: another one draws other inputs.

    >>> even = Property("the number is even", lambda n: f"{n} leaves 1" if n % 2 else None, "try 2")
    >>> [judge("0.00.1", answer, [even]).outcome for answer in (3, 4, todo)]
    ['not yet', 'passed', 'not attempted']
    """
    returned: list[object] = []
    SALT.set(salt)
    answer = _watched(attempt, returned) if inspect.isfunction(attempt) else attempt
    for part in find(name).of(seed) if properties is None else properties:
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
            seen = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}".rstrip(": ")
        if seen and (attempt is None or (returned and returned[-1] is None)):
            seen = "the answer is None: is a `return` or an assignment missing?"
        if seen:
            return Outcome(name, "not yet", seen, part.says, part.hint)
    return Outcome(name, "passed")


def exercises(chapter: str) -> Mapping[str, Exercise]:
    """The exercises of a chapter by name, in order; WorkbookError for a chapter without checks."""
    try:
        return importlib.import_module(f"ftlib.exercises.c{chapter.replace('.', '_')}").EXERCISES
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("ftlib.exercises"):
            raise
        raise WorkbookError(f"chapter {chapter!r} has no checks") from None


def find(name: str) -> Exercise:
    """The exercise of that name; WorkbookError, with the closest name, when there is none."""
    try:
        known = exercises(name.rpartition(".")[0])
    except WorkbookError as error:
        raise WorkbookError(f"exercise {name!r}: {error}") from None
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
