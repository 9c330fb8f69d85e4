"""The town's registers: people in marked groups (see data.recipes.settlers), each group told of in its own way."""

from __future__ import annotations

from ..facts import say, tell
from ..pen import Pen
from ..settlers import group, settled_facts, work_streets
from .encyclopaedia import LAYOUTS, lines


def register(pen: Pen) -> str:
    """Entries of the group `one_wording`: the same sentences for everybody."""
    people = pen.some(group("one_wording"), pen.number(3, 5))
    return "\n".join(pen.say("register.entry", who=who, he=who.he, his=who.his) for who in people)


def portraits(pen: Pen) -> str:
    """The group `many_wordings`: the same kinds of facts, said in every way and in any order."""
    paragraphs = []
    for who in pen.some(group("many_wordings"), pen.number(3, 5)):
        facts = pen.some(settled_facts(who), 5)
        paragraphs.append(" ".join(tell(pen, fact, again=index > 0 and pen.chance(0.4)) for index, fact in enumerate(facts)))
    return "\n".join(paragraphs)


def stranger(pen: Pen) -> str:
    """One of the `strangers`."""
    facts = pen.some(settled_facts(pen.pick(group("strangers"))), 5)
    return " ".join(tell(pen, fact, again=index > 0 and pen.chance(0.4)) for index, fact in enumerate(facts))


def ways_to_work(pen: Pen) -> str:
    """In which streets known residents work, said or asked."""
    layout, facts = pen.pick(LAYOUTS), pen.some(work_streets(told=True), pen.number(4, 9))
    if pen.chance(0.5):
        return " ".join(tell(pen, fact) for fact in facts)
    return lines(layout(say(pen, fact, "question"), fact.value) for fact in facts)


GENRES = {"register": register, "portraits": portraits, "stranger": stranger, "ways_to_work": ways_to_work}
