"""What the exercises of chapter 4.01 (supervised fine-tuning) must satisfy."""

from __future__ import annotations

import math
import random

from ftlib.check import Case, Exercise, Question, against, asked, value

# 4.01.1 · how many tokens carry loss

COUNTED = "the assistant's tokens and its end marks are counted"
END_MARKS = "each answer ends with a mark that carries loss"


def tokens_with_loss(*sums: tuple[int, int]) -> Question:
    """A conversation of two turns, in each of which two numbers are added."""
    asked_for, answers = [f"{one}+{other}?" for one, other in sums], [str(sum(two)) for two in sums]
    digits, user = len("".join(answers)), len("".join(asked_for)) + 2
    due = digits + 4  # with a space and an end mark for each answer
    mistakes = {
        "a space that begins an answer and the mark that ends it carry loss too": digits,
        f"{END_MARKS}, and begins with a space that does": digits + 2,
        "both answers carry loss: count in both": len(answers[1]) + 2,
        "both answers end with a mark, and both marks carry loss": due - 1,
        "the marks that say who speaks carry no loss": due + 2,
        "the user's tokens carry no loss": due + user,
        "most of these tokens carry no loss: which does the assistant write?": due + user + 5,
    }
    turns = zip(asked_for, answers, strict=True)
    first, second = ("▁ " + " ".join(answer) for answer in answers)
    texts = [
        "<|bos|>" + "".join(f"<|user|>{what}<|assistant|>{answer}<|eos|>" for what, answer in turns),
        f"{due}  # {first} <|eos|> and {second} <|eos|>",
    ]
    hint = f"count {first}, {second} and both end marks, nothing else"
    return Question(texts, due, value(due, COUNTED, hint, mistakes))


def _sums(rng: random.Random):
    """Draws two sums, each with an answer of one to five digits."""
    answers = (rng.randint(10**digits // 10 + 1, 10**digits - 1) for digits in rng.choices(range(1, 6), k=2))
    return [(part := rng.randint(1, answer - 1), answer - part) for answer in answers]


# 4.01.2 · the loss of the next token


def next_token_loss(logits, labels):
    """Mean cross-entropy of the labels at t + 1 under the logits at t; labels of -100 are left out."""
    import torch

    return torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], ignore_index=-100)


def _batch(rows: tuple[int, int], length: tuple[int, int], ignored: bool = False):
    """Draws logits and labels: so many rows of such a length, part of the labels -100 if `ignored`."""

    def draw(rng: random.Random):
        import torch

        generator = torch.Generator().manual_seed(rng.randrange(2**32))
        shape = (rng.randint(*rows), rng.randint(*length))
        words = rng.randint(3, 9)
        logits = (3 * torch.randn(*shape, words, generator=generator)).requires_grad_()
        labels = torch.randint(words, shape, generator=generator)
        if (
            ignored
        ):  # a prompt of another length in each row, and its first token to be predicted from nothing
            starts = torch.tensor([[rng.randint(1, shape[1] - 1)] for _ in range(shape[0])])
            labels = labels.masked_fill(torch.arange(shape[1]) < starts, -100)
            labels[rng.randrange(shape[0]), 0] = rng.randrange(words)
        return logits, labels

    return draw


# 4.01.3 · a verdict on two recipes


def verdict_of(first, second, margin):
    """Which recipe is better, or neither, by the 95 % t interval of the differences seed by seed."""
    from ftlib import evaluate

    gain = evaluate.seeds_interval([a - b for a, b in zip(first, second, strict=True)])
    if -margin <= gain.low and gain.high <= margin:
        return "equal"
    return "undecided" if gain.low <= 0 <= gain.high else "first" if gain.mean > 0 else "second"


