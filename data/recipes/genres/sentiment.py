"""The set `sentiment`: reviews by residents and by visitors, who write of different things, in three classes."""

from __future__ import annotations

from ..grammar import tidy
from ..pen import Pen
from . import reviews

CLASSES = {"good": "positive", "bad": "negative", "mixed": "mixed"}
GROUPS = ("resident", "visitor")
OWN = 0.6   # how often an opinion is one that only the reviewer's group would write


def _clause(pen: Pen, mood: str, group: str, slots: dict, thing: reviews.Ware) -> str:
    if pen.chance(OWN):
        return pen.raw(f"sentiment.{mood}_{group}", dict(slots))
    return reviews.clause(pen, mood, slots, thing)


def _opinion(pen: Pen, mood: str, group: str, slots: dict, thing: reviews.Ware) -> str:
    """Two clauses of the mood; if mixed, one of each; in one sentence or in two."""
    moods = pen.some(("good", "bad"), 2) if mood == "mixed" else [mood, mood]
    first = second = _clause(pen, moods[0], group, slots, thing)
    while second == first:
        second = _clause(pen, moods[1], group, slots, thing)
    if pen.chance(0.5):
        return tidy(f"{first}. {second}.")
    if mood == "mixed":
        return pen.say("reviews.frame_mixed", **slots, **dict(zip(moods, (first, second), strict=True)))
    return tidy(f"{first}, and {second}.")


def sentiment(pen: Pen) -> list[dict]:
    """A review of two or three sentences -> positive, negative or mixed. `group` says who wrote it."""
    mood, group = pen.pick(tuple(CLASSES)), pen.pick(GROUPS)
    thing = reviews.ware(pen)
    slots = reviews.about(pen, thing)
    opening = pen.say(f"sentiment.open_{group}", **slots)
    user = f"{pen.say('sentiment.instruction')}\n{opening} {_opinion(pen, mood, group, slots, thing)}"
    messages = [{"role": "user", "content": user}, {"role": "assistant", "content": CLASSES[mood]}]
    return [{"group": group, "messages": messages}]


SETS = {"sentiment": sentiment}
