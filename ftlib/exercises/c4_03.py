"""What the exercises of chapter 4.03 (LoRA) must satisfy."""

from __future__ import annotations

import itertools
import random

from ftlib.check import Case, Exercise, Question, against, asked, value

# 4.03.1 · how many numbers are trained

COUNTED = "A and B of each of the three layers are counted, and nothing else"


def trained_numbers(width: int, narrow: int, rank: int, alpha: int) -> Question:
    """LoRA on q, which maps `width` numbers to `width`, and on k and v, which map them to `narrow`."""
    wide, small = rank * (width + width), rank * (width + narrow)
    due = wide + 2 * small
    mistakes = {
        "these are the numbers of the full matrices, which stay frozen": width * (width + 2 * narrow),
        "these are the A alone: each layer has a B of outputs × rank, too": 3 * rank * width,
        "these are the B alone: each layer has an A of rank × inputs, too": rank * (width + 2 * narrow),
        "this is q alone: k and v are trained, too": wide,
        "k and v are two layers of the same shape: count both": wide + small,
        f"k and v have {narrow} outputs, not {width}": 3 * wide,
        f"the narrow middle has {rank} places: multiply by the rank": due // rank,
        "α / rank scales the update and trains nothing: leave it out": due * alpha // rank,
        "α is not trained: leave it out": due * alpha,
    }
    hint = f"q has {rank} · ({width} + {width}), k and v have {rank} · ({width} + {narrow}) each"
    texts = [
        f"block of width {width}, `q` maps {width} numbers to {width}, and `k` and `v` map {width} to "
        f"{narrow} each. LoRA of rank {rank} and α {alpha} is put on",
        f"{rank} * ({width} + {width}) + 2 * {rank} * ({width} + {narrow})",
    ]
    return Question(texts, due, value(due, COUNTED, hint, mistakes))


def _layers(rng: random.Random):
    width, rank = rng.choice((32, 48, 64, 80, 96, 128)), rng.choice((2, 4, 8))
    return width, width // rng.choice((4, 8)), rank, rank * rng.choice((2, 4))


# 4.03.2 · a merged weight


def merged_weight(weight, down, up, alpha):
    """W + α / rank · B A."""
    return weight + alpha / down.shape[0] * up @ down


def _adapter(ranks: tuple[int, int], scales: tuple[float, ...]):
    """Draws a weight, never a square one, an adapter of such a rank, and α: the rank times one of scales."""

    def draw(rng: random.Random):
        import torch

        generator = torch.Generator().manual_seed(rng.randrange(2**32))
        rank = rng.randint(*ranks)
        outputs, inputs = rng.sample(range(rank + 2, rank + 9), 2)
        shapes = ((outputs, inputs), (rank, inputs), (outputs, rank))
        tensors = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
        return *tensors, rank * rng.choice(scales)

    return draw


# 4.03.3 · the rank that an update needs


def rank_needed(before, after, share):
    """The smallest rank whose best approximation holds a share of the squared singular values."""
    import torch

    squares = torch.linalg.svdvals(after - before).square().tolist()
    return 1 + sum(held < share * sum(squares) for held in itertools.accumulate(squares))


def _update(falls: tuple[float, float], ranks: tuple[int, int]):
    """Draws a weight before and after an update, and a share that one of `ranks` holds, and none below.

    Each singular value of the update is so many times the one before it: all equal at 1, but one 0 at 0.
    """

    def draw(rng: random.Random):
        import torch

        generator = torch.Generator().manual_seed(rng.randrange(2**32))
        outputs, inputs = rng.sample(range(8, 14), 2)
        count, rank, fall = min(outputs, inputs), rng.randint(*ranks), rng.uniform(*falls)
        values = torch.tensor([fall**number for number in range(count)])
        left, right = (
            torch.linalg.qr(torch.randn(size, count, generator=generator))[0] for size in (outputs, inputs)
        )
        before = torch.randn(outputs, inputs, generator=generator)
        held = [0.0, *(values.square().cumsum(0) / values.square().sum()).tolist()]
        share = held[rank - 1] + rng.uniform(0.35, 0.65) * (held[rank] - held[rank - 1])
        return before, before + rng.choice((0.2, 5.0)) * (left * values) @ right.T, share

    return draw


# What each check says, and wrong answers that it must catch

PRODUCT = "where α is the rank, the merged weight is W + B A"
SCALED = "α multiplies the update"
DIVIDED = "α is divided by the rank"

ONE = "an update along one direction needs rank 1"
SMALLEST = "the smallest rank that holds the share is returned"
SQUARED = "what a rank holds is measured by squares"


def _wrong(head: str, answers: dict[str, str]) -> list[tuple[str, str]]:
    """Wrong answers: {what follows the head: what the check says}."""
    return [(f"{head}\n{body}", says) for body, says in answers.items()]