def _scores(*ratios: float, margins: tuple = (0,), spread: float = 0.0):
    """Draws two lists of scores by seed, the better one on either side, and a margin.

    ratios: how far the mean difference is from 0, in halves of its interval: above 1 it is decided.
    margins: in the same unit; a list of one holds how far it lies beyond the far end of the interval.
    spread: how far the seeds lie apart, in units of the difference between the recipes.
    """

    def draw(rng: random.Random):
        from scipy.stats import t

        count, scale = rng.randint(3, 8), 10 ** rng.uniform(-3, 0)
        noise = [rng.gauss(0, 1) for _ in range(count)]
        middle = math.fsum(noise) / count
        error = math.sqrt(math.fsum((x - middle) ** 2 for x in noise) / (count - 1) / count)
        half, ratio, margin = float(t.ppf(0.975, count - 1)) * error, rng.choice(ratios), rng.choice(margins)
        mean = rng.choice((-1, 1)) * ratio * half
        second = [0.5 + scale * spread * rng.gauss(0, 1) for _ in range(count)]
        first = [b + scale * (x - middle + mean) for b, x in zip(second, noise, strict=True)]
        margin = ratio + 1 + margin[0] if isinstance(margin, list) else margin
        return first, second, scale * half * margin

    return draw


def _one_sided(rng: random.Random):
    """Differences of one sign, one of them large: the interval includes zero. Seeds lie further apart."""
    count, sign = rng.randint(3, 6), rng.choice((-1, 1))
    second = [0.1 * number + rng.uniform(0.1, 0.12) for number in rng.sample(range(count), count)]
    gains = [rng.uniform(0.0001, 0.001) for _ in range(count - 1)] + [rng.uniform(0.03, 0.06)]
    return [score + sign * gain for score, gain in zip(second, gains, strict=True)], second, 0.01


def _same(rng: random.Random):
    scores = [rng.random() for _ in range(rng.randint(2, 6))]
    return scores, list(scores), rng.choice((0.0, 0.1))


# 4.01.4 · Alpaca rows as messages


def to_messages(row):
    """A user's and an assistant's message; ValueError where there is nothing to learn."""
    if not row["output"].strip():
        raise ValueError("the row has no output")
    parts = [row["instruction"], row["input"]] if row["input"].strip() else [row["instruction"]]
    answer = {"role": "assistant", "content": row["output"]}
    return [{"role": "user", "content": "\n".join(parts)}, answer]


WORDS = (
    "Name",
    "the quay",
    "ferry to Saltholm",
    "at noon,",
    "please:",
    "{list}",
    "«boats»",
    "in\nMill Lane",
    "4",
)
BLANKS = ("", " ", "\n", "\t  \n")


def _row(*blank: str):
    """Draws a row of random texts; the fields named are blank, each in one of many ways."""

    def draw(rng: random.Random):
        row = {}
        for name in ("instruction", "input", "output"):
            words = " ".join(rng.choices(WORDS, k=rng.randint(1, 5)))
            row[name] = rng.choice(BLANKS) if name in blank else words
        return (row,)

    return draw


# What each check says, and wrong answers that it must catch

SHIFTED = "the logits at t are the guess for the label at t + 1"
MEAN = "the loss is the mean over the labels"
IGNORED = "labels of -100 cost nothing and are not counted"
ALL_ROWS = "each label counts the same, in whichever row it stands"

CLEAR = "a clear difference is named, whichever comes first"
ONE_SIDED = "differences of one sign can be undecided"
PAIRED = "seeds are compared in pairs"
LEVEL = "the 95 % interval of the differences decides, whatever their size"
EQUAL = "what lies within the margin is equal, even where the interval leaves out zero"
UNDECIDED = "an interval with zero in it that reaches beyond the margin decides nothing"

BOTH = "instruction and input arrive, in this order, on lines of their own"
BLANK = "a blank input leaves no trace"
REFUSED = "a row without an answer is refused"


def _wrong(head: str, answers: dict[str, str]) -> list[tuple[str, str]]:
    """Wrong answers: {what follows the head: what the check says}."""
    return [(f"{head}\n{body}", says) for body, says in answers.items()]


