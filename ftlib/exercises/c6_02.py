"""What the exercises of chapter 6.02 (serve) must satisfy."""

from __future__ import annotations

import json
import math
import random

from ftlib.check import Case, Exercise, against

# 6.02.1 · a percentile of latencies


def latency_percentile(seconds, share):
    """The smallest value that at least `share` of the values do not exceed."""
    return sorted(seconds)[math.ceil(share * len(seconds)) - 1]


def _waits(counts: tuple, shares: tuple, ordered: bool = False):
    """Draws latencies and a share; the counts are such that no share of them is whole but for rounding."""

    def draw(rng: random.Random):
        waits = [round(rng.expovariate(1), 3) for _ in range(rng.choice(counts))]
        return sorted(waits) if ordered else waits, rng.choice(shares)

    return draw


# 6.02.2 · the text of a stream


def streamed_text(lines):
    """The contents of the pieces of an event stream, put together."""
    text = ""
    for line in lines:
        if line == "data: [DONE]":
            break
        if line.startswith("data: "):
            text += json.loads(line.removeprefix("data: "))["choices"][0]["delta"].get("content") or ""
    return text


WORDS = ("The", " library", " is", " in", " Mill Lane", ".", " data: ", "\n", "ö")
NO_CONTENT = ({"role": "assistant"}, {"content": None}, {})


def _stream(
    comments: bool = False, gaps: bool = False, choices: int = 1, after: bool = False, cut: bool = False
):
    """Draws the lines of a stream: with comments, pieces without content, lines after its end, or cut off."""

    def draw(rng: random.Random):
        lines = []
        for word in rng.choices(WORDS, k=rng.randint(2, 6)):
            deltas = [{"content": word}, *({"content": rng.choice(WORDS)} for _ in range(choices - 1))]
            spread = [{"delta": delta, "index": number} for number, delta in enumerate(deltas)]
            if gaps and rng.random() < 0.4:
                empty = {"choices": [{"delta": rng.choice(NO_CONTENT), "index": 0}]}
                lines += [f"data: {json.dumps(empty)}", ""]
            lines += [f"data: {json.dumps({'choices': spread})}", ""]
            if comments:
                lines += [rng.choice((": still here", ":", "event: message")), ""]
        lines = lines[:-1] if cut else [*lines, "data: [DONE]"]
        if after:
            late = {"choices": [{"delta": {"content": " too late"}, "index": 0}]}
            lines += ["", f"data: {json.dumps(late)}"]
        return (lines,)

    return draw


# 6.02.3 · a bucket that counts tokens of text


def answered_by_size(requests, per_second, burst):
    """Whether each request is answered: the bucket holds what it asks for, and then gives it."""
    level, last, answers = burst, 0, []
    for second, tokens in requests:
        level = min(burst, level + (second - last) * per_second)
        last = second
        answers.append(level >= tokens)
        if level >= tokens:
            level -= tokens
    return answers


def _requests(pause: tuple[int, int], sizes: tuple[int, int], burst: tuple[int, int] = (10, 20)):
    """Draws requests with whole seconds between them, how much comes back, and how much the bucket holds."""

    def draw(rng: random.Random):
        now, requests = rng.randint(*pause), []
        for _ in range(rng.randint(6, 12)):
            requests.append((now, rng.randint(*sizes)))
            now += rng.randint(*pause)
        return requests, rng.randint(1, 4), rng.randint(*burst)

    return draw


# What each check says, and wrong answers that it must catch

PLACE = "the value stands at the right place of those in order"
ORDER = "latencies come in the order of the requests, not of their size"
PIECES = "the contents of all pieces are put together"
SKIPPED = "empty lines and comments are no pieces"
MISSING = "a piece may come without content"
FIRST = "of several choices the first counts"
END = "nothing after data: [DONE] belongs to the answer"
CUT = "of an answer that is cut off, all that came counts"
FULL = "the bucket starts full, and each answered request takes its tokens"
REFILL = "what comes back follows the time since the request before, and never overfills the bucket"

