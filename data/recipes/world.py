"""Brightwater: who lives there, what stands there, what is sold there. Everything else is said about this.

`world()` builds the whole world from one seed; nothing in it is random after that. The last people, places, shops,
products and events of each list are *newcomers*: no pre-training text mentions them, so they are held out as
entities and their facts are the *new* facts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from random import Random

from .grammar import lexicon

SEED = 20_261_121
FIRST_DAY = date(2031, 1, 1)   # events run over two years from here; the town's calendar is its own


@dataclass(eq=False)
class Person:
    """One resident. Pronouns are `he`, `him`, `his`, `himself` whatever the person's gender says they are."""

    first: str
    last: str
    gender: str
    age: int
    job: str = ""
    workplace: Place | Shop | None = None
    number: int = 0
    street: str = ""
    hobby: str = ""
    food: str = ""
    pet: str = ""
    instrument: str = ""
    colour: str = ""          # of the front door
    birthday: str = ""        # month
    free_day: str = ""
    partner: Person | None = None
    children: list[Person] = field(default_factory=list)
    parents: list[Person] = field(default_factory=list)
    newcomer: bool = False

    def __str__(self) -> str:
        return f"{self.first} {self.last}"

    @property
    def he(self) -> str:
        return "she" if self.gender == "she" else "he"

    @property
    def him(self) -> str:
        return "her" if self.gender == "she" else "him"

    @property
    def his(self) -> str:
        return "her" if self.gender == "she" else "his"

    @property
    def himself(self) -> str:
        return "herself" if self.gender == "she" else "himself"

    @property
    def title(self) -> str:
        return f"{'Mrs' if self.gender == 'she' else 'Mr'} {self.last}"


@dataclass(eq=False)
class Place:
    """A public place; `name` carries its article (`the Old Mill`), `short` does not (`Old Mill`)."""

    short: str
    kind: str
    street: str
    built: int
    famous_for: str
    opens: str
    closes: str
    closed_day: str
    keeper: Person | None = None
    newcomer: bool = False

    @property
    def name(self) -> str:
        return f"the {self.short}"

    def __str__(self) -> str:
        return self.name


@dataclass(eq=False)
class Shop(Place):
    """A shop is a place that sells `wares`."""

    wares: str = ""

    @property
    def name(self) -> str:
        return self.short


@dataclass(eq=False)
class Product:
    """A thing with a model name (`Heron lantern`), its maker, and the shop that sells it. Prices are whole crowns."""

    model: str
    noun: str
    maker: Person
    material: str
    colour: str
    price: int
    shop: Shop
    newcomer: bool = False

    @property
    def name(self) -> str:
        return f"{self.model} {self.noun}"

    def __str__(self) -> str:
        return f"the {self.name}"


@dataclass(eq=False)
class Sailing:
    """A ferry line. Departures are times of day; fares are crowns for one adult, one way."""

    destination: str
    boat: str
    quay: int
    departures: list[str]
    minutes: int
    fare: int
    rest_day: str
    newcomer: bool = False

    def __str__(self) -> str:
        return f"the ferry to {self.destination}"


@dataclass(eq=False)
class Event:
    """One dated event; `name` carries its article."""

    name: str
    kind: str
    place: Place
    host: Person
    day: date
    starts: str
    visitors: int
    newcomer: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def weekday(self) -> str:
        return f"{self.day:%A}"

    @property
    def month(self) -> str:
        return f"{self.day:%B}"

    @property
    def when(self) -> str:
        return f"{self.day.day} {self.day:%B %Y}"


@dataclass(frozen=True)
class Town:
    """The entities one kind of text may mention: `town().known` or `town().newcomers`."""

    people: tuple[Person, ...]
    places: tuple[Place, ...]
    shops: tuple[Shop, ...]
    products: tuple[Product, ...]
    sailings: tuple[Sailing, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True)
class World:
    known: Town
    newcomers: Town