WRONG_COUNTS = [
    *((f"tokens_with_loss = {wrong}", COUNTED) for wrong in (0, 2, 3, 4, 5, 6, 8, 9, 17, 22)),
    *((f"tokens_with_loss = {wrong}", COUNTED) for wrong in ("True", "'7'", "[7]", "len('2<|eos|>')")),
]
WRONG_LOSSES = _wrong(
    """def next_token_loss(logits, labels):
    nats = torch.nn.functional.cross_entropy
    guesses, targets = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()""",
    {
        "    return nats(logits.flatten(0, 1), labels.flatten())": SHIFTED,
        "    return nats(logits[:, 1:].flatten(0, 1), labels[:, :-1].flatten())": SHIFTED,
        "    return nats(logits[:, 1:-1].flatten(0, 1), labels[:, 2:].flatten())": SHIFTED,
        "    return nats(guesses, targets).detach()": SHIFTED,
        "    return nats(guesses, targets).item()": SHIFTED,
        "    return 2 * nats(guesses, targets)": SHIFTED,
        "    return -nats(guesses, targets)": SHIFTED,
        "    return nats(guesses, targets, reduction='none')": SHIFTED,
        "    return nats(guesses.softmax(-1), targets)": SHIFTED,
        "    return nats(guesses, targets, label_smoothing=0.1)": SHIFTED,
        "    return torch.nn.functional.nll_loss(guesses, targets)": SHIFTED,
        "    return (guesses.argmax(-1) != targets).float().mean()": SHIFTED,
        "    return torch.tensor(0.0)": SHIFTED,
        "    print(nats(guesses, targets))": SHIFTED,
        "    labels[:, 0] = -100\n    return nats(guesses, targets)": SHIFTED,
        "    return nats(guesses, targets, reduction='sum')": MEAN,
        "    return nats(guesses, targets, reduction='sum') / len(labels)": MEAN,
        "    return nats(guesses[1:], targets[1:])": SHIFTED,
        "    return nats(logits[:, -2], labels[:, -1])": MEAN,
        "    return nats(guesses, targets, ignore_index=0)": MEAN,
        "    return nats(guesses, targets.clamp(min=0))": IGNORED,
        "    return nats(guesses, targets, reduction='none').mean()": IGNORED,
        "    return nats(guesses, targets, reduction='sum') / targets.numel()": IGNORED,
        "    labels[labels == -100] = 0\n    return nats(guesses, labels[:, 1:].flatten())": IGNORED,
        "    return nats(logits[0, :-1], labels[0, 1:])": ALL_ROWS,
        "    return torch.stack([nats(*row) for row in zip(logits[:, :-1], labels[:, 1:])]).mean()": ALL_ROWS,
    },
)
NEAR = "    if -margin <= gain.low and gain.high <= margin:\n        return 'equal'\n"
SIDES = "    return 'first' if gain.low > 0 else 'second' if gain.high < 0 else 'undecided'"
DECIDE = NEAR + SIDES
WRONG_VERDICTS = _wrong(
    """def verdict_of(first, second, margin):
    gains = [a - b for a, b in zip(first, second)]
    gain = evaluate.seeds_interval(gains)""",
    {
        "    return 'undecided'": CLEAR,
        "    return 'equal'": CLEAR,
        NEAR + "    return 'second' if gain.low > 0 else 'first' if gain.high < 0 else 'undecided'": CLEAR,
        NEAR + "    return 'undecided' if gain.low <= 0 else 'first'": CLEAR,
        "    return gain.mean > 0": CLEAR,
        NEAR + SIDES.replace("> 0", "> margin").replace("< 0", "< -margin"): CLEAR,
        NEAR + SIDES.replace("> 0", "> 0.01").replace("< 0", "< -0.01"): CLEAR,
        "    return 'equal' if abs(gain.mean) < 0.01 else 'first' if gain.mean > 0 else 'second'": CLEAR,
        "    gain = evaluate.seeds_interval([b - a for a, b in zip(first, second)])\n" + DECIDE: CLEAR,
        "    gain = evaluate.seeds_interval(gains[:3])\n" + DECIDE: CLEAR,
        "    found = evaluate.compare(first, second, margin)\n    return found.verdict": CLEAR,
        SIDES: EQUAL,
        SIDES.replace("'undecided'", "'equal'"): EQUAL,
        SIDES.replace("'undecided'", "'equal' if gain.high - gain.low <= 2 * margin else 'undecided'"): EQUAL,
        NEAR.replace("<=", "<") + SIDES: EQUAL,
        NEAR.replace("-margin <= gain.low and ", "") + SIDES: CLEAR,
        "    if abs(gain.mean) <= margin:\n        return 'equal'\n" + SIDES: UNDECIDED,
        "    if gain.low <= margin and gain.high >= -margin:\n        return 'equal'\n" + SIDES: CLEAR,
        NEAR + SIDES.replace("'undecided'", "None"): UNDECIDED,
        NEAR + SIDES.replace("'undecided'", "'equal'"): UNDECIDED,
        NEAR + "    return 'first' if gain.mean > 0 else 'second'": UNDECIDED,
        NEAR + "    return 'first' if sum(first) > sum(second) else 'second'": UNDECIDED,
        "    wins = sum(g > 0 for g in gains)\n"
        + NEAR
        + "    return 'first' if wins == len(gains) else 'second' if wins == 0 else 'undecided'": UNDECIDED,
        "    gain = evaluate.bootstrap_interval(gains)\n" + DECIDE: EQUAL,
        NEAR
        + "    a, b = evaluate.seeds_interval(first), evaluate.seeds_interval(second)\n"
        + "    return 'first' if a.low > b.high else 'second' if b.low > a.high else 'undecided'": PAIRED,
        NEAR
        + "    from scipy.stats import ttest_ind\n    if ttest_ind(first, second).pvalue > 0.05:\n"
        + "        return 'undecided'\n    return 'first' if gain.mean > 0 else 'second'": PAIRED,
        "    pairs = zip(sorted(first), sorted(second))\n"
        "    gain = evaluate.seeds_interval([a - b for a, b in pairs])\n" + DECIDE: PAIRED,
        "    gain = evaluate.seeds_interval(gains, level=0.9)\n" + DECIDE: LEVEL,
        "    gain = evaluate.seeds_interval(gains, level=0.99)\n" + DECIDE: LEVEL,
        "    import statistics\n    half = 1.96 * statistics.stdev(gains) / len(gains) ** 0.5\n"
        "    gain = evaluate.Interval(gain.mean, gain.mean - half, gain.mean + half)\n" + DECIDE: UNDECIDED,
        "    import statistics\n    half = statistics.stdev(gains)\n"
        "    gain = evaluate.Interval(gain.mean, gain.mean - half, gain.mean + half)\n" + DECIDE: UNDECIDED,
    },
)
ANSWER = "    return [{'role': 'user', 'content': request}, {'role': 'assistant', 'content': row['output']}]"
JOINED = "    request = row['instruction'] + ('\\n' + row['input'] if row['input'].strip() else '')\n"
CHECKED = "    if not row['output'].strip():\n        raise ValueError('no output')\n"
WRONG_ROWS = _wrong(
    "def to_messages(row):",
    {
        "    request = row['instruction']\n" + ANSWER: BOTH,
        "    request = row['instruction'] + row['input']\n" + ANSWER: BOTH,
        "    request = row['instruction'] + ' ' + row['input']\n" + ANSWER: BOTH,
        "    request = row['input'] + '\\n' + row['instruction']\n" + ANSWER: BOTH,
        "    request = 'Name the quay.\\nFerry to Saltholm'\n" + ANSWER: BOTH,
        "    request = ' '.join(f'{row[\"instruction\"]}\\n{row[\"input\"]}'.split())\n" + ANSWER: BOTH,
        "    request = row['instruction'], row['input']\n" + ANSWER: BOTH,
        "    request = row\n" + ANSWER: BOTH,
        JOINED + CHECKED + ANSWER.replace("'user'", "'system'"): BOTH,
        JOINED + CHECKED + ANSWER.replace("row['output']", "request"): BOTH,
        JOINED + CHECKED + ANSWER.replace("[{", "({").replace("}]", "})"): BOTH,
        JOINED + CHECKED + ANSWER + "[::-1]": BOTH,
        JOINED + CHECKED + ANSWER + "[:1]": BOTH,
        JOINED + CHECKED + "    return {'user': request, 'assistant': row['output']}": BOTH,
        JOINED + CHECKED + "    row['input'] = ''\n" + ANSWER: BOTH,
        CHECKED + "    request = row['instruction'] + '\\n' + row['input']\n" + ANSWER: BLANK,
        JOINED.replace(".strip()", "") + CHECKED + ANSWER: BLANK,
        JOINED + ANSWER: REFUSED,
        JOINED + CHECKED.replace(".strip()", "") + ANSWER: REFUSED,
        JOINED + CHECKED.replace("ValueError", "KeyError") + ANSWER: REFUSED,
        JOINED + CHECKED.replace("raise", "return") + ANSWER: REFUSED,
        "    if row['input'].strip() and not row['output'].strip():\n        raise ValueError\n"
        + JOINED + ANSWER: REFUSED,
    },
)  # fmt: skip

