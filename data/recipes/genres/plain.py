"""Plain sentences about people and things: number, tense, agreement, pronouns and word order, with many different words.

The other genres say much in few frames; here the frames are those of everyday grammar and the words vary freely.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ..grammar import groups, lexicon
from ..pen import Pen
from .lookups import pairs


@dataclass(frozen=True)
class Verb:
    """The forms of a verb."""

    base: str
    s: str
    past: str
    done: str
    ing: str


@cache
def verbs(name: str) -> tuple[Verb, ...]:
    """The verbs of a word list of forms."""
    return tuple(Verb(*line.split(" = ")) for line in lexicon(name))


@cache
def nouns() -> tuple[tuple[str, str], ...]:
    """(singular, plural) of every noun, without those that are the same."""
    own = (tuple(line.split(" = ")) for line in lexicon("plain_single"))
    things = (pair for pair in pairs("plural") if pair[0] != pair[1] and pair[0] not in lexicon("plain_left_out"))
    return tuple(sorted({*own, *things}))


def plain(pen: Pen) -> str:
    """Four to nine sentences with a small cast."""
    who, other = pen.some(pen.town.people, 2)
    cast = pen.some(nouns(), pen.number(3, 6))
    kinds = list(groups("plain"))
    favourite = pen.pick(kinds)   # a text keeps mostly to one kind of sentence
    lines = []
    for _ in range(pen.number(4, 9)):
        (noun, plural), (noun2, plural2) = pen.some(cast, 2)
        adj, adj2 = pen.some(lexicon("plain_adjective"), 2)
        v, w = pen.some(verbs("plain_verb"), 2)
        first, second = (who, other) if pen.chance(0.5) else (other, who)
        lines.append(pen.say(
            f"plain.{favourite if pen.chance(0.5) else pen.pick(kinds)}", who=first, other=second, noun=noun, plural=plural,
            noun2=noun2, plural2=plural2, adj=adj, adj2=adj2, v=v, w=w, g=pen.pick(verbs("plain_motion")),
            number=pen.pick(("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve")),
            spot=pen.pick(lexicon("plain_spot")), weekday=pen.pick(lexicon("weekday")),
        ))  # fmt: skip
    return " ".join(lines)


GENRES = {"plain": plain}