# job -> the kinds of place where it is done
JOBS = {
    "baker": "bakery", "fishmonger": "fish shop", "bookseller": "bookshop", "tailor": "tailor's shop", "florist": "flower shop",
    "grocer": "grocer's shop", "chemist": "chemist's shop", "ironmonger": "hardware shop", "cheesemonger": "cheese shop",
    "potter": "pottery", "candle maker": "candle shop", "toy maker": "toy shop",
    "teacher": "school", "nurse": "hospital", "doctor": "hospital", "librarian": "library", "ferry captain": "ferry terminal",
    "ticket clerk": "ferry terminal", "deckhand": "ferry terminal", "harbour master": "harbour office", "net mender": "harbour office",
    "postman": "post office", "clerk": "town hall", "gardener": "park", "lighthouse keeper": "lighthouse", "curator": "museum",
    "guide": "museum", "actor": "theatre", "stage hand": "theatre", "cook": "inn", "waiter": "café", "miller": "mill",
    "carpenter": "boatyard", "sail maker": "boatyard", "welder": "boatyard", "blacksmith": "forge", "engine driver": "station",
    "mechanic": "garage", "firefighter": "fire station", "constable": "police station", "swimming teacher": "swimming pool",
    "organist": "chapel", "journalist": "newspaper office", "printer": "newspaper office", "vet": "animal clinic",
    "brewer": "brewery", "stable hand": "stables", "bank clerk": "bank", "bell ringer": "clock tower", "market trader": "market",
}  # fmt: skip

PLACES = (
    ("Gull Rock Lighthouse", "lighthouse", "its red lamp"),
    ("Bell Lane School", "school", "its brass band"),
    ("Saint Brendan Hospital", "hospital", "its roof garden"),
    ("Carver Library", "library", "its map room"),
    ("Brightwater Ferry Terminal", "ferry terminal", "its glass roof"),
    ("Harbour Office", "harbour office", "its weather flags"),
    ("Old Post Office", "post office", "its marble counter"),
    ("Town Hall", "town hall", "its carved doors"),
    ("Lime Park", "park", "its duck pond"),
    ("Museum of the Sea", "museum", "its whale skeleton"),
    ("Lantern Theatre", "theatre", "its puppet plays"),
    ("Anchor Inn", "inn", "its fish pie"),
    ("Tide Café", "café", "its almond buns"),
    ("Old Mill", "mill", "its wooden wheel"),
    ("North Boatyard", "boatyard", "its rowing boats"),
    ("Kiln Road Forge", "forge", "its iron gates"),
    ("Brightwater Station", "station", "its green engine"),
    ("Hill Garage", "garage", "its electric vans"),
    ("Tower Street Fire Station", "fire station", "its long ladder"),
    ("Quay Street Police Station", "police station", "its lost property room"),
    ("Shore Road Swimming Pool", "swimming pool", "its salt water"),
    ("Chapel of Saint Ida", "chapel", "its old organ"),
    ("Brightwater Herald Office", "newspaper office", "its night press"),
    ("Orchard Animal Clinic", "animal clinic", "its bird ward"),
    ("Salt Lane Brewery", "brewery", "its dark beer"),
    ("Moor Stables", "stables", "its grey ponies"),
    ("Harbour Bank", "bank", "its iron safe"),
    ("Clock Tower", "clock tower", "its four faces"),
    ("Market Hall", "market", "its cheese stalls"),
    ("Rose Garden", "garden", "its white roses"),
    ("Fisher Bridge", "bridge", "its nine arches"),
    ("North Pier", "pier", "its painted huts"),
    ("Castle Ruin", "ruin", "its stone stairs"),
    ("Pebble Beach", "beach", "its flat stones"),
    # newcomers
    ("Juniper Cinema", "cinema", "its velvet seats"),
    ("East Observatory", "observatory", "its copper dome"),
    ("Fern Hostel", "hostel", "its bunk rooms"),
    ("Cloud Gallery", "gallery", "its glass floor"),
    ("Pine Skating Rink", "rink", "its blue ice"),
    ("Harbour Radio House", "radio station", "its tall mast"),
)

SHOPS = (
    ("Crust and Crumb", "bakery", "bread and cakes"), ("The Silver Herring", "fish shop", "fresh fish"),
    ("Penny Books", "bookshop", "old and new books"), ("Thread and Thimble", "tailor's shop", "coats and blankets"),
    ("Petal and Stem", "flower shop", "flowers and baskets"), ("The Corner Basket", "grocer's shop", "fruit and vegetables"),
    ("Green Cross", "chemist's shop", "soap and medicine"), ("Nuts and Bolts", "hardware shop", "tools and lamps"),
    ("The Round Cheese", "cheese shop", "cheese and honey"), ("Wheel and Clay", "pottery", "bowls and jugs"),
    ("Wick and Wax", "candle shop", "candles and lanterns"), ("The Tin Soldier", "toy shop", "toys and games"),
    # newcomers
    ("Copper Kettle Goods", "kitchen shop", "pots and spoons"), ("Second Sail", "second-hand shop", "old furniture"),
)  # fmt: skip

