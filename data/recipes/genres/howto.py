"""How-to instructions: what is needed, the steps, a warning or two, and now and then questions about them.

Each task is one group `task.NAME` of patterns/howto.txt, read whole: its `with:` line draws the quantities, so that the list
of things needed and the steps agree; `title:`, `need:` and `tip:` lines are what they say; the other lines are steps in
order. Splits are by task here, not by line: each eighth task is kept for test and each eighth for validation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from ..grammar import Pattern, expand, groups, lexicon, parse, tidy
from ..pen import Pen

_KEPT = {"test": 3, "validation": 6}


@dataclass(frozen=True)
class Task:
    """The parsed lines of one task."""

    draws: tuple[tuple[str, tuple[str, ...]], ...]
    title: Pattern
    needs: tuple[Pattern, ...]
    tips: tuple[Pattern, ...]
    steps: tuple[Pattern, ...]


@cache
def tasks(split: str) -> tuple[Task, ...]:
    """The tasks of one split."""
    names = [name for name in groups("howto") if name.startswith("task.")]
    offset = _KEPT.get(split)
    kept = [name for index, name in enumerate(names) if (index % 8 == offset if offset else index % 8 not in _KEPT.values())]
    return tuple(_task(groups("howto")[name]) for name in kept)


def _task(lines: tuple[str, ...]) -> Task:
    marked: dict[str, list[str]] = {"with": [], "title": [], "need": [], "tip": [], "": []}
    for line in lines:
        mark, colon, rest = line.partition(": ")
        known = colon and mark in marked
        marked[mark if known else ""].append(rest if known else line)
    needs = [need for line in marked["need"] for need in line.split("; ")]
    return Task(
        tuple(_draw(entry) for line in marked["with"] for entry in line.split("; ")), parse(marked["title"][0]),
        tuple(map(parse, needs)), tuple(map(parse, marked["tip"])), tuple(map(parse, marked[""])),
    )  # fmt: skip


def _draw(entry: str) -> tuple[str, tuple[str, ...]]:
    """`a=10-40/5` is one of 10, 15 ... 40; `a=rye, oat` one of the words."""
    name, _, values = entry.partition("=")
    low, dash, high = values.partition("-")
    if not dash or not low.isdigit():
        return name, tuple(values.split(", "))
    high, _, step = high.partition("/")
    return name, tuple(str(number) for number in range(int(low), int(high) + 1, int(step or 1)))


@dataclass(frozen=True)
class Guide:
    """One task with its quantities drawn: plain text, steps and tips without a full stop."""

    title: str
    needs: list[str]
    steps: list[str]
    tips: list[str]


def guide(pen: Pen) -> Guide:
    """A random task, written out."""
    task = pen.pick(tasks(pen.split))
    slots: dict = {name: pen.pick(values) for name, values in task.draws}
    slots["who"] = pen.visitor()

    def written(pattern: Pattern) -> str:
        text = tidy(expand(pattern, pen.rng, slots))
        return text[:1].lower() + text[1:]

    needs = [written(need) for need in task.needs]
    if pen.chance(0.4):
        pen.rng.shuffle(needs)
    steps = [_with_manner(pen, _reworded(pen, written(step))) for step in task.steps]
    return Guide(written(task.title), needs, steps, [_reworded(pen, written(tip)) for tip in task.tips])


@cache
def _synonyms() -> tuple[re.Pattern, dict[str, tuple[str, ...]]]:
    """The phrases of lexicon/howto_synonym.txt that may stand for one another in a step, and an expression that finds them."""
    rows = {phrase: tuple(others.split(", ")) for phrase, _, others in (line.partition(" = ") for line in lexicon("howto_synonym"))}
    longest_first = sorted(rows, key=len, reverse=True)
    return re.compile(rf"\b({'|'.join(longest_first)})\b"), rows


def _reworded(pen: Pen, text: str) -> str:
    """The text in other words here and there."""
    finder, rows = _synonyms()
    return finder.sub(lambda match: pen.pick((match[0], *rows[match[0]])), text)


# Steps that begin with one of these already say when or how.
_LED = ("after ", "when ", "if ", "in ", "with ", "to ", "once ", "begin ", "wait", "never ", "for ")


def _with_manner(pen: Pen, step: str) -> str:
    """The step, often with a word before it on how to do it."""
    if step.startswith(_LED) or pen.chance(0.7):
        return step
    manner = pen.say("howto.manner", helper=pen.visitor().first, minutes=pen.number(2, 59))
    return f"{manner[:1].lower()}{manner[1:]} {step}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(items: list[str]) -> str:
    return ", ".join(items[:-1]) + " and " + items[-1]


def _needed(pen: Pen, made: Guide) -> str:
    heading = pen.say("howto.need_heading", number=len(made.needs))
    if pen.chance(0.4):
        mark = pen.pick(("- ", "* ", ""))
        return heading + "\n" + "\n".join(mark + need for need in made.needs)
    return f"{heading} {_listed(made.needs)}."


def _numbered(pen: Pen, made: Guide) -> str:
    mark = pen.pick(("{}. ", "{}) ", "Step {}: ", "({}) "))
    return "\n".join(f"{mark.format(number)}{_capital(step)}." for number, step in enumerate(made.steps, 1))


def _connected(pen: Pen, made: Guide) -> str:
    """The steps as running text: first ..., then ..., finally ..."""
    last = len(made.steps) - 1
    out = []
    for index, step in enumerate(made.steps):
        group = "first" if index == 0 else "last" if index == last else "then"
        out.append(pen.say(f"howto.{group}", step=step))
    return " ".join(out)


def _questions(pen: Pen, made: Guide, count: int) -> list[str]:
    out = []
    for kind in pen.some(("need", "after", "before", "number", "start"), count):
        at = pen.number(1, len(made.steps) - 1)
        here, before = made.steps[at], made.steps[at - 1]
        reply, given = {
            "need": (_listed(made.needs), ""), "after": (here, before), "before": (before, here), "number": (here, str(at + 1)),
            "start": (made.steps[0], ""),
        }[kind]  # fmt: skip
        out.append(pen.say(f"howto.ask_{kind}", given=given, title=made.title, who=pen.visitor()) + f" {_capital(reply)}.")
    return out


def howto(pen: Pen) -> str:
    """One task: an opening, what is needed, the steps, tips, and now and then questions."""
    made = guide(pen)
    parts = [pen.say("howto.opening", title=made.title, who=pen.visitor(), resident=pen.person(adult=True), number=pen.number(2, 99))]
    parts.append(_needed(pen, made))
    parts.append(_numbered(pen, made) if pen.chance(0.5) else _connected(pen, made))
    if made.tips and pen.chance(0.7):
        parts.append(pen.say("howto.tip", tip=pen.pick(made.tips), who=pen.visitor()))
    if pen.chance(0.6):
        parts += _questions(pen, made, pen.number(1, 3))
    elif pen.chance(0.4):
        parts.append(pen.say("howto.closing", title=made.title, who=pen.visitor(), other=pen.visitor()))
    return "\n".join(parts)


GENRES = {"howto": howto}