EXERCISES = {
    "6.02.1": Exercise(
        against(
            latency_percentile,
            Case(
                PLACE,
                _waits((1, 2, 3, 4, 7, 11, 13), (0.25, 0.5, 0.75, 0.95, 1.0), ordered=True),
                "round share * count up to a whole number; that is the place when one counts from 1",
            ),
            Case(ORDER, _waits((3, 7, 11, 13, 19), (0.25, 0.5, 0.75, 0.95, 1.0)), "sort them first"),
        ),
        planted=[
            ("def latency_percentile(seconds, share):\n    return seconds[int(share * len(seconds))]", PLACE),
            (
                "def latency_percentile(seconds, share):\n"
                "    return sorted(seconds)[int(share * len(seconds))]",
                PLACE,
            ),
            (
                "def latency_percentile(seconds, share):\n"
                "    return sorted(seconds)[int(share * len(seconds)) - 1]",
                PLACE,
            ),
            (
                "import math\ndef latency_percentile(seconds, share):\n"
                "    return seconds[math.ceil(share * len(seconds)) - 1]",
                ORDER,
            ),
            ("def latency_percentile(seconds, share):\n    return share * max(seconds)", PLACE),
            (
                "import numpy\ndef latency_percentile(seconds, share):\n"
                "    return float(numpy.percentile(seconds, 100 * share))",
                PLACE,
            ),
        ],
        equivalent={
            "are): retur -> are): seconds = seconds[::-1] retur": "sorted next, so in any order",
        },
    ),
    "6.02.2": Exercise(
        against(
            streamed_text,
            Case(PIECES, _stream(), "add up the content of each line that begins with `data: `"),
            Case(SKIPPED, _stream(comments=True), "read only lines that begin with `data: `"),
            Case(MISSING, _stream(gaps=True), "take '' where content is missing or None"),
            Case(FIRST, _stream(choices=2), "take choices[0], and no other"),
            Case(
                END, _stream(comments=True, gaps=True, choices=2, after=True), "leave the loop at that line"
            ),
            Case(CUT, _stream(cut=True), "return what came, also where data: [DONE] never comes"),
        ),
        planted=[
            ("def streamed_text(lines):\n    return ''.join(lines)", PIECES),
            (
                "import json\ndef streamed_text(lines):\n    return ''.join(\n"
                "        json.loads(line[6:])['choices'][0]['delta']['content']\n"
                "        for line in lines if line and '[DONE]' not in line)",
                SKIPPED,
            ),
            (
                "import json\ndef streamed_text(lines):\n    return ''.join(\n"
                "        json.loads(line[6:])['choices'][0]['delta']['content']\n"
                "        for line in lines if line.startswith('data: {'))",
                MISSING,
            ),
            (
                "import json\ndef streamed_text(lines):\n    return ''.join(\n"
                "        json.loads(line[6:])['choices'][-1]['delta'].get('content') or ''\n"
                "        for line in lines if line.startswith('data: {'))",
                FIRST,
            ),
            (
                "import json\ndef streamed_text(lines):\n    return ''.join(\n"
                "        json.loads(line[6:])['choices'][0]['delta'].get('content') or ''\n"
                "        for line in lines if line.startswith('data: {'))",
                END,
            ),
            (
                "import json\ndef streamed_text(lines):\n    text = ''\n    for line in lines[:-1]:\n"
                "        if line == 'data: [DONE]':\n            break\n"
                "        if line.startswith('data: '):\n            piece = json.loads(line[6:])\n"
                "            text += piece['choices'][0]['delta'].get('content') or ''\n    return text",
                CUT,
            ),
        ],
        equivalent={
            "text = '' for l -> text = ''[:1] for l": "no text is still no text",
            "text = '' fo -> text = 2 * '' fo": "no text is still no text",
        },
    ),
    "6.02.3": Exercise(
        against(
            answered_by_size,
            Case(FULL, _requests((0, 0), (1, 12)), "compare the level with the tokens, then take them away"),
            Case(
                REFILL, _requests((0, 6), (1, 22)), "add per_second for each second since `last`, up to burst"
            ),
        ),
        planted=[
            (
                "def answered_by_size(requests, per_second, burst):\n"
                "    return [tokens <= burst for _, tokens in requests]",
                FULL,
            ),
            (
                "def answered_by_size(requests, per_second, burst):\n    level, answers = burst, []\n"
                "    for _, tokens in requests:\n        level -= tokens\n"
                "        answers.append(level >= 0)\n"
                "    return answers",
                FULL,
            ),
            (
                "def answered_by_size(requests, per_second, burst):\n    level, answers = 0, []\n"
                "    for second, tokens in requests:\n        answers.append(level >= tokens)\n"
                "        level -= tokens * answers[-1]\n    return answers",
                FULL,
            ),
            (
                "def answered_by_size(requests, per_second, burst):\n    level, last = burst, 0\n"
                "    answers = []\n    for second, tokens in requests:\n"
                "        level += (second - last) * per_second\n"
                "        last = second\n        answers.append(level >= tokens)\n"
                "        level -= tokens * answers[-1]\n    return answers",
                REFILL,
            ),
            (
                "def answered_by_size(requests, per_second, burst):\n    level, answers = burst, []\n"
                "    for second, tokens in requests:\n"
                "        level = min(burst, level + second * per_second)\n"
                "        answers.append(level >= tokens)\n"
                "        level -= tokens * answers[-1]\n    return answers",
                REFILL,
            ),
        ],
        equivalent={
            "= (burst, 0, []) -> = (burst, -1, [])": "the bucket is full, so what comes back before is lost",
            "vel = min(burst, level + (second - last) * per_second) -> "
            "vel = min(level + (second - last) * per_second, burst)": "the smaller of two, in either order",
        },
    ),
}
