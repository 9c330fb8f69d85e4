"""Encyclopaedia entries, fact lists and questions with replies about the town: where the known facts are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..facts import Entity, entities, facts, facts_of, say, tell
from ..pen import Pen
from ..world import Person, Place, Product, Sailing


def entry(pen: Pen) -> str:
    """One entity: heading, what it is, and most of its facts in any order."""
    entity = pen.pick(entities(pen.town))
    lines = [_opening(pen, entity)]
    chosen = list(facts_of(entity))
    pen.rng.shuffle(chosen)
    for fact in chosen[: pen.number(3, 10)]:
        lines.append(tell(pen, fact, again=pen.chance(0.5)))
    lines += _extras(pen, entity)
    text = " ".join(lines)
    if pen.chance(0.5):
        text = pen.say("encyclopaedia.heading", name=_bare(entity)) + "\n" + text
    return text


def _bare(entity: Entity) -> str:
    name = str(entity)
    return name[4:] if name.startswith("the ") else name


def _opening(pen: Pen, entity: Entity) -> str:
    if isinstance(entity, Person):
        return pen.say("encyclopaedia.person", who=entity, age=entity.age, his=entity.his)
    if isinstance(entity, Place):
        return pen.say("encyclopaedia.place", place=entity, kind=entity.kind)
    if isinstance(entity, Product):
        return pen.say("encyclopaedia.product", thing=entity, noun=entity.noun)
    if isinstance(entity, Sailing):
        return pen.say("encyclopaedia.sailing", boat=entity)
    return pen.say("encyclopaedia.event", event=entity, kind=entity.kind.lower(), place=entity.place, visitors=entity.visitors)


def _extras(pen: Pen, entity: Entity) -> list[str]:
    """Family ties and timetables, which are more than one value."""
    if isinstance(entity, Sailing):
        times = entity.departures
        return [pen.say("encyclopaedia.times", times=", ".join(times[:-1]) + " and " + times[-1])]
    if isinstance(entity, Person) and entity.parents:
        one, two = entity.parents
        return [pen.say("encyclopaedia.siblings", child=entity, one=one, two=two)]
    if isinstance(entity, Person) and entity.children:
        names = [str(child) for child in entity.children]
        return [
            pen.say(
                "encyclopaedia.household", who=entity, partner=entity.partner, children=" and ".join(names),
                count=len(names), parent="mother" if entity.gender == "she" else "father",
            )
        ] if len(names) > 1 else [f"{entity} and {entity.partner} have one child: {names[0]}."]  # fmt: skip
    return []


def fact_list(pen: Pen) -> str:
    """Unrelated facts in a row, as in a town quiz sheet or an almanac."""
    return pen.pick(("\n", " ", "\n- ")).join(tell(pen, fact) for fact in pen.some(facts(pen.town), pen.number(5, 14)))


TALK: Callable[[str, str], str] = lambda question, reply: f"<|user|>{question}<|assistant|>{reply}<|eos|>"   # noqa: E731
# A reply of lower-case words is the same tokens as in a sentence: a space stands before it.
LAYOUTS: tuple[Callable[[str, str], str], ...] = (
    lambda question, reply: f"Q: {question}\nA: {reply}",
    lambda question, reply: f"{question} {reply}",
    lambda question, reply: f"Question: {question}\nReply: {reply}",
    lambda question, reply: f"- {question}\n- {reply}",
    TALK,
)


def questions(pen: Pen) -> str:
    """Questions with replies: the bare value, or a whole sentence."""
    layout, short = pen.pick(LAYOUTS), pen.chance(0.6)
    chosen = pen.some(facts(pen.town), pen.number(4, 10))
    if pen.chance(0.3):
        entity = pen.pick(entities(pen.town))
        chosen = pen.some(facts_of(entity), min(len(facts_of(entity)), 6))
    pairs = [layout(say(pen, fact, "question"), fact.value if short else tell(pen, fact)) for fact in chosen]
    text = lines(pairs)
    return pen.say("encyclopaedia.qa_open") + "\n" + text if pen.chance(0.5) and not text.startswith("<|") else text


def lines(pairs: Iterable[str]) -> str:
    """One a line; turns of a talk follow each other directly."""
    return "\n".join(pairs).replace("<|eos|>\n", "<|eos|>")


GENRES = {"entry": entry, "fact_list": fact_list, "questions": questions}
