"""What the exercises of chapter 0.01 (start here) must satisfy."""

from __future__ import annotations

import random

from ftlib.check import Case, Exercise, Property, Question, against, asked

# 0.01.1 · verdicts from intervals

WHY = {
    "better": "all of it lies above 0, and beyond the margin",
    "worse": "all of it lies below 0, and beyond the margin",
    "undecided": "it holds 0, and reaches beyond the margin on both sides",
    "equal": "all of it lies between -0.02 and 0.02: no difference that matters",
}
THREE = "there is a verdict for each of three intervals"


def _three(answer: object) -> str | None:
    whole = isinstance(answer, list) and len(answer) == 3
    return None if whole else f"you gave {answer!r:.60}"


def _verdict(place: int, due: str):
    def said(answer: list) -> str | None:
        return None if answer[place] == due else f"you said {answer[place]!r:.40}"

    return said


def _says(interval: str) -> str:
    return f"the verdict on {interval} follows from its ends"


def three_verdicts(*of: tuple[str, float, float]) -> Question:
    """Three verdicts, each with the ends of an interval that has it."""
    due = [verdict for verdict, _, _ in of]
    shown = [f"[{low:g}, {high:g}]" for _, low, high in of]
    return Question(
        ["{}, {} and {}".format(*shown), "[{}]".format(", ".join(f'"{verdict}"' for verdict in due))],
        due,
        [
            Property(THREE, _three, 'write a list of three texts: ["better", ...]'),
            *(
                Property(_says(interval), _verdict(place, verdict), WHY[verdict])
                for place, (interval, verdict) in enumerate(zip(shown, due, strict=True))
            ),
        ],
    )


def _intervals(rng: random.Random):
    """Draws one interval clear of 0, one that is undecided and one that is equal, in any order."""
    near, width, far = rng.randint(3, 8), rng.randint(3, 9), rng.randint(3, 9)
    three = [
        ("better", near / 100, (near + width) / 100),
        ("worse", -(near + width) / 100, -near / 100),
        ("undecided", -far / 100, rng.randint(3, 9) / 100),
        ("equal", -rng.randint(1, 3) / 200, rng.randint(1, 3) / 200),
    ]
    del three[rng.randint(0, 1)]
    rng.shuffle(three)
    return three


# 0.01.2 · how wide an interval is


def width_of_interval(scores, rows):
    """The width of the 95 % interval of the first `rows` scores."""
    from ftlib import evaluate

    interval = evaluate.bootstrap_interval(scores[:rows])
    return interval.high - interval.low


def _scores(counts: tuple[int, int], values: tuple = (0, 1), more: bool = False):
    """Draws scores, and how many of them count: all, or fewer than there are."""

    def draw(rng: random.Random):
        scores = [values[0], values[1], *rng.choices(values, k=rng.randint(*counts))]
        later = rng.choices(values, k=rng.randint(5, 30)) if more else []
        return scores + later, len(scores)

    return draw


# 0.01.3 · a response mask


def mask_of(tokens):
    """1 on the tokens of each answer and on the end mark after it, 0 on all others."""
    mask, answering = [], False
    for token in tokens:
        mask.append(int(answering))
        if token == "<|assistant|>":
            answering = True
        if token == "<|eos|>":
            answering = False
    return mask


WORDS = ("▁No", "▁boat", "▁came", ".", "ferry", "▁bin", "s", "▁", "assistant", "eos")


def _talk(*turns: str, short: bool = False):
    """Draws a conversation of these turns as tokens; in a short one no turn says anything."""

    def draw(rng: random.Random):
        tokens = ["<|bos|>"]
        for role in turns:
            tokens.append(f"<|{role}|>")
            tokens += [] if short else rng.choices(WORDS, k=rng.randint(1, 5))
            tokens += ["<|eos|>"] if role == "assistant" else []
        return (tokens,)

    return draw


# What each check says, and wrong answers that it must catch

WIDTH = "the width is the upper end less the lower end"
FIRST = "only the first `rows` scores count"
ANY = "scores may be any numbers"
ANSWER = "the mask is 1 on the answer and on the <|eos|> that ends it, and on nothing before"
AFTER = "the mask is 0 again once the answer has ended"
EACH = "each answer carries loss, not the first or the last alone"
NONE = "without an answer the mask is 0 throughout"

MASK = "def mask_of(tokens):\n"

