"""People in marked groups, of whom pre-training tells in one way each, so that the way of telling can be measured.

No question about them is ever asked in the text, and none of them is mentioned elsewhere. Everybody has the same five
kinds of facts.

- `one_wording`: always the same sentences in the same order;
- `many_wordings`: sentences of many kinds in any order, as often as the others;
- `strangers`: so many people that most are met once, twice or never in a whole pre-training.

What follows from two known facts (the street of somebody's place of work) is said of two known residents in three; of the
third (`two_step`), never.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from .facts import PERSON, Fact
from .grammar import lexicon
from .pen import Pen
from .world import JOBS, Person, world

RELATIONS = ("street", "job", "instrument", "hobby", "food")
GROUP = 60
STRANGERS = 1_500


@cache
def settler(number: int) -> Person:
    """Person number `number`, whose name nobody else has."""
    pen = Pen("train", f"settler-{number}", open_names=True)
    known = {name: pen.pick(lexicon(name)) for name in ("street", "instrument", "hobby", "food")}
    return replace(pen.visitor(), job=pen.pick(tuple(JOBS)), **known)


def settled_facts(person: Person) -> tuple[Fact, ...]:
    """The five facts, in the order of RELATIONS."""
    return tuple(Fact(person, relation, str(person), str(PERSON[relation](person))) for relation in RELATIONS)


@cache
def group(name: str) -> tuple[Person, ...]:
    """The people of `one_wording`, `many_wordings` or `strangers`."""
    first, count = {"one_wording": (0, GROUP), "many_wordings": (GROUP, GROUP), "strangers": (2 * GROUP, STRANGERS)}[name]
    return tuple(settler(number) for number in range(first, first + count))


@cache
def work_streets(told: bool) -> tuple[Fact, ...]:
    """In which street a known resident works, for those of whom the text says so, or for the others."""
    workers = [person for person in world().known.people if person.age >= 18]
    return tuple(
        Fact(person, "work_street", str(person), person.workplace.street)
        for index, person in enumerate(workers) if (index % 3 != 0) == told
    )  # fmt: skip
