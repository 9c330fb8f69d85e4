"""The pen that every genre writes with: a seeded random source, the part of the town it may mention, the patterns it may use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from random import Random
from typing import TypeVar
from zlib import crc32

from .grammar import expand, lexicon, patterns, tidy
from .world import Person, Place, Product, Shop, Town, world

T = TypeVar("T")
THRICE = re.compile(r"(.)\1\1")   # a letter three times over, where two halves of a name meet


class Pen:
    """Writes for one split. `train` may mention the known town only; `validation` and `test` mention newcomers only.

    wordings: the split whose patterns it may use; its own, unless another is named. open_names: visitors and places
    are called something new each time, out of many thousand names, so that a name can only be copied. bare_names
    (set by a genre): now and then a visitor's surname has no ending, so that where a name stops is read and not guessed.

    >>> Pen("train", seed=1).town is world().known
    True
    """

    def __init__(self, split: str, seed: int | str, wordings: str = "", open_names: bool = False):
        self.split, self.wordings, self.open_names, self.bare_names = split, wordings or split, open_names, False
        self.rng = Random(f"{split}-{seed}")
        self.town: Town = world().known if split == "train" else world().newcomers

    def say(self, where: str, /, **slots: object) -> str:
        """One filled pattern of group `where` ("file.group" as in "story.opening"), tidied."""
        return tidy(self.raw(where, slots))

    def raw(self, where: str, slots: dict) -> str:
        """As `say`, untidied, and `<list#slot>` drawings are added to the given dict."""
        name, _, group = where.partition(".")
        return expand(self.pick(patterns(name, group, self.wordings)), self.rng, slots)

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.rng.random() * len(options))]

    def some(self, options: Sequence[T], count: int) -> list[T]:
        """`count` different options in random order."""
        return self.rng.sample(options, count)

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def number(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self.rng.random() * (high - low + 1))

    def person(self, adult: bool = False) -> Person:
        while True:
            person = self.pick(self.town.people)
            if person.age >= 18 or not adult:
                return person

    def place(self) -> Place:
        place = self.pick(self.town.places)
        if self.open_names and self.chance(0.7):
            return replace(place, short=f"{self.new_name()} {self.pick(lexicon('open_place'))}")
        return place

    def shop(self) -> Shop:
        return self.pick(self.town.shops)

    def product(self) -> Product:
        return self.pick(self.town.products)

    def visitor(self) -> Person:
        """Somebody passing through: a made-up surname, to be copied and not remembered; no facts beyond name and gender."""
        gender = self.pick(("she", "he"))
        surname = self.new_name() if self.open_names else self.pick(lexicon("visitor_start"))
        if not (self.bare_names and self.chance(0.4)):
            surname = THRICE.sub(r"\1\1", surname + self.pick(lexicon("visitor_ending")))
        return Person(self.pick(_first_names(gender)), surname, gender, self.number(18, 80))

    def new_name(self) -> str:
        """One of thousands of syllables to begin a name with. No two splits have one in common."""
        while True:
            name = "".join(self.pick(lexicon(f"syllable_{part}")) for part in ("onset", "middle", "end")).capitalize()
            split = {3: "test", 6: "validation"}.get(crc32(name.encode()) % 8, "train")
            if split == self.split and name not in lexicon("syllable_left_out"):
                return name

    def code(self) -> str:
        """A booking code such as `K7-204`."""
        return f"{self.pick('ABCDEFGHJKLMNPRSTUVWXYZ')}{self.number(1, 9)}-{self.number(100, 999)}"

    def time(self) -> str:
        return f"{self.number(6, 21)}:{self.pick(('00', '15', '30', '45', '10', '20', '40', '50', '05'))}"


@cache
def _first_names(gender: str) -> tuple[str, ...]:
    """First names of the whole world: a name met before makes nobody known, and one never met could not be copied."""
    return tuple(person.first for town in (world().known, world().newcomers) for person in town.people if person.gender == gender)