SAILINGS = (
    ("Gannet Island", "Morning Star", 55), ("Saltholm", "Blue Heron", 35), ("Port Amity", "Queen of the Sound", 90),
    ("Little Skerry", "Sea Pony", 20), ("Westhaven", "Northern Light", 120), ("Eel Point", "Dancing Tern", 40),
    ("Marrow Bay", "Grey Goose", 75), ("Ravensey", "Old Faithful", 50),
    ("Thistle Rock", "Silver Otter", 25),   # newcomer
)  # fmt: skip

EVENT_KINDS = (
    "Boat Race", "Flower Show", "Book Fair", "Lantern Walk", "Choir Night", "Kite Day", "Cheese Market", "Story Evening", "Chess Match",
    "Harvest Supper", "Winter Swim", "Craft Fair", "Puppet Play", "Bird Count", "Soup Supper", "Band Concert", "Photo Show",
    "Cider Tasting", "Charity Run", "Model Ship Show", "Poetry Evening", "Bread Contest", "Fishing Contest", "Tree Planting", "Beach Clean",
)  # fmt: skip

PEOPLE, NEW_PEOPLE = 160, 28
PRODUCTS, NEW_PRODUCTS = 152, 28
EVENTS, NEW_EVENTS = 120, 16
NEW_PLACES, NEW_SHOPS, NEW_SAILINGS = 6, 2, 1


@cache
def world() -> World:
    """The one Brightwater; equal in every process."""
    rng = Random(SEED)
    places, shops = _places(rng), _shops(rng)
    people = _people(rng, places, shops)
    products = _products(rng, people, shops)
    sailings = [_sailing(rng, *row) for row in SAILINGS]
    events = _events(rng, people, places)
    counts = (NEW_PEOPLE, NEW_PLACES, NEW_SHOPS, NEW_PRODUCTS, NEW_SAILINGS, NEW_EVENTS)
    lists = (people, places, shops, products, sailings, events)
    for entities, new in zip(lists, counts, strict=True):
        for entity in entities[-new:]:
            entity.newcomer = True
    known = Town(*(tuple(entities[:-new]) for entities, new in zip(lists, counts, strict=True)))
    newcomers = Town(*(tuple(entities[-new:]) for entities, new in zip(lists, counts, strict=True)))
    return World(known, newcomers)


def clock(minutes: int) -> str:
    """Minutes after midnight as `8:05`.

    >>> clock(485)
    '8:05'
    """
    return f"{minutes // 60}:{minutes % 60:02d}"


def _hours(rng: Random) -> dict:
    return {
        "opens": clock(60 * rng.randrange(6, 11) + rng.choice((0, 0, 15, 30, 45))),
        "closes": clock(60 * rng.randrange(16, 22) + rng.choice((0, 0, 15, 30, 45))),
        "closed_day": rng.choice(lexicon("weekday")),
    }


def _places(rng: Random) -> list[Place]:
    streets = lexicon("street")
    return [
        Place(short, kind, rng.choice(streets), rng.randrange(1710, 1990), famous, **_hours(rng))
        for short, kind, famous in PLACES
    ]


def _shops(rng: Random) -> list[Shop]:
    streets = lexicon("street")
    return [
        Shop(short, kind, rng.choice(streets), rng.randrange(1850, 2015), wares, wares=wares, **_hours(rng))
        for short, kind, wares in SHOPS
    ]


def _people(rng: Random, places: list[Place], shops: list[Shop]) -> list[Person]:
    """Residents in households: pairs with up to three children, and people living alone. Each first name is used once."""
    first = {gender: list(lexicon(f"first_name_{gender}")) for gender in ("she", "he")}
    surnames = list(lexicon("surname"))
    for names in (*first.values(), surnames):
        rng.shuffle(names)
    people: list[Person] = []
    while len(people) < PEOPLE + NEW_PEOPLE:
        at_border = len(people) < PEOPLE < len(people) + 5   # no household is half known, half new
        size = 1 if at_border else min(rng.choice((1, 1, 2, 3, 4, 5)), PEOPLE + NEW_PEOPLE - len(people))
        people += _household(rng, surnames.pop(), first, size)
    by_kind: dict[str, list[Place]] = {}
    for place in places[:-NEW_PLACES] + shops[:-NEW_SHOPS]:
        by_kind.setdefault(place.kind, []).append(place)
    jobs = _dealt(rng, list(JOBS), len(people))
    for person, job in zip(people, jobs, strict=True):
        if person.age >= 18:
            person.job, person.workplace = job, rng.choice(by_kind[JOBS[job]])
        else:
            person.job, person.workplace = "pupil", by_kind["school"][0]
    adults = [person for person in people[:PEOPLE] if person.age >= 18]
    newcomers = [person for person in people[PEOPLE:] if person.age >= 18]
    for group, keepers in ((places[:-NEW_PLACES], adults), (places[-NEW_PLACES:], newcomers)):
        for place, keeper in zip(group, rng.sample(keepers, len(group)), strict=True):
            place.keeper = keeper
    for shop in shops:
        staff = [person for person in adults if person.workplace is shop]
        shop.keeper = rng.choice(staff or (newcomers if shop in shops[-NEW_SHOPS:] else adults))
    return people


