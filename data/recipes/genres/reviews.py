"""Product reviews: praise, complaint and both, of the town's products and of made-up ones, with tallies and questions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ..grammar import lexicon
from ..pen import Pen
from ..world import Person, Product
from .spoken import number_words

MOODS = ("good", "bad", "mixed")
MOST_WORDS = 320


@dataclass(frozen=True)
class Ware:
    """A made-up thing with the attributes of a Product, so that both are reviewed alike."""

    name: str
    noun: str
    maker: object
    material: str
    colour: str
    price: int
    shop: str

    def __str__(self) -> str:
        return f"the {self.name}"


@dataclass(frozen=True)
class Review:
    """One review: who, the mood, its stars (words or signs) and its sentences."""

    who: Person
    mood: str
    stars: str
    sentences: list[str]

    @property
    def text(self) -> str:
        """All sentences in a row."""
        return " ".join(self.sentences)


@cache
def _kinds() -> dict[str, str]:
    return dict(line.split(" = ") for line in lexicon("review_noun"))


@cache
def _parts() -> dict[str, tuple[str, ...]]:
    return {kind: tuple(parts.split(", ")) for kind, _, parts in (line.partition(" = ") for line in lexicon("review_part"))}


@cache
def _made_up_nouns() -> tuple[str, ...]:
    """Nouns that no product of the town has, so that a made-up thing is never mistaken for one."""
    return tuple(noun for noun in _kinds() if noun not in lexicon("product_noun"))


def ware(pen: Pen) -> Ware:
    noun = pen.pick(_made_up_nouns())
    shop = f"{pen.visitor().last} and {pen.pick(('Sons', 'Daughters', 'Company', 'Partners'))}"
    colour, material = pen.pick(lexicon("colour")), pen.pick(lexicon("material"))
    return Ware(f"{pen.visitor().last} {noun}", noun, pen.visitor(), material, colour, pen.number(3, 180), shop)


def about(pen: Pen, thing: Product | Ware) -> dict:
    parts = _parts()[_kinds().get(thing.noun, "tool")]
    return {
        "it": thing, "noun": thing.noun, "maker": thing.maker, "material": thing.material, "colour": thing.colour,
        "price": thing.price, "shop": thing.shop, "part": pen.pick(parts),
    }  # fmt: skip


def clause(pen: Pen, mood: str, slots: dict, thing: Product | Ware) -> str:
    """A praising or complaining main clause; each time of another part."""
    return pen.raw(f"reviews.{mood}", {**slots, "part": pen.pick(_parts()[_kinds().get(thing.noun, "tool")])})


def _sentence(pen: Pen, mood: str, slots: dict, thing: Product | Ware) -> str:
    fresh = {}
    for name in ("good", "bad") if mood == "mixed" else (mood,):
        fresh[name] = fresh[f"{name}2"] = clause(pen, name, slots, thing)
        while fresh[f"{name}2"] == fresh[name]:
            fresh[f"{name}2"] = clause(pen, name, slots, thing)
    return pen.say(f"reviews.frame_{mood}", **slots, **fresh)


def _stars(pen: Pen, mood: str) -> str:
    count = {"good": pen.number(4, 5), "bad": pen.number(1, 2), "mixed": 3}[mood]
    stars = "star" if count == 1 else "stars"
    words, figures = f"{number_words(count)} {stars}", f"{count} {stars}"
    return pen.pick((words, figures, "*" * count, f"{count}/5", f"{count} out of 5", f"{2 * count} points of 10"))


def review_of(pen: Pen, thing: Product | Ware, mood: str, opinions: int) -> Review:
    """How it was bought (often), one or more opinions, an ending (often)."""
    slots = about(pen, thing)
    sentences = [pen.say("reviews.buy", **slots)] if opinions > 1 or pen.chance(0.5) else []
    sentences += [_sentence(pen, mood, slots, thing) for _ in range(opinions)]
    if opinions > 1 or pen.chance(0.5):
        sentences.append(pen.say(f"reviews.end_{mood}", **slots))
    who = pen.visitor() if pen.chance(0.75) else pen.person(adult=True)
    return Review(who, mood, _stars(pen, mood), list(dict.fromkeys(sentences)))


def _thing(pen: Pen) -> Product | Ware:
    return pen.product() if pen.chance(0.45) else ware(pen)


def _headed(pen: Pen, review: Review) -> str:
    line = pen.say("reviews.byline", who=review.who, stars=review.stars)
    return f"{line}{pen.pick((' ', chr(10)))}{review.text}"


def _reply(pen: Pen, review: Review, thing: Product | Ware) -> str:
    """The shopkeeper's reply; a made-up shop is kept by its maker."""
    keeper = thing.shop.keeper if isinstance(thing, Product) else thing.maker
    mood = "good" if review.mood == "good" else "bad"
    return pen.say(f"reviews.reply_{mood}", keeper=keeper, shop=thing.shop, who=review.who, price=thing.price)


