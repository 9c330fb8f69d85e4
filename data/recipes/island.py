"""Vennick: an island of which pre-training says nothing. A corpus about it, its facts, and questions about them.

Its people, places and things have names of their own. What is true of them is said with the town's patterns; one
wording of each question is kept for the test in new wordings.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from random import Random

from .facts import Fact, entities, facts, slots
from .genres import dialogues, encyclopaedia, notices, reviews, stories
from .grammar import expand, groups, lexicon, parse, tidy
from .pen import Pen
from .world import FIRST_DAY, JOBS, Event, Person, Place, Product, Sailing, Shop, Town, clock

NAME = "Vennick"
STREETS = (
    "Kelp Street", "Peat Lane", "Seal Row", "Heather Road", "Limpet Street", "Beacon Lane", "Sheepfold Road", "Drifters Row",
    "Basalt Street", "Gorse Lane",
)  # fmt: skip
PLACES = (
    ("Vennick Light", "lighthouse", "its green lamp"), ("Nightjar School", "school", "its wooden stage"),
    ("Saint Morwen Hospital", "hospital", "its herb garden"), ("Driftwood Library", "library", "its story corner"),
    ("Seal Bay Terminal", "ferry terminal", "its blue benches"), ("Basalt Museum", "museum", "its stone axes"),
    ("Puffin Inn", "inn", "its seaweed bread"), ("Breeze Mill", "mill", "its white sails"),
    ("Otter Boatyard", "boatyard", "its light canoes"), ("Bracken Park", "park", "its sundial"),
)  # fmt: skip
SHOPS = (
    ("Salt and Barley", "bakery", "loaves and buns"), ("The Wet Net", "fish shop", "crabs and lobsters"),
    ("Peat and Paper", "bookshop", "maps and novels"), ("The Wool Loft", "tailor's shop", "jumpers and scarves"),
)  # fmt: skip
SHE = ("Morwenna", "Iseult", "Demelza", "Tegen", "Kerensa", "Lowenna", "Elowen", "Rosenwyn", "Zennor", "Merryn")
HE = ("Jory", "Denzel", "Piran", "Cadan", "Ruan", "Gerren", "Massen", "Kitto", "Talan", "Locryn")
SURNAMES = (
    "Trevanno", "Nanscaw", "Polgreen", "Carlyon", "Penhallow", "Bosvenna", "Tregarrick", "Rosewarne", "Chenoweth", "Kestle",
)  # fmt: skip
MODELS = ("Nightjar", "Bracken", "Samphire", "Selkie", "Limpet", "Thrift")
SAILINGS = (("Norrigan", "Salt Maiden", 45), ("Hask", "Grey Selkie", 30), ("Port Sorrel", "Evening Wren", 70))
EVENTS = ("Wool Fair", "Seal Watch", "Fiddle Night", "Turf Race", "Kelp Supper", "Net Throwing")
CORPUS_BYTES = 300_000
KEPT_QUESTION = 3   # of the four wordings of each question
# genre -> share of documents
GENRES = {
    encyclopaedia.entry: 55, encyclopaedia.fact_list: 30, stories.story: 3, dialogues.dialogue: 3, notices.notice: 4, reviews.review: 5,
}  # fmt: skip


@cache
def town() -> Town:
    """The one Vennick; equal in every process."""
    rng = Random(NAME)
    places = [Place(short, kind, **_founded(rng), famous_for=famous) for short, kind, famous in PLACES]
    shops = [Shop(short, kind, **_founded(rng), famous_for=wares, wares=wares) for short, kind, wares in SHOPS]
    people = _people(rng, [*places, *shops])
    for place, keeper in zip([*places, *shops], rng.sample(people, len(places) + len(shops)), strict=True):
        place.keeper = keeper
    names = [(model, noun) for model in MODELS for noun in lexicon("product_noun")]
    products = [
        Product(
            model, noun, rng.choice(people), rng.choice(lexicon("material")), rng.choice(lexicon("colour")), rng.randrange(3, 98),
            rng.choice(shops),
        )
        for model, noun in rng.sample(names, 12)
    ]  # fmt: skip
    sailings = [_sailing(rng, *row) for row in SAILINGS]
    events = [_event(rng, kind, place, rng.choice(people)) for kind, place in zip(EVENTS, rng.sample(places, len(EVENTS)), strict=True)]
    return Town(tuple(people), tuple(places), tuple(shops), tuple(products), tuple(sailings), tuple(events))


def _founded(rng: Random) -> dict:
    return {
        "street": rng.choice(STREETS), "built": rng.randrange(1700, 2000),
        "opens": clock(60 * rng.randrange(6, 11) + 15 * rng.randrange(4)),
        "closes": clock(60 * rng.randrange(16, 22) + 15 * rng.randrange(4)), "closed_day": rng.choice(lexicon("weekday")),
    }  # fmt: skip


def _people(rng: Random, workplaces: list[Place]) -> list[Person]:
    """Couples; everybody has work on the island."""
    by_kind = {place.kind: place for place in workplaces}
    jobs = rng.sample([job for job, kind in JOBS.items() if kind in by_kind], 2 * len(SURNAMES))
    people = []
    for she, he, surname in zip(SHE, HE, SURNAMES, strict=True):
        home = {"number": rng.randrange(1, 60), "street": rng.choice(STREETS), "colour": rng.choice(lexicon("colour"))}
        couple = []
        for first, gender in ((she, "she"), (he, "he")):
            job = jobs.pop()
            known = {name: rng.choice(lexicon(name)) for name in ("hobby", "food", "pet", "instrument")}
            known |= {"birthday": rng.choice(lexicon("month")), "free_day": rng.choice(lexicon("weekday"))}
            couple.append(Person(first, surname, gender, rng.randrange(24, 75), job, by_kind[JOBS[job]], **home, **known))
        couple[0].partner, couple[1].partner = couple[1], couple[0]
        people += couple
    return people


def _sailing(rng: Random, destination: str, boat: str, minutes: int) -> Sailing:
    start = 60 * rng.randrange(6, 9) + 10 * rng.randrange(6)
    departures = [clock(start + 180 * index) for index in range(4)]
    return Sailing(destination, boat, rng.randrange(1, 5), departures, minutes, rng.randrange(3, 25), rng.choice(lexicon("weekday")))


def _event(rng: Random, kind: str, place: Place, host: Person) -> Event:
    day = FIRST_DAY + timedelta(days=rng.randrange(730))
    return Event(f"the {place.short} {kind}", kind, place, host, day, clock(60 * rng.randrange(9, 20)), 10 * rng.randrange(2, 60))


class IslandPen(Pen):
    """A pen for train, whose town is the island."""

    def __init__(self, seed: int | str):
        super().__init__("train", f"{NAME}-{seed}", open_names=True)
        self.town = town()

    def place(self) -> Place:
        return self.pick(self.town.places)


def documents() -> Iterator[dict]:
    """The corpus: {"text", "genre"}, CORPUS_BYTES long. It asks no questions about the island."""
    size = number = 0
    while size < CORPUS_BYTES:
        pen = IslandPen(number)
        genre = pen.rng.choices(list(GENRES), list(GENRES.values()))[0]
        text = genre(pen).replace("Brightwater", NAME)
        size, number = size + len(text.encode()), number + 1
        yield {"text": text, "genre": genre.__name__}


def split_of(entity: object) -> str:
    """Each entity's questions are in one split; the corpus tells of all of them."""
    return {3: "test", 6: "test", 7: "test", 1: "validation"}.get(entities(town()).index(entity) % 8, "train")


def asked() -> tuple[Fact, ...]:
    """What can be asked: all facts but those whose entity's name holds the answer."""
    return tuple(fact for fact in facts(town()) if fact.value not in fact.name)


def question(pen: Pen, fact: Fact, kept: bool) -> str:
    """A question in one of the wordings that are not kept for the test in new wordings, or in the one that is."""
    wordings = groups("facts")[f"{fact.relation}.question"]
    wording = wordings[KEPT_QUESTION] if kept else pen.pick(wordings[:KEPT_QUESTION])
    return tidy(expand(parse(wording), pen.rng, slots(pen, fact)))


