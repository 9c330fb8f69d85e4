"""What the exercises of chapter 7.01 (telemetry and baselines) must satisfy."""

from __future__ import annotations

import itertools
import random
import re

from ftlib.check import Case, Exercise, Question, against, asked, value

# 7.01.1 · a percentile of a day

DONE = "within p95, at least 95 % of the requests are done"


def p95(requests: int, fast: float, slow: float) -> Question:
    """Exactly 95 % of the requests take the seconds `fast`, the others `slow`."""
    late = requests // 20
    done = requests - late
    mean = round(0.95 * fast + 0.05 * slow, 6)
    mistakes = {
        f"{done} of {requests} are exactly 95 %: which time do these not exceed?": slow,
        "that is the mean, a time which no request took": mean,
        "95 % of the longest time is no percentile: count requests, not seconds": 0.95 * slow,
        "a percentile is a time of one of the requests: which one?": 0.95,
    }
    texts = [
        f"Of {requests} requests of a day, {done} take {fast:g} s and {late} take {slow:g} s.",
        f"95 % of {requests} are {done}. Sort the times: what is the {done}th?",
        f"{fast:g}  # exactly {done} of {requests} are done by then; the mean is {mean:g}",
    ]
    hint = f"sort the {requests} times, and take the {done}th"
    return Question(texts, fast, value(fast, DONE, hint, mistakes))


def _day(rng: random.Random):
    return rng.choice((40, 60, 80, 100, 200)), rng.randint(1, 18) / 20, rng.randint(2, 9)


# 7.01.2 · how much a count has grown


def increase(values):
    """The growth from look to look; where a value has fallen, all of the new one is growth."""
    grown = 0
    for before, now in itertools.pairwise(values):
        grown += now - before if now >= before else now
    return grown


def _looks(length: tuple[int, int], restarts: float = 0.0, start: tuple[int, int] = (1, 50)):
    """Draws a count at each look: it grows, stays, or begins again with such a probability."""

    def draw(rng: random.Random):
        values = [rng.randint(*start)]
        for _ in range(rng.randint(*length) - 1):
            grown = rng.choice((0, rng.randint(1, 9)))
            again = rng.random() < restarts and values[-1] > 0
            values.append(rng.randrange(values[-1]) if again else values[-1] + grown)
        return (values,)

    return draw


# 7.01.3 · twelve digits that are a card


def without_cards(text):
    """The text with [card] for each run of twelve digits whose sum, as Luhn counts it, ends in 0."""

    def card(found):
        total = 0
        for place, digit in enumerate(found[0]):
            amount = int(digit) * (2 - place % 2)
            total += amount - 9 if amount > 9 else amount
        return "[card]" if total % 10 == 0 else found[0]

    return re.sub(r"(?<!\d)\d{12}(?!\d)", card, text)


WORDS = ("pay", "card", "booking F8-874", "on Friday,", "12 boxes", "from", "to", "number:")


def _card(rng: random.Random, digits: int = 12) -> str:
    """Digits of which the last makes Luhn's sum a multiple of ten."""
    body = [rng.randrange(10) for _ in range(digits - 1)]
    doubled = [digit * (2 - place % 2) for place, digit in enumerate(body)]
    total = sum(one - 9 if one > 9 else one for one in doubled)
    return "".join(map(str, [*body, -total % 10]))


def _spoilt(card: str, rng: random.Random) -> str:
    """The same with another last digit, so that it is no card."""
    return card[:-1] + str((int(card[-1]) + rng.randint(1, 9)) % 10)


def _text(*kinds: str):
    """Draws a text with some of these among other words: "card", "other" number, "long" run of digits."""

    def draw(rng: random.Random):
        words = rng.choices(WORDS, k=rng.randint(1, 3))
        for kind in kinds:
            number = _card(rng)
            if kind == "other":
                number = _spoilt(number, rng)
            if kind == "long":  # a card stands within it, or before one digit more
                number = rng.choice((number + str(rng.randrange(10)), str(rng.randrange(10)) + number))
            if kind == "short":
                number = _card(rng, 10)
            words.insert(rng.randint(0, len(words)), number)
        return (rng.choice((" ", ", ", "; ")).join(words),)

    return draw


# What each check says, and wrong answers that it must catch