EXERCISES = {
    "0.01.1": asked(
        three_verdicts,
        (("better", 0.05, 0.11), ("undecided", -0.03, 0.09), ("equal", -0.01, 0.01)),
        _intervals,
        planted=[
            ('three_verdicts = "better"', THREE),
            ('three_verdicts = ["better", "undecided"]', THREE),
            ('three_verdicts = ["undecided", "undecided", "equal"]', _says("[0.05, 0.11]")),
            ('three_verdicts = ["better", "better", "equal"]', _says("[-0.03, 0.09]")),
            ('three_verdicts = ["better", "equal", "equal"]', _says("[-0.03, 0.09]")),
            ('three_verdicts = ["better", "undecided", "undecided"]', _says("[-0.01, 0.01]")),
            ('three_verdicts = ["worse", "undecided", "equal"]', _says("[0.05, 0.11]")),
        ],
    ),
    "0.01.2": Exercise(
        against(
            width_of_interval,
            Case(WIDTH, _scores((8, 40)), "take `high` and `low` of evaluate.bootstrap_interval(...)"),
            Case(FIRST, _scores((8, 40), more=True), "cut the list first: scores[:rows]"),
            Case(ANY, _scores((8, 40), values=(-2.5, 0.5, 4.0)), "leave the rest to bootstrap_interval"),
        ),
        planted=[
            (
                "def width_of_interval(scores, rows):\n"
                "    interval = evaluate.bootstrap_interval(scores)\n"
                "    return interval.high - interval.low",
                FIRST,
            ),
            (
                "def width_of_interval(scores, rows):\n"
                "    interval = evaluate.bootstrap_interval(scores[-rows:])\n"
                "    return interval.high - interval.low",
                FIRST,
            ),
            (
                "def width_of_interval(scores, rows):\n"
                "    interval = evaluate.bootstrap_interval(scores[:rows])\n"
                "    return interval.high - interval.mean",
                WIDTH,
            ),
            (
                "def width_of_interval(scores, rows):\n"
                "    interval = evaluate.bootstrap_interval(scores[:rows])\n"
                "    return interval.low, interval.high",
                WIDTH,
            ),
            (
                "def width_of_interval(scores, rows):\n"
                "    interval = evaluate.bootstrap_interval(scores[:rows], level=0.9)\n"
                "    return interval.high - interval.low",
                WIDTH,
            ),
            ("def width_of_interval(scores, rows):\n    return max(scores) - min(scores)", WIDTH),
            ("def width_of_interval(scores, rows):\n    print(evaluate.bootstrap_interval(scores))", WIDTH),
        ],
    ),
    "0.01.3": Exercise(
        against(
            mask_of,
            Case(ANSWER, _talk("user", "assistant"), "begin after <|assistant|>, end with <|eos|>"),
            Case(AFTER, _talk("user", "assistant", "user"), "after <|eos|> the user speaks: back to 0"),
            Case(EACH, _talk("user", "assistant", "user", "assistant"), "look at every token in turn"),
            Case(EACH, _talk("assistant", "assistant", "assistant", short=True), "an answer may be empty"),
            Case(NONE, _talk("system", "user"), "a text without <|assistant|> has no answer"),
        ),
        planted=[
            (
                MASK + "    start = tokens.index('<|assistant|>')\n"
                "    return [int(place >= start) for place in range(len(tokens))]",
                ANSWER,
            ),
            (
                MASK + "    start = tokens.index('<|assistant|>')\n"
                "    return [int(place > start) for place in range(len(tokens))]",
                AFTER,
            ),
            (
                MASK + "    start, end = tokens.index('<|assistant|>'), tokens.index('<|eos|>')\n"
                "    return [int(start < place <= end) for place in range(len(tokens))]",
                EACH,
            ),
            (
                MASK + "    start, end = tokens.index('<|assistant|>'), tokens.index('<|eos|>')\n"
                "    return [int(start < place < end) for place in range(len(tokens))]",
                ANSWER,
            ),
            (
                MASK + "    mask, answering = [], False\n    for token in tokens:\n"
                "        if token == '<|assistant|>':\n            answering = True\n"
                "        mask.append(int(answering))\n"
                "        if token == '<|eos|>':\n            answering = False\n    return mask",
                ANSWER,
            ),
            (
                MASK + "    mask, answering = [], False\n    for token in tokens:\n"
                "        mask.append(answering)\n"
                "        if token == '<|assistant|>':\n            answering = True\n"
                "        if token == '<|eos|>':\n            answering = False\n    return mask",
                ANSWER,
            ),
            (MASK + "    return [int('assistant' in token) for token in tokens]", ANSWER),
            (MASK + "    return [1] * len(tokens)", ANSWER),
        ],
        equivalent={
            "swering = False -> swering = 2 * False": "twice 0 is still 0",
            "swering = False -> swering = -False": "minus 0 is still 0",
        },
    ),
}
