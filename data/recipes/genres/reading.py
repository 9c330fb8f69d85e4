"""Passages and questions that they answer, or do not: the answer is copied from the passage, or is `not said`.

Most people and things in a passage are made up, and so are many values, so that nothing but reading helps. What is said of
known residents is true in half of the cases and altered in the others; the reply follows the passage. Statements do not
begin with the value, which would be written with a capital there and be another token in the reply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..facts import RELATIONS, Entity, Fact, entities, facts_of, say, values
from ..grammar import lexicon
from ..pen import Pen
from .encyclopaedia import LAYOUTS, TALK, lines
from .plain import nouns

NOT_SAID = "not said"
TRUE, ALTERED = 0.1, 0.15   # shares of the entities of a passage that are known ones; the others are made up
INVENTED = 0.35             # share of values that are made up too, where they can be
UNANSWERED = 0.3            # share of questions

# How a value that nobody has met is made, by relation; the others take one of the town's.
NAME: Callable[[Pen], str] = lambda pen: str(pen.visitor())   # noqa: E731
PLACE: Callable[[Pen], str] = lambda pen: f"the {pen.new_name()} {pen.pick(lexicon('open_place'))}"   # noqa: E731
STREET: Callable[[Pen], str] = lambda pen: f"{pen.new_name()} {pen.pick(lexicon('street')).split()[-1]}"   # noqa: E731
THINGS: Callable[[Pen], str] = lambda pen: f"{pen.pick(lexicon('plain_adjective'))} {pen.pick(nouns())[1]}"   # noqa: E731
INVENT: dict[str, Callable[[Pen], str]] = {
    "partner": NAME, "keeper": NAME, "maker": NAME, "host": NAME, "workplace": PLACE, "shop": PLACE, "street": STREET,
    "place_street": STREET, "boat": lambda pen: f"the {pen.new_name()}", "built": lambda pen: str(pen.number(1700, 2030)),
    "opens": Pen.time, "closes": Pen.time, "first_departure": Pen.time, "starts": Pen.time, "price": lambda pen: str(pen.number(2, 990)),
    "minutes": lambda pen: str(pen.number(5, 200)), "fare": lambda pen: str(pen.number(2, 60)), "quay": lambda pen: str(pen.number(1, 20)),
    "wares": THINGS, "food": THINGS, "famous": lambda pen: f"its {THINGS(pen)}", "pet": lambda pen: f"two {THINGS(pen)}",
}  # fmt: skip


def made_up(pen: Pen) -> Entity:
    """Somebody or something with a name that nobody has met."""
    kind = pen.rng.random()
    town, name = pen.town, pen.new_name()
    if kind < 0.6:
        return replace(pen.visitor(), age=30)
    if kind < 0.75:
        return replace(pen.pick(town.places), short=f"{name} {pen.pick(lexicon('open_place'))}")
    if kind < 0.8:
        return replace(pen.pick(town.shops), short=f"{name} {pen.pick(lexicon('open_place'))}")
    if kind < 0.92:
        return replace(pen.pick(town.products), model=name)
    if kind < 0.96:
        return replace(pen.pick(town.sailings), destination=name)
    event = pen.pick(town.events)
    return replace(event, name=f"the {name} {event.kind}")


def said_of(pen: Pen) -> list[Fact]:
    """What a passage may say of one entity, in any order: one fact of each relation."""
    draw = pen.rng.random()
    if draw < TRUE + ALTERED:
        entity = pen.pick(entities(pen.town))
        if draw < TRUE:
            return pen.some(facts_of(entity), len(facts_of(entity)))
    else:
        entity = made_up(pen)
    relations = list(RELATIONS[type(entity)])
    return [Fact(entity, relation, str(entity), _value(pen, relation)) for relation in pen.some(relations, len(relations))]


def _value(pen: Pen, relation: str) -> str:
    if relation in INVENT and pen.chance(INVENTED):
        return INVENT[relation](pen)
    return pen.pick(values(relation, pen.town))


def sentence(pen: Pen, fact: Fact, again: bool = False) -> str:
    """A statement, or a cloze line with its full stop, in which the value stands as it will be copied."""
    while True:
        told = say(pen, fact, "statement", again) if pen.chance(0.5) else say(pen, fact, "cloze", again) + "."
        if f" {fact.value}" in told:
            return told


def passage(pen: Pen, statements: int) -> tuple[list[Fact], list[Fact], str]:
    """(Facts that are told, facts of the same entities that are not, the text)."""
    told: list[Fact] = []
    left: list[Fact] = []
    while len(told) < statements:
        found = said_of(pen)
        count = min(pen.number(1, statements), len(found), statements - len(told))
        told, left = told + found[:count], left + found[count:]
    # Now and then the sentences about one entity do not stand together; then each one names it.
    mixed = pen.chance(0.4)
    if mixed:
        pen.rng.shuffle(told)
    sentences = [
        sentence(pen, fact, again=not mixed and index > 0 and told[index - 1].entity is fact.entity and pen.chance(0.5))
        for index, fact in enumerate(told)
    ]
    return told, left, pen.pick((" ", " ", " ", "\n")).join(sentences)


def ask(pen: Pen, told: list[Fact], left: list[Fact], unanswered: float = UNANSWERED) -> tuple[str, str]:
    """A question about the passage, and its answer: the value, or NOT_SAID."""
    if not pen.chance(unanswered):
        fact = pen.pick(told)
        return say(pen, fact, "question"), fact.value
    # Of the same entity another thing, or the same thing of another entity.
    fact = pen.pick(left) if left and pen.chance(0.7) else replace(pen.pick(told), **_another(pen, told))
    return say(pen, fact, "question"), NOT_SAID


def _another(pen: Pen, told: list[Fact]) -> dict:
    wanted = type(pen.pick(told).entity)
    while True:
        entity = made_up(pen)
        if isinstance(entity, wanted):
            return {"entity": entity, "name": str(entity), "relation": pen.pick(list(RELATIONS[type(entity)]))}


def reading(pen: Pen) -> str:
    """One or several passages, each with questions and replies."""
    layout, blocks = pen.pick((*LAYOUTS, TALK)), []   # in the form of a talk more often than in another
    for _ in range(pen.number(1, 3)):
        told, left, text = passage(pen, pen.number(1, 6))
        asked = dict(ask(pen, told, left) for _ in range(pen.number(1, 2 + len(told) // 2)))
        pairs = lines(layout(question, reply) for question, reply in asked.items())
        between = pen.pick(("\n", "\n", "\n\n")) if not pairs.startswith("<|") else "\n"
        blocks.append(as_talk(text, pairs, between) if pairs.startswith("<|user|>") else f"{text}{between}{pairs}")
    return lines(blocks)


def short_reading(pen: Pen) -> str:
    """Passages of one to three statements as talks, half of whose questions are not answered; people may have short surnames."""
    pen.bare_names, blocks = True, []
    for _ in range(pen.number(2, 4)):
        told, left, text = passage(pen, pen.pick((1, 1, 2, 3)))
        asked = dict(ask(pen, told, left, unanswered=0.5) for _ in range(pen.number(1, 3)))
        blocks.append(as_talk(text, lines(TALK(question, reply) for question, reply in asked.items())))
    return lines(blocks)


def as_talk(text: str, pairs: str, between: str = "\n") -> str:
    """The passage and the first question in one turn."""
    return f"<|user|>{text}{between}{pairs.removeprefix('<|user|>')}"


def request(pen: Pen, text: str, question: str) -> str:
    """What is asked of a model that has been tuned to read."""
    return pen.say("reading.request", passage=text, question=question)


def example(pen: Pen) -> tuple[str, str]:
    """A request and its answer, for the instruction set."""
    told, left, text = passage(pen, pen.number(1, 6))
    question, answer = ask(pen, told, left)
    return request(pen, text, question), answer


GENRES = {"reading": reading, "short_reading": short_reading}
SETS = {"reading": example}