def _household(rng: Random, surname: str, first: dict[str, list[str]], size: int) -> list[Person]:
    street, number, door = rng.choice(lexicon("street")), rng.randrange(1, 80), rng.choice(lexicon("colour"))
    ages = [rng.randrange(28, 75)]
    if size >= 2:
        ages.append(max(24, ages[0] + rng.randrange(-5, 6)))
    youngest_parent = min(ages)
    ages += [rng.randrange(6, max(7, min(17, youngest_parent - 20))) for _ in range(size - 2)]
    members = []
    for position, age in enumerate(ages):
        wanted = ("she", "he")[position] if position < 2 and rng.random() < 0.9 else rng.choice(("she", "he"))
        gender = wanted if first[wanted] else ("he" if wanted == "she" else "she")
        members.append(
            Person(
                first[gender].pop(), surname, gender, age, number=number, street=street, colour=door,
                hobby=rng.choice(lexicon("hobby")), food=rng.choice(lexicon("food")), pet=rng.choice(lexicon("pet")),
                instrument=rng.choice(lexicon("instrument")), birthday=rng.choice(lexicon("month")),
                free_day=rng.choice(lexicon("weekday")),
            )
        )  # fmt: skip
    if size >= 2:
        members[0].partner, members[1].partner = members[1], members[0]
    for child in members[2:]:
        child.parents = members[:2]
        for parent in members[:2]:
            parent.children.append(child)
    return members


def _dealt(rng: Random, options: list[str], count: int) -> list[str]:
    """Options dealt like cards: each comes up about equally often."""
    dealt: list[str] = []
    while len(dealt) < count:
        rng.shuffle(options)
        dealt += options
    return dealt[:count]


def _products(rng: Random, people: list[Person], shops: list[Shop]) -> list[Product]:
    names = [(model, noun) for model in lexicon("product_name") for noun in lexicon("product_noun")]
    rng.shuffle(names)
    makers = [person for person in people[:PEOPLE] if person.age >= 18]
    new_makers = [person for person in people[PEOPLE:] if person.age >= 18]
    products = []
    for index in range(PRODUCTS + NEW_PRODUCTS):
        new = index >= PRODUCTS
        model, noun = names[index]
        products.append(
            Product(
                model, noun, rng.choice(new_makers if new else makers), rng.choice(lexicon("material")), rng.choice(lexicon("colour")),
                rng.randrange(3, 98), rng.choice(shops[-NEW_SHOPS:] if new else shops[:-NEW_SHOPS]),
            )
        )  # fmt: skip
    return products


def _sailing(rng: Random, destination: str, boat: str, minutes: int) -> Sailing:
    start = 60 * rng.randrange(5, 9) + rng.choice((0, 10, 15, 20, 30, 40, 45, 50))
    step = rng.choice((90, 120, 150, 180, 240))
    departures = [clock(start + step * index) for index in range(6) if start + step * index < 22 * 60]
    return Sailing(destination, boat, rng.randrange(1, 9), departures, minutes, rng.randrange(3, 25), rng.choice(lexicon("weekday")))


def _events(rng: Random, people: list[Person], places: list[Place]) -> list[Event]:
    adults = [person for person in people[:PEOPLE] if person.age >= 18]
    new_adults = [person for person in people[PEOPLE:] if person.age >= 18]
    names = [(place_index, kind) for place_index in range(len(places)) for kind in EVENT_KINDS]
    known = [pair for pair in names if pair[0] < len(places) - NEW_PLACES]
    new = [pair for pair in names if pair[0] >= len(places) - NEW_PLACES]
    chosen = rng.sample(known, EVENTS) + rng.sample(new, NEW_EVENTS)
    events = []
    for index, (place_index, kind) in enumerate(chosen):
        place = places[place_index]
        events.append(
            Event(
                f"the {place.short} {kind}", kind, place, rng.choice(new_adults if index >= EVENTS else adults),
                FIRST_DAY + timedelta(days=rng.randrange(730)), clock(60 * rng.randrange(9, 20) + rng.choice((0, 15, 30, 45))),
                10 * rng.randrange(2, 60),
            )
        )  # fmt: skip
    return events