EXERCISES = {
    "4.01.1": asked(tokens_with_loss, ((1, 1), (9, 9)), _sums, WRONG_COUNTS),
    "4.01.2": Exercise(
        against(
            next_token_loss,
            Case(SHIFTED, _batch((1, 1), (2, 2)), "the last logits have no label, the first label no logits"),
            Case(MEAN, _batch((1, 1), (3, 9)), "keep every label but the first, and take their mean"),
            Case(IGNORED, _batch((1, 1), (4, 9), ignored=True), "keep ignore_index=-100"),
            Case(ALL_ROWS, _batch((2, 5), (4, 9), ignored=True), "flatten all rows before you take the mean"),
        ),
        planted=WRONG_LOSSES,
        equivalent={
            "ts, labels, ignore_index=-100) -> ts, labels)": "-100 is what cross_entropy ignores anyway"
        },
    ),
    "4.01.3": Exercise(
        against(
            verdict_of,
            Case(CLEAR, _scores(3, 5, margins=(0, 0.5, 2.5)), "the sign of the mean difference names it"),
            Case(EQUAL, _scores(0, 0.5, 1.5, 3, margins=([3], [6])), "ask first whether it is equal"),
            Case(EQUAL, _same, "ends count: low >= -margin and high <= margin"),
            Case(UNDECIDED, _scores(0.1, 0.5, margins=(0, 0.5)), "look at the ends, not at the mean"),
            Case(ONE_SIDED, _one_sided, "take evaluate.seeds_interval of the differences, count no signs"),
            Case(PAIRED, _scores(3, 5, spread=30), "subtract seed by seed before you take the interval"),
            Case(LEVEL, _scores(0.93, 1.07), "take the 95 % interval as seeds_interval gives it"),
            Case(PAIRED, _scores(0.6, 0.9, spread=1.5), "leave the seeds in the order in which they come"),
            tries=24,
        ),
        planted=WRONG_VERDICTS,
        equivalent={
            "gain.low > 0: -> gain.low >= 0:": "an end at exactly zero does not come about",
            "ain.high < 0 else 'u -> ain.high <= 0 else 'u": "an end at exactly zero does not come about",
            "r a, b in zip(first, second)]) if -> r a, b in list(zip(first, second))[::-1]]) if": (
                "the pairs are the same in any order"
            ),
        },
    ),
    "4.01.4": Exercise(
        against(
            to_messages,
            Case(BOTH, _row(), "the user says the instruction, a line break and the input"),
            Case(BLANK, _row("input"), "test row['input'].strip() before you add it"),
            Case(REFUSED, _row("output"), "raise ValueError when row['output'].strip() is empty"),
            Case(REFUSED, _row("input", "output"), "look at the output first, whatever the input is"),
            tries=16,
        ),
        planted=WRONG_ROWS,
    ),
}
