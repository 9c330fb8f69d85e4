"""What the exercises of chapter 5.01 (metrics and loss curves) must satisfy."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable

from ftlib.check import Case, Exercise, Property, Question, against, asked, value

# 5.01.1 · a perplexity by hand

PERPLEXITY = "the perplexity is e to the mean surprise, which is one over the geometric mean"


def perplexity_of_three(*inverses: int) -> Question:
    """Tokens of probability 1 / x each; the product of the three x is the cube of a whole number."""
    product = math.prod(inverses)
    due = round(product ** (1 / 3))
    bits = math.log2(due)
    mistakes = {
        "this is one over the product of the three: a perplexity is a mean for one token": product,
        "this is the product of the three: a perplexity is one over their geometric mean": 1 / product,
        "this is the geometric mean of the probabilities: the perplexity is one over it": 1 / due,
        "this is the mean surprise in bits: raise 2 to this power": bits,
        "this is the whole surprise in bits: share it out over three tokens, then raise 2 to that power": (
            3 * bits
        ),
        "this is the mean surprise in nats: raise e to this power": math.log(due),
        "this is the mean of {}, {} and {}: take the mean of the surprises instead".format(*inverses): (
            sum(inverses) / 3
        ),
        "this is one over the mean probability: take the mean of the logarithms": (
            3 / sum(1 / inverse for inverse in inverses)
        ),
        f"the mean surprise is {bits:.3g} bits: raise 2 to this power, or take nats": math.exp(bits),
    }
    texts = [
        "probabilities 1/{}, 1/{} and 1/{}".format(*inverses),
        "({} * {} * {}) ** (1 / 3)  # {}".format(*inverses, due),
    ]
    hint = "multiply the three, take the cube root, and one over that"
    return Question(texts, due, value(due, PERPLEXITY, hint, mistakes))


def _inverses(rng: random.Random):
    """Draws three different numbers of at most 100 whose product is a cube."""
    cube = rng.choice((4, 6, 9, 10, 12, 15, 18, 20)) ** 3
    factors = [number for number in range(2, 101) if cube % number == 0]
    pairs = [pair for pair in itertools.combinations(factors, 2) if cube / math.prod(pair) in factors]
    one, other = rng.choice([pair for pair in pairs if cube > math.prod(pair) * pair[1]])
    return one, other, cube // (one * other)


# 5.01.2 · bits a byte


def bits_per_byte(nats, text):
    """The surprise in bits, shared out over the bytes of the text."""
    return sum(nats) / math.log(2) / len(text.encode())


def _surprises(letters: str, tokens: tuple[int, int]) -> Callable:
    """Draws surprises, as many as `tokens` allows, and a text of such letters that is longer."""

    def draw(rng: random.Random):
        nats = [rng.uniform(0.1, 9) for _ in range(rng.randint(*tokens))]
        return nats, "".join(rng.choices(letters, k=len(nats) + rng.randint(3, 20)))

    return draw


# 5.01.3 · mean reciprocal rank


def mean_reciprocal_rank(lists):
    """The mean of 1 / position of the first right answer; a list without one counts 0."""
    return sum(1 / (right.index(True) + 1) if True in right else 0.0 for right in lists) / len(lists)


def _rankings(count: tuple[int, int], kinds: str) -> Callable:
    """Draws lists of one "right" answer, of "many", or of "none", of unequal lengths."""

    def draw(rng: random.Random):
        lists = []
        for _ in range(rng.randint(*count)):
            right = [False] * rng.randint(5, 9)
            places = {"one": 1, "many": 3, "none": 0}[rng.choice(kinds.split())]
            for place in rng.sample(range(1, len(right)), places):
                right[place] = True
            lists.append(right)
        return (lists,)

    return draw


def _first(rng: random.Random) -> tuple:
    """Draws one list of which the first answer is right, and no other one."""
    return ([[True] + [False] * rng.randint(1, 6)],)


# 5.01.4 · eight curves

SEEN = {
    "F": ("diverged", "its losses rise far beyond those of all others, the training loss among them"),
    "D": ("wrong mask", "its training loss is that of other tokens, and its validation loss stays high"),
    "G": ("under-fitted", "both of its losses stay high to the end, and fall slowly, together"),
    "A": ("over-fitted", "its training loss vanishes, and its validation loss stays up or rises"),
    "B": ("leaked", "its validation loss falls with the training loss to nothing: it has read those rows"),
    "E": ("noisy", "its training loss jumps from look to look: an update rests on one row"),
    "H": ("rate too high", "its losses begin and end far above those of the good run, without jumps"),
    "C": ("good", "what is left: both of its losses fall early, and then stay level"),
}


def _named(letter: str) -> Property:
    """Whether one run has its right name."""
    due, hint = SEEN[letter]

    def test(answer: dict[str, str]) -> str | None:
        if not isinstance(answer, dict):
            return f"the answer is {answer!r:.60}, and not a dictionary from letters to names"
        seen = answer.get(letter, "nothing")
        return None if seen == due else f"{letter} is called {seen!r:.40}"

    return Property(f"run {letter} has the name of what is wrong with it", test, hint)


def _complete(answer: dict[str, str]) -> str | None:
    """Whether there is a name for each of the eight runs, and for no other one."""
    return None if sorted(answer) == sorted(SEEN) else f"there are names for {', '.join(map(str, answer))}"


ALL = "there is one name for each of the eight runs"
DIAGNOSIS = [
    *map(_named, SEEN),
    Property(ALL, _complete, "keep the letters A to H, and add no other one"),
]
RIGHT = {letter: name for letter, (name, _) in sorted(SEEN.items())}


def _says(letter: str) -> str:
    return f"run {letter} has the name of what is wrong with it"


def _swapped(first: str, second: str) -> str:
    """The right names but for two, which are taken for each other."""
    return f"diagnosis = {RIGHT | {first: RIGHT[second], second: RIGHT[first]}}"


# What each check says, and wrong answers that it must catch

BITS = "nats become bits: they are divided by ln 2"
BYTES = "the surprise is shared out over bytes, of which some letters have several"
ONE_LIST = "a first answer that is right counts 1"
POSITION = "a right answer at position n counts 1 / n"
FIRST = "only the first right answer of a list counts"
NONE = "a list without a right answer counts 0"
MEAN = "every list is part of the mean"


def _wrong(head: str, answers: dict[str, str]) -> list[tuple[str, str]]:
    """Wrong answers: {what follows the head: what the check says}."""
    return [(f"{head}\n    {body}", says) for body, says in answers.items()]


WRONG_PERPLEXITIES = [
    (f"perplexity_of_three = {wrong}", PERPLEXITY)
    for wrong in (
        *(512, 1 / 512, 0.125, 3, 9, math.log(8), 70 / 3, 48 / 12.25, math.exp(3)),
        *(0, 4, 16, -8, "'8'", "[8]", "2 * 4 * 64 / 3"),
    )
]

EXERCISES = {
    "5.01.1": asked(perplexity_of_three, (2, 4, 64), _inverses, WRONG_PERPLEXITIES),
    "5.01.2": Exercise(
        against(
            bits_per_byte,
            Case(BITS, _surprises("abcdefg hi", (4, 12)), "one bit is ln 2 nats: divide by math.log(2)"),
            Case(BYTES, _surprises("aé ü€ß", (4, 12)), "len(text.encode()) counts bytes"),
        ),
        planted=_wrong(
            "import math\ndef bits_per_byte(nats, text):",
            {
                "return sum(nats) / len(text)": BITS,
                "return sum(nats) / len(text.encode())": BITS,
                "return sum(nats) * math.log(2) / len(text.encode())": BITS,
                "return sum(nats) / math.log(2) / len(nats)": BITS,
                "return sum(nats) / len(nats) / math.log(2) / len(text.encode())": BITS,
                "return sum(nats) / math.log2(math.e) / len(text.encode())": BITS,
                "return sum(nats) / math.log(2)": BITS,
                "return sum(nats) / math.log(2) / len(text.split())": BITS,
                "return len(text.encode()) * math.log(2) / sum(nats)": BITS,
                "return 2 ** (sum(nats) / math.log(2) / len(text.encode()))": BITS,
                "return sum(nats) / math.log(2) / (len(text.encode()) - 1)": BITS,
                "print(sum(nats) / math.log(2) / len(text.encode()))": BITS,
                "return sum(nats) / math.log(2) / len(text)": BYTES,
                "return sum(nats) / math.log(2) / len(text.encode('utf-16'))": BITS,
                "return sum(nats) / math.log(2) / len(text.encode('ascii', 'ignore'))": BYTES,
            },
        ),
        equivalent={
            "ext): retur -> ext): nats = nats[::-1] retur": "a sum is the same in any order",
            "ext): retur -> ext): text = text[::-1] retur": "its letters have as many bytes in any order",
        },
    ),
    "5.01.3": Exercise(
        against(
            mean_reciprocal_rank,
            Case(ONE_LIST, _first, "positions count from 1, so the first counts 1 / 1"),
            Case(POSITION, _rankings((1, 1), "one"), "take one over the position, which counts from 1"),
            Case(FIRST, _rankings((1, 1), "many"), "stop at the first right answer of a list"),
            Case(NONE, _rankings((1, 1), "none"), "add 0 where no answer of a list is right"),
            Case(MEAN, _rankings((2, 6), "one many none"), "divide by the number of all lists, once"),
        ),
        planted=_wrong(
            "def mean_reciprocal_rank(lists):",
            {
                "return sum(1 / right.index(True) for right in lists) / len(lists)": ONE_LIST,
                "return sum(1 / (right.index(True) + 2) for right in lists) / len(lists)": ONE_LIST,
                "return sum(right.index(True) for right in lists) / len(lists)": ONE_LIST,
                "return sum(right.index(True) + 1 for right in lists) / len(lists)": POSITION,
                "return sum(right[0] for right in lists) / len(lists) * 1.0": POSITION,
                "return sum(any(right) for right in lists) / len(lists)": POSITION,
                "return len(lists) / sum(right.index(True) + 1 for right in lists)": NONE,
                "return sum(1 / (right.index(True) + 1) for right in lists) / len(lists)": NONE,
                "return sum(sum(1 / n for n, x in enumerate(r, 1) if x) for r in lists) / len(lists)": FIRST,
                "return sum(1 / (len(right) - right[::-1].index(True)) if any(right) else 0.0"
                " for right in lists) / len(lists)": FIRST,
                "found = [1 / (r.index(True) + 1) for r in lists if any(r)]\n"
                "    return sum(found) / len(found) if found else 0.0": MEAN,
                "return sum(1 / (r.index(True) + 1) if any(r) else 0.0 for r in lists)": MEAN,
                "return max(1 / (r.index(True) + 1) if any(r) else 0.0 for r in lists)": MEAN,
                "r = lists[0]\n    return 1 / (r.index(True) + 1) if any(r) else 0.0": MEAN,
            },
        ),
        equivalent={
            "total = 0.0 fo -> total = -0.0 fo": "nothing is still nothing",
            "total = 0.0 f -> total = 2 * 0.0 f": "nothing is still nothing",
            "sts): total -> sts): lists = lists[::-1] total": "a mean is the same in any order",
        },
    ),
    "5.01.4": Exercise(
        DIAGNOSIS,
        planted=[
            (_swapped("A", "B"), _says("A")),
            (_swapped("A", "C"), _says("A")),
            (_swapped("B", "C"), _says("B")),
            (_swapped("D", "G"), _says("D")),
            (_swapped("E", "C"), _says("E")),
            (_swapped("E", "H"), _says("E")),
            (_swapped("F", "H"), _says("F")),
            (_swapped("C", "H"), _says("H")),
            (f"diagnosis = {dict.fromkeys(RIGHT, 'good')}", _says("F")),
            (f"diagnosis = {RIGHT | {'I': 'good'}}", ALL),
            (f"diagnosis = {list(RIGHT.values())}", _says("F")),
        ],
    ),
}
