"""What is true in Brightwater, as (entity, relation, value), and the sentences that say it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from .grammar import Pattern, expand, patterns, tidy
from .pen import Pen
from .world import Event, Person, Place, Product, Sailing, Shop, Town

Entity = Person | Place | Product | Sailing | Event


@dataclass(frozen=True)
class Fact:
    """One fact. `name` is how the entity is called in full, `value` the answer as it stands in a sentence."""

    entity: Entity
    relation: str
    name: str
    value: str


# relation -> how to read its value off the entity ("" = the entity has no such fact); the key names the pattern groups
PERSON: dict[str, Callable[[Person], object]] = {
    "job": lambda e: e.job if e.age >= 18 else "", "workplace": lambda e: (e.age >= 18 and e.workplace) or "",
    "street": lambda e: e.street, "hobby": lambda e: e.hobby, "food": lambda e: e.food, "pet": lambda e: e.pet,
    "instrument": lambda e: e.instrument, "birthday": lambda e: e.birthday, "free_day": lambda e: e.free_day if e.age >= 18 else "",
    "colour": lambda e: e.colour, "partner": lambda e: e.partner or "",
}  # fmt: skip
PLACE: dict[str, Callable[[Place], object]] = {
    "place_street": lambda e: e.street, "built": lambda e: e.built, "famous": lambda e: e.famous_for, "keeper": lambda e: e.keeper,
    "opens": lambda e: e.opens, "closes": lambda e: e.closes, "closed_day": lambda e: e.closed_day,
}  # fmt: skip
SHOP: dict[str, Callable[[Shop], object]] = {
    **{relation: read for relation, read in PLACE.items() if relation != "famous"},
    "wares": lambda e: e.wares,
}
PRODUCT: dict[str, Callable[[Product], object]] = {
    "maker": lambda e: e.maker, "material": lambda e: e.material, "product_colour": lambda e: e.colour,
    "price": lambda e: e.price, "shop": lambda e: e.shop,
}  # fmt: skip
SAILING: dict[str, Callable[[Sailing], object]] = {
    "boat": lambda e: f"the {e.boat}", "quay": lambda e: e.quay, "first_departure": lambda e: e.departures[0],
    "minutes": lambda e: e.minutes, "fare": lambda e: e.fare, "rest_day": lambda e: e.rest_day,
}  # fmt: skip
EVENT: dict[str, Callable[[Event], object]] = {
    "month": lambda e: f"{e.month} {e.day.year}", "host": lambda e: e.host, "starts": lambda e: e.starts,
}  # fmt: skip
RELATIONS: dict[type, dict[str, Callable]] = {
    Person: PERSON, Place: PLACE, Shop: SHOP, Product: PRODUCT, Sailing: SAILING, Event: EVENT,
}  # fmt: skip


@cache
def facts_of(entity: Entity) -> tuple[Fact, ...]:
    """Every fact of one entity."""
    found = []
    for relation, read in RELATIONS[type(entity)].items():
        value = str(read(entity))
        if value:
            found.append(Fact(entity, relation, str(entity), value))
    return tuple(found)


@cache
def facts(town: Town) -> tuple[Fact, ...]:
    """Every fact of a town, entity by entity."""
    return tuple(fact for entity in entities(town) for fact in facts_of(entity))


@cache
def entities(town: Town) -> tuple[Entity, ...]:
    return (*town.people, *town.places, *town.shops, *town.products, *town.sailings, *town.events)


@cache
def values(relation: str, town: Town) -> tuple[str, ...]:
    """Every value a relation takes among the entities of a town, sorted: the pool that wrong options come from."""
    return tuple(sorted({fact.value for fact in facts(town) if fact.relation == relation}))


def say(pen: Pen, fact: Fact, form: str = "statement", again: bool = False, value: str = "") -> str:
    """The fact in one sentence, as `statement`, `cloze` (answer last) or `question`.

    again: the entity was named before, so it may be a pronoun or a first name. value: replaces the true value.
    """
    pattern = pen.pick(patterns("facts", f"{fact.relation}.{form}", pen.split))
    return tidy(expand(pattern, pen.rng, slots(pen, fact, pattern if again else (), value)))


def slots(pen: Pen, fact: Fact, again: Pattern = (), value: str = "") -> dict[str, object]:
    """What a fact pattern may name: subject `s`, its possessive `ss`, pronouns, value `v`, destination `d`, bare name `m`.

    A pronoun stands in for the name only where it begins the pattern (elsewhere it might be an object: `him`, not `he`).
    """
    entity, subject = fact.entity, fact.name
    person = isinstance(entity, Person)
    he, him, his, himself = (entity.he, entity.him, entity.his, entity.himself) if person else ("it", "it", "its", "itself")
    possessive = f"{subject}'s"
    if again and again[0][:2] in (("slot", "s"), ("slot", "ss")):
        subject, possessive = he, his
    elif again and person and pen.chance(0.6):
        subject, possessive = entity.first, f"{entity.first}'s"
    return {
        "s": subject, "ss": possessive, "v": value or fact.value, "he": he, "him": him, "his": his, "himself": himself,
        "d": getattr(entity, "destination", ""), "m": getattr(entity, "name", ""),
    }  # fmt: skip


def tell(pen: Pen, fact: Fact, again: bool = False) -> str:
    """A statement, or as often a cloze line with its full stop: both are how the town's text says things."""
    if pen.chance(0.5):
        return say(pen, fact, "statement", again)
    return say(pen, fact, "cloze", again) + "."


def cloze(pen: Pen, fact: Fact, line: int) -> str:
    """Cloze line number `line` of the relation, up to the answer and without the space before it."""
    group = patterns("facts", f"{fact.relation}.cloze", pen.split)
    whole = tidy(expand(group[line % len(group)], pen.rng, slots(pen, fact)))
    return whole[: whole.rindex(fact.value)].rstrip()


def fits(start: str, value: str) -> bool:
    """Whether a value may follow the article that a sentence ends with, if it ends with one."""
    return not start.endswith((" a", " an")) or start.endswith(" an") == (value[0] in "aeiou")