GROWS = "without a restart, the growth is the last value less the first"
RESTARTS = "after a restart the new value is all growth"
ONE_LOOK = "one look shows no growth"
CARDS = "a run of twelve digits with a right sum becomes [card]"
OTHERS = "a run of twelve digits with another sum stays"
LONGER = "runs of more or fewer digits stay"
SEVERAL = "each run in a text is judged by itself"

EXERCISES = {
    "7.01.1": asked(
        p95,
        (40, 0.1, 4),
        _day,
        planted=[
            ("p95 = 4", DONE),
            ("p95 = 4.0", DONE),
            ("p95 = 0.295", DONE),
            ("p95 = 3.8", DONE),
            ("p95 = 2", DONE),
        ],
    ),
    "7.01.2": Exercise(
        against(
            increase,
            Case(GROWS, _looks((2, 8)), "add up the differences from look to look"),
            Case(ONE_LOOK, _looks((1, 1)), "begin at 0, and add nothing where there is no second look"),
            Case(
                RESTARTS,
                _looks((4, 12), restarts=0.4),
                "where a value is below the one before, add the value itself",
            ),
        ),
        planted=[
            ("def increase(values):\n    return values[-1]", GROWS),
            ("def increase(values):\n    return sum(values)", GROWS),
            ("def increase(values):\n    return values[-1] - values[0]", RESTARTS),
            ("def increase(values):\n    return max(values) - min(values)", RESTARTS),
            (
                "def increase(values):\n    return sum(max(0, now - before)\n"
                "               for before, now in zip(values, values[1:]))",
                RESTARTS,
            ),
            (
                "def increase(values):\n    return sum(abs(now - before)\n"
                "               for before, now in zip(values, values[1:]))",
                RESTARTS,
            ),
        ],
        equivalent={
            "grown = 0 for -> grown = -0 for": "nothing is still nothing",
            "grown = 0 for -> grown = 2 * 0 for": "nothing is still nothing",
        },
    ),
    "7.01.3": Exercise(
        against(
            without_cards,
            Case(CARDS, _text("card"), "replace it where the sum is a multiple of ten"),
            Case(OTHERS, _text("other"), "leave the number where the sum is no multiple of ten"),
            Case(LONGER, _text("long", "short", "other"), "no digit may stand before the run or behind it"),
            Case(SEVERAL, _text("card", "other", "card", "long"), "count each run's sum from 0"),
        ),
        planted=[
            (
                "import re\ndef without_cards(text):\n"
                "    return re.sub(r'(?<!\\d)\\d{12}(?!\\d)', '[card]', text)",
                OTHERS,
            ),
            ("def without_cards(text):\n    return text", CARDS),
            (
                "import re\ndef without_cards(text):\n    def card(found):\n        total = 0\n"
                "        for place, digit in enumerate(found[0]):\n"
                "            total += int(digit) * (2 - place % 2)\n"
                "        return '[card]' if total % 10 == 0 else found[0]\n"
                "    return re.sub(r'(?<!\\d)\\d{12}(?!\\d)', card, text)",
                CARDS,
            ),
            (
                "import re\ndef without_cards(text):\n    def card(found):\n        total = 0\n"
                "        for place, digit in enumerate(found[0]):\n"
                "            value = int(digit) * (1 + place % 2)\n"
                "            total += value - 9 if value > 9 else value\n"
                "        return '[card]' if total % 10 == 0 else found[0]\n"
                "    return re.sub(r'(?<!\\d)\\d{12}(?!\\d)', card, text)",
                CARDS,
            ),
            (
                "import re\ndef without_cards(text):\n    def card(found):\n        total = 0\n"
                "        for place, digit in enumerate(found[0]):\n"
                "            value = int(digit) * (2 - place % 2)\n"
                "            total += value - 9 if value > 9 else value\n"
                "        return '[card]' if total % 10 == 0 else found[0]\n"
                "    return re.sub(r'\\d{12}', card, text)",
                LONGER,
            ),
        ],
        equivalent={
            "total = 0 -> total = -0": "nothing is still nothing",
            "total = 0 -> total = 2 * 0": "nothing is still nothing",
            "f total % 10 == 0 el -> f total % -10 == 0 el": "the remainder is 0 for the same sums",
        },
    ),
}