WRONG_COUNTS = [
    (f"trained_numbers = {wrong}", COUNTED)
    for wrong in (
        *(6144, 768, 384, 512, 832, 1536, 288, 2304, 9216, 0, 576, 1024, 1151),
        *("True", "'1152'", "[1152]", "4 * 3 * (64 + 64)"),
    )
]
WRONG_WEIGHTS = _wrong(
    "def merged_weight(weight, down, up, alpha):",
    {
        "    return weight + alpha * down.T @ up.T": PRODUCT,
        "    return weight + alpha / len(down) * down.T @ up.T": PRODUCT,
        "    return weight + alpha / len(down) * (down @ up)": PRODUCT,
        "    return alpha / len(down) * (up @ down)": PRODUCT,
        "    return weight - alpha / len(down) * (up @ down)": PRODUCT,
        "    return weight * (alpha / len(down) * (up @ down))": PRODUCT,
        "    return weight @ (alpha / len(down) * (up @ down))": PRODUCT,
        "    return weight + alpha / len(up) * (up @ down)": PRODUCT,
        "    return weight + alpha / down.shape[1] * (up @ down)": PRODUCT,
        "    return weight + alpha / 4 * (up @ down)": PRODUCT,
        "    return (weight + alpha / len(down) * (up @ down)).detach()": PRODUCT,
        "    return weight.detach() + alpha / len(down) * (up @ down)": PRODUCT,
        "    with torch.no_grad():\n        return weight + alpha / len(down) * (up @ down)": PRODUCT,
        "    weight += alpha / len(down) * (up @ down)\n    return weight": PRODUCT,
        "    weight.data += alpha / len(down) * (up @ down)\n    return weight": PRODUCT,
        "    print(weight + alpha / len(down) * (up @ down))": PRODUCT,
        "    return (weight + alpha / len(down) * (up @ down)).T": PRODUCT,
        "    return weight + up @ down": SCALED,
        "    return weight + up @ down / len(down)": SCALED,
        "    return weight + len(down) / alpha * (up @ down)": SCALED,
        "    return weight + alpha // len(down) * (up @ down)": SCALED,
        "    return alpha / len(down) * (weight + up @ down)": SCALED,
        "    return weight + alpha * (up @ down)": DIVIDED,
        "    return weight + alpha / len(down) ** 0.5 * (up @ down)": DIVIDED,
        "    return weight + alpha * len(down) * (up @ down)": DIVIDED,
        "    return weight + alpha * (up[:, :1] @ down[:1])": DIVIDED,
    },
)
HELD = "    held = torch.linalg.svdvals(after - before).square().cumsum(0)\n"
SHORT = "    return int((held < share * held[-1]).sum())"
WRONG_RANKS = _wrong(
    "def rank_needed(before, after, share):",
    {
        HELD + SHORT: ONE,
        HELD + SHORT + " + 2": ONE,
        HELD + SHORT.replace("<", ">") + " + 1": ONE,
        HELD + "    return (held < share * held[-1]).sum() + 1": ONE,
        HELD + "    return str(int((held < share * held[-1]).sum()) + 1)": ONE,
        HELD + "    return int((held >= share * held[-1]).int().argmax())": ONE,
        HELD + "    return len(held)": ONE,
        HELD + "    return int(share * len(held))": ONE,
        HELD + "    print(int((held < share * held[-1]).sum()) + 1)": ONE,
        HELD.replace("after - before", "after") + SHORT + " + 1": ONE,
        HELD.replace("after - before", "before") + SHORT + " + 1": ONE,
        HELD.replace("after - before", "after + before") + SHORT + " + 1": ONE,
        HELD.replace("after - before", "after @ before.T") + SHORT + " + 1": ONE,
        HELD + SHORT.replace("held[-1]", "1") + " + 1": ONE,
        HELD.replace("torch.linalg.svdvals", "torch.ravel") + SHORT + " + 1": ONE,
        "    after -= before\n" + HELD.replace("after - before", "after") + SHORT + " + 1": ONE,
        "    return 1": SMALLEST,
        HELD + SHORT.replace("held[-1]", "held[0]") + " + 1": SMALLEST,
        HELD + SHORT.replace("share", "(1 - share)") + " + 1": SMALLEST,
        HELD.replace(".cumsum(0)", "") + SHORT.replace("held[-1]", "held.sum()") + " + 1": ONE,
        HELD.replace("cumsum(0)", "cumsum(0).sqrt()") + SHORT + " + 1": SMALLEST,
        HELD.replace(".cumsum(0)", "") + "    return int((held > share * held[0]).sum())": SMALLEST,
        HELD.replace(".square()", "") + SHORT + " + 1": SQUARED,
        HELD.replace(".square()", ".pow(3)") + SHORT + " + 1": SQUARED,
        HELD.replace(".square()", ".sqrt()") + SHORT + " + 1": SQUARED,
        HELD.replace(".square()", ".square().square()") + SHORT + " + 1": SQUARED,
    },
)

EXERCISES = {
    "4.03.1": asked(trained_numbers, (64, 16, 4, 8), _layers, WRONG_COUNTS),
    "4.03.2": Exercise(
        against(
            merged_weight,
            Case(PRODUCT, _adapter((1, 1), (1,)), "add up @ down, scaled by α and the rank, to the weight"),
            Case(SCALED, _adapter((1, 1), (2, 4, 0.5)), "multiply up @ down, and nothing else, by α"),
            Case(DIVIDED, _adapter((2, 5), (1, 2, 4, 0.5)), "divide α by len(down), the rank"),
        ),
        planted=WRONG_WEIGHTS,
    ),
    "4.03.3": Exercise(
        against(
            rank_needed,
            Case(ONE, _update((0, 0), (1, 1)), "decompose after - before, and count from 1"),
            Case(SMALLEST, _update((1, 1), (2, 7)), "count the running sums below share times the whole"),
            Case(SQUARED, _update((0.6, 0.8), (2, 5)), "square the singular values before you add them up"),
        ),
        planted=WRONG_RANKS,
        equivalent={
            "are): held -> are): before, after = (after, before) held": "a sign changes no singular value",
            "held = torch.lin -> held = 2 * torch.lin": "a share is the same in any unit",
            ".cumsum(0) retu -> .cumsum(0).detach() retu": "the answer is a whole number and has no gradient",
            "().cumsum(0) retu -> ().cumsum(-1) retu": "there is one dimension, the first and the last",
            "nt((held < share * h -> nt((held <= share * h": "no share is met to the last digit",
        },
    ),
}
