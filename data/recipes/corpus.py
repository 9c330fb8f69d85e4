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
from itertools import accumulate, product
from random import Random

from .pen import Pen

Genre = Callable[[Pen], str]

# module -> {genre: share of the corpus's words, in percent before normalising}
SHARES: dict[str, dict[str, float]] = {
    "encyclopaedia": {"entry": 15, "fact_list": 20, "questions": 20},
    "register": {"register": 1.2, "portraits": 2.8, "stranger": 0.4, "ways_to_work": 1},
    "reading": {"reading": 18, "short_reading": 0},
    "lookups": {"pattern": 6, "mixed_patterns": 2, "labels": 3, "table": 4, "belongings": 3, "list_twice": 3, "quotations": 2},
    "stories": {"story": 6},
    "dialogues": {"dialogue": 3},
    "turns": {"dialogue_turns": 2},
    "service": {"counter_talk": 2, "secret_talk": 1},
    "tools": {"tool_talk": 2},
    "notices": {"notice": 6},
    "desk": {"ticket": 5, "handbook_page": 4},
    "reviews": {"review": 3},
    "howto": {"howto": 2},
    "shapes": {"shapes": 2},
    "spoken": {"spoken": 2},
    "records": {"record": 6, "record_series": 3},
    "plain": {"plain": 6},
    "arithmetic": {"word_problems": 6, "number_lesson": 1.5, "drills": 4, "till": 1, "timetable_sums": 0.5, "running_count": 0.5},
    "equations": {"sums": 5},
    "translation": {
        "sentence_pairs": 8, "phrase_book": 1.5, "french_lesson": 2, "dictionary": 1, "said_in_french": 1, "bilingual_story": 1.5,
    },
}  # fmt: skip
# The stages of pre-training: what marks the numbers of its documents, and the genres that have another share there.
STAGES: tuple[tuple[str, dict[str, float]], ...] = (
    ("", {}),
    ("late-", {"reading": 90, "register": 3, "portraits": 7, "ways_to_work": 4, "plain": 9}),
    ("last-", {"reading": 60, "short_reading": 60, "register": 3, "portraits": 7, "ways_to_work": 6, "plain": 9}),
    ("end-", {"reading": 100, "short_reading": 25, "register": 3, "portraits": 7, "ways_to_work": 6, "plain": 9}),
)  # fmt: skip
SAMPLE_FOR_LENGTH = 60


@cache
def genres() -> dict[str, Genre]:
    """Every genre by name."""
    found: dict[str, Genre] = {}
    for module, shares in SHARES.items():
        available = import_module(f"data.recipes.genres.{module}").GENRES
        found |= {name: available[name] for name in shares}
    return found


@cache
def _cumulative(stage: int) -> tuple[list[str], list[float]]:
    """Genre names with cumulative probabilities per document: a genre of long documents is drawn less often."""
    (_, others), names, weights = STAGES[stage], [], []
    for shares in SHARES.values():
        for name, share in (shares | {name: others[name] for name in shares.keys() & others.keys()}).items():
            pens = (Pen("train", f"length-{index}", open_names=True) for index in range(SAMPLE_FOR_LENGTH))
            words = sum(len(genres()[name](pen).split()) for pen in pens)
            names.append(name)
            weights.append(share / words)
    total = sum(weights)
    return names, [value / total for value in accumulate(weights)]


@dataclass(frozen=True)
class Document:
    genre: str
    text: str


def document(split: str, index: int, seed: int = 0, stage: int = 0) -> Document:
    """Document number `index` of a stage (see STAGES). Visitors and places are called something new each time (`open_names`)."""
    names, cumulative = _cumulative(stage)
    number = f"{seed}-{STAGES[stage][0]}{index}"
    draw = Random(f"genre-{split}-{number}").random()
    genre = next(name for name, limit in zip(names, cumulative, strict=True) if draw <= limit)
    return Document(genre, genres()[genre](Pen(split, number, open_names=True)))


@dataclass
class Stream:
    """All documents of a split in order, without repetitions, in the mix of one stage of pre-training.

    `stage`, `position` and `seen` are the whole state.
    """

    split: str = "train"
    seed: int = 0
    stage: int = 0
    position: int = 0
    seen: set[int] = field(default_factory=set)
    repeated: int = 0

    def __iter__(self) -> Iterator[Document]:
        return self

    def __next__(self) -> Document:
        while True:
            drawn = document(self.split, self.position, self.seed, self.stage)
            self.position += 1
            digest = int.from_bytes(blake2b(drawn.text.encode(), digest_size=8).digest(), "little")
            if digest not in self.seen:
                self.seen.add(digest)
                return drawn
            self.repeated += 1


def digest(split: str, seed: int, documents: int = 4_000) -> str:
    """Of the first documents of each stage: tells whether the recipes still write what a model was trained on."""
    found = blake2b(digest_size=16)
    for stage, index in product(range(len(STAGES)), range(documents // len(STAGES))):
        found.update(document(split, index, seed, stage).text.encode() + b"\0")
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
