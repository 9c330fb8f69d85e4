"""The pre-training corpus: genres mixed in fixed shares, document by document, as a stream that is never stored.

Document number i is a function of i alone, so a stream can be taken up again anywhere. A document that repeats an
earlier one (told by a 64-bit digest of its text) is left out, so no two documents of a stream are alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from importlib import import_module
from itertools import accumulate
from random import Random

from .pen import Pen

Genre = Callable[[Pen], str]
Shares = dict[str, dict[str, float]]

# module -> {genre: share of the corpus's words, in percent before normalising}
SHARES: Shares = {
    "encyclopaedia": {"entry": 14, "fact_list": 18, "questions": 18},
    "lookups": {"pattern": 5, "mixed_patterns": 2, "labels": 3, "table": 5, "belongings": 4, "list_twice": 4, "quotations": 3},
    "stories": {"story": 9},
    "dialogues": {"dialogue": 5},
    "turns": {"dialogue_turns": 2},
    "notices": {"notice": 8},
    "desk": {"ticket": 6, "handbook_page": 6},
    "reviews": {"review": 3},
    "howto": {"howto": 3},
    "shapes": {"shapes": 3},
    "spoken": {"spoken": 3},
    "records": {"record": 7, "record_series": 4},
    "arithmetic": {"word_problems": 9, "number_lesson": 2, "drills": 6, "till": 1, "timetable_sums": 0.5, "running_count": 1},
    "translation": {
        "sentence_pairs": 5, "phrase_book": 1.5, "french_lesson": 1.5, "dictionary": 1.5, "said_in_french": 1, "bilingual_story": 1.5,
    },
}  # fmt: skip
# From this document on, when the town is known, the stream also has grammar and sums set down plainly, and its visitors
# and places are called something new each time, and more French: a schooling in what fine-tuning needs.
LATE_FROM = 334_000
LATE: Shares = {
    "plain": {"plain": 35}, "equations": {"sums": 35},
    "translation": {
        "sentence_pairs": 26, "phrase_book": 2, "french_lesson": 5, "dictionary": 2, "said_in_french": 1, "bilingual_story": 3,
    },
}  # fmt: skip
SAMPLE_FOR_LENGTH = 60


@cache
def genres() -> dict[str, Genre]:
    """Every genre by name."""
    found: dict[str, Genre] = {}
    for module, shares in (SHARES | LATE).items():
        available = import_module(f"data.recipes.genres.{module}").GENRES
        found |= {name: available[name] for name in shares}
    return found


@cache
def _cumulative(late: bool) -> tuple[list[str], list[float]]:
    """Genre names with cumulative probabilities per document: a genre of long documents is drawn less often."""
    names, weights = [], []
    for shares in (SHARES | LATE if late else SHARES).values():
        for name, share in shares.items():
            words = sum(len(genres()[name](Pen("train", f"length-{index}")).split()) for index in range(SAMPLE_FOR_LENGTH))
            names.append(name)
            weights.append(share / words)
    total = sum(weights)
    return names, [value / total for value in accumulate(weights)]


@dataclass(frozen=True)
class Document:
    genre: str
    text: str


def document(split: str, index: int, seed: int = 0) -> Document:
    """Document number `index` of a split."""
    late = index >= LATE_FROM
    names, cumulative = _cumulative(late)
    draw = Random(f"genre-{split}-{seed}-{index}").random()
    genre = next(name for name, limit in zip(names, cumulative, strict=True) if draw <= limit)
    return Document(genre, genres()[genre](Pen(split, f"{seed}-{index}", open_names=late or split != "train")))


@dataclass
class Stream:
    """All documents of a split in order, without repetitions. `position` and `seen` are the whole state."""

    split: str = "train"
    seed: int = 0
    position: int = 0
    seen: set[int] = field(default_factory=set)
    repeated: int = 0

    def __iter__(self) -> Iterator[Document]:
        return self

    def __next__(self) -> Document:
        while True:
            drawn = document(self.split, self.position, self.seed)
            self.position += 1
            digest = int.from_bytes(blake2b(drawn.text.encode(), digest_size=8).digest(), "little")
            if digest not in self.seen:
                self.seen.add(digest)
                return drawn
            self.repeated += 1


def digest(split: str, seed: int, documents: int = 1_000) -> str:
    """Of the first and of the first late documents: tells whether the recipes still write what a model was trained on."""
    found = blake2b(digest_size=16)
    for start in (0, LATE_FROM):
        for index in range(start, start + documents):
            found.update(document(split, index, seed).text.encode() + b"\0")
    return found.hexdigest()


def repeated_share(texts: list[str], width: int = 8) -> float:
    """Share of word n-grams (n = width) that occurred before in the texts, counted over all positions."""
    seen: set[int] = set()
    repeated = total = 0
    for text in texts:
        words = text.split()
        for start in range(len(words) - width + 1):
            key = hash(tuple(words[start : start + width]))
            total += 1
            if key in seen:
                repeated += 1
            seen.add(key)
    return repeated / max(total, 1)


def vocabulary(texts: list[str]) -> Counter[str]:
    """Lower-case words (letters only) and how often they occur; words that are only ever capitalised are names and left out."""
    lower: Counter[str] = Counter()
    for text in texts:
        for token in text.split():
            word = token.strip(".,;:?!\"'()[]{}-")
            if word.isalpha() and word.islower():
                lower[word] += 1
    return lower