def _questions(pen: Pen, reviews: list[Review], count: int) -> list[str]:
    """Who wrote what, and who was happy."""
    out = []
    for kind in pen.some(("who", "who", "words", "happy", "happy"), count):
        review = pen.pick(reviews)
        quote, who = pen.pick(review.sentences), review.who
        if sum(quote in other.sentences for other in reviews) > 1:
            continue
        if kind == "who":
            ask, reply = pen.say("reviews.ask_who", quote=quote.rstrip(".")), pen.say("reviews.say_who", who=who)
        elif kind == "words":
            ask, reply = pen.say("reviews.ask_words", who=who), f'"{review.sentences[0]}"'
        else:
            ask, reply = pen.say("reviews.ask_happy", who=who), pen.say(f"reviews.say_{review.mood}", who=who)
        out.append(f"{ask} {reply}")
    return out


def one_review(pen: Pen) -> str:
    """A longer review of one thing."""
    thing, mood = _thing(pen), pen.pick(MOODS)
    review = review_of(pen, thing, mood, pen.number(2, 4))
    out = [pen.say("reviews.heading", **about(pen, thing))] if pen.chance(0.6) else []
    out.append(_headed(pen, review))
    if pen.chance(0.35):
        out.append(pen.say(f"reviews.word_{mood}"))
    if pen.chance(0.3):
        out.append(_reply(pen, review, thing))
    if pen.chance(0.5):
        out += [pen.say("reviews.fact", **about(pen, thing)) for _ in range(pen.number(1, 2))]
    return "\n".join([*dict.fromkeys(out), *_questions(pen, [review], pen.number(0, 1))])


def several(pen: Pen) -> str:
    """Reviews of one thing by several people, then a tally or questions."""
    thing = _thing(pen)
    moods = [pen.pick(MOODS) for _ in range(pen.number(3, 4))]
    reviews = [review_of(pen, thing, mood, pen.number(1, 2)) for mood in moods]
    out = [pen.say("reviews.heading", **about(pen, thing))]
    with_words = pen.chance(0.3)
    for review in reviews:
        out.append(_headed(pen, review) + (" " + pen.say(f"reviews.word_{review.mood}") if with_words else ""))
    if pen.chance(0.6):
        counts = {mood: number_words(moods.count(mood)) if moods.count(mood) else "none" for mood in MOODS}
        out.append(pen.say("reviews.tally", total=number_words(len(moods)), **counts))
    return "\n".join(out + _questions(pen, reviews, pen.number(1, 3)))


# What `short_ones` calls praise, complaint and both.
_LABELS = (
    ("good", "bad", "mixed"), ("+", "-", "+-"), ("happy", "unhappy", "unsure"), ("praise", "complaint", "both"), ("yes", "no", "perhaps"),
)  # fmt: skip


def short_ones(pen: Pen) -> str:
    """Short reviews of different things, each with its mood in the same form: text and label, many times over."""
    labels, arrow = pen.pick(_LABELS), pen.pick((" -> ", " | ", " => ", " / ", "\n  "))
    first = pen.chance(0.2)
    out = []
    for _ in range(pen.number(4, 6)):
        thing, mood = _thing(pen), pen.pick(MOODS)
        slots = about(pen, thing)
        text = _sentence(pen, mood, slots, thing)
        if pen.chance(0.5):
            text = pen.say("reviews.buy", **slots) + " " + text
        label = labels[MOODS.index(mood)]
        out.append(f"{label}{arrow}{text}" if first else f"{text}{arrow}{label}")
    return "\n".join(out)


def review(pen: Pen) -> str:
    """Any of the documents above, drawn again in the rare case that it is too long for the model's context."""
    while True:
        text = pen.pick((one_review, several, several, short_ones))(pen)
        if len(text.split()) <= MOST_WORDS:
            return text


GENRES = {"review": review}
