"""What the exercises of chapter 3.02 (hyperparameters) must satisfy."""

from __future__ import annotations

import random

from ftlib.check import Case, Exercise, against

# 3.02.1 · a schedule with a straight fall


def straight_rate(step, steps, warm_up, peak):
    """The rate of a step: it rises from peak / warm_up to peak, then falls to 0 at `steps`."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * (steps - step) / (steps - warm_up)


def _step(rising: bool, warm: bool = True):
    """Draws a step of the warm-up, or of what follows."""

    def draw(rng: random.Random):
        warm_up = rng.randint(2, 9) if warm else 0
        steps = warm_up + rng.randint(2, 30)
        step = rng.randrange(warm_up) if rising else rng.randint(warm_up, steps)
        return step, steps, warm_up, rng.choice((0.002, 0.1, 0.7, 3.0))

    return draw


def _first_after(rng: random.Random):
    warm_up = rng.randint(1, 9)
    return warm_up, warm_up + rng.randint(2, 30), warm_up, rng.choice((0.002, 0.1, 3.0))


# 3.02.2 · early stopping that asks for progress


def patient_epoch(losses, patience, least):
    """The epoch, from 1, whose weights are kept."""
    best = 0
    for epoch, loss in enumerate(losses):
        if losses[best] - loss > least:
            best = epoch
        if epoch - best >= patience:
            break
    return best + 1


def _losses(patience: tuple[int, int], least: tuple, falling: bool = False):
    """Draws losses in eighths, which are exact, the patience, and what counts as progress."""

    def draw(rng: random.Random):
        drawn = rng.sample(range(8, 60), rng.randint(6, 12))
        if falling:
            drawn.sort(reverse=True)
        return [number / 8 for number in drawn], rng.randint(*patience), rng.choice(least)

    return draw


def _small_steps(rng: random.Random):
    """Losses that fall by little each time: together it is progress, one by one it is not."""
    losses, now = [], 20.0
    for _ in range(rng.randint(6, 12)):
        losses.append(now)
        now -= rng.choice((0.125, 0.25, 0.375, 0.5))
    return losses, rng.randint(2, 4), rng.choice((0.25, 0.5, 0.75))


# 3.02.3 · successive halving


def halving(curves):
    """The number of the setting that is left, and how many rounds of training were paid for."""
    alive, paid = list(range(len(curves))), 0
    for score in range(len(curves[0])):
        paid += len(alive)
        ranked = sorted(alive, key=lambda number: (-curves[number][score], number))
        alive = ranked[: max(1, len(alive) // 2)]
    return alive[0], paid


def _curves(settings: tuple, rounds: tuple[int, int], levels: int = 1000, steady: bool = False):
    """Draws scores of settings after each round; few levels make equal scores, steady ones stay."""

    def draw(rng: random.Random):
        count, length = rng.choice(settings), rng.randint(*rounds)
        curves = [[rng.randrange(levels) / 8 for _ in range(length)] for _ in range(count)]
        return ([curve[:1] * length for curve in curves] if steady else curves,)

    return draw


# What each check says, and wrong answers that it must catch

RISE = "the warm-up begins at peak / warm_up and ends at peak"
FALL = "after the warm-up the rate falls in a straight line, to 0 at `steps`"
PEAK = "the first step after the warm-up has the peak"
NO_WARM_UP = "there may be no warm-up"
LOWEST = "with least 0, every lower loss is better"
PATIENCE = "it stops after `patience` epochs that are not better"
LEAST = "only a fall of more than `least` is better"
SMALL = "what counts is the fall since the best epoch, not since the last one"
ONE = "of two settings, the better after the first round is left"
PAID = "each round is paid for by every setting that is still there"
LATER = "later rounds are judged by later scores, and only among those left"
TIES = "of equal scores the lower number stays"

RATE = "def straight_rate(step, steps, warm_up, peak):\n"
EPOCH = "def patient_epoch(losses, patience, least):\n    best = 0\n"
LOOP = "    for epoch, loss in enumerate(losses):\n"
STOP = "        if epoch - best >= patience:\n            break\n"
HALF = "def halving(curves):\n    alive, paid = list(range(len(curves))), 0\n"
ROUNDS = "    for score in range(len(curves[0])):\n        paid += len(alive)\n"
KEEP = "        alive = ranked[: max(1, len(alive) // 2)]\n    return alive[0], paid"

EXERCISES = {
    "3.02.1": Exercise(
        against(
            straight_rate,
            Case(RISE, _step(rising=True), "step + 1 of warm_up steps, times peak"),
            Case(PEAK, _first_after, "there (steps - step) is (steps - warm_up)"),
            Case(FALL, _step(rising=False), "what is left, steps - step, of steps - warm_up, times peak"),
            Case(NO_WARM_UP, _step(rising=False, warm=False), "with warm_up 0 no step is below it"),
        ),
        planted=[
            (RATE + "    return peak", RISE),
            (
                RATE + "    if step < warm_up:\n        return peak * step / warm_up\n"
                "    return peak * (steps - step) / (steps - warm_up)",
                RISE,
            ),
            (
                RATE + "    if step <= warm_up:\n        return peak * (step + 1) / warm_up\n"
                "    return peak * (steps - step) / (steps - warm_up)",
                PEAK,
            ),
            (
                RATE + "    if step < warm_up:\n        return peak * (step + 1) / warm_up\n"
                "    return peak * (steps - step) / steps",
                PEAK,
            ),
            (
                RATE + "    if step < warm_up:\n        return peak * (step + 1) / warm_up\n"
                "    return peak * (1 - ((step - warm_up) / (steps - warm_up)) ** 2)",
                FALL,
            ),
            (
                RATE + "    rise = (step + 1) / warm_up\n    if step < warm_up:\n        return peak * rise\n"
                "    return peak * (steps - step) / (steps - warm_up)",
                NO_WARM_UP,
            ),
        ],
    ),
    "3.02.2": Exercise(
        against(
            patient_epoch,
            Case(LOWEST, _losses((20, 20), (0,)), "compare each loss with that of the best epoch"),
            Case(PATIENCE, _losses((1, 3), (0,)), "leave the loop when epoch - best reaches it"),
            Case(LEAST, _losses((20, 20), (0.125, 0.5, 1, 2), falling=True), "losses[best] - loss > least"),
            Case(LEAST, _losses((1, 4), (0.125, 0.5, 1, 2)), "losses[best] - loss > least"),
            Case(SMALL, _small_steps, "subtract from losses[best], also where epochs lie between"),
            tries=24,
        ),
        planted=[
            (EPOCH + "    return len(losses)", LOWEST),
            (EPOCH + "    return losses.index(min(losses))", LOWEST),
            (EPOCH + "    return losses.index(min(losses)) + 1", PATIENCE),
            (
                EPOCH
                + LOOP
                + "        if losses[best] - loss > 0:\n            best = epoch\n"
                + STOP
                + "    return best + 1",
                LEAST,
            ),
            (
                EPOCH
                + LOOP
                + "        if losses[best] - loss >= least and epoch:\n            best = epoch\n"
                + STOP
                + "    return best + 1",
                LEAST,
            ),
            (
                EPOCH + LOOP + "        if losses[best] - loss > least:\n            best = epoch\n"
                "        if epoch - best > patience:\n            break\n    return best + 1",
                PATIENCE,
            ),
            (
                "def patient_epoch(losses, patience, least):\n    best, worse = 0, 0\n"
                "    for epoch in range(1, len(losses)):\n"
                "        if losses[epoch - 1] - losses[epoch] > least:\n            best, worse = epoch, 0\n"
                "        else:\n            worse += 1\n"
                "        if worse >= patience:\n            break\n    return best + 1",
                LOWEST,
            ),
        ],
        equivalent={
            "best = 0 for -> best = 2 * 0 for": "no epoch is still no epoch",
            "best = 0 for -> best = -0 for": "no epoch is still no epoch",
        },
    ),
    "3.02.3": Exercise(
        against(
            halving,
            Case(ONE, _curves((2,), (1, 1)), "the highest score stays; the sum counts both"),
            Case(
                PAID,
                _curves((1, 3, 4, 5, 7, 8), (2, 4), steady=True),
                "add len(alive) before half are dropped",
            ),
            Case(LATER, _curves((4, 8, 9, 16), (2, 5)), "sort those left by curves[number][score]"),
            Case(TIES, _curves((4, 8, 9, 16), (1, 4), levels=2), "sort by (-score, number)"),
            tries=24,
        ),
        planted=[
            (HALF + "    return 0, len(curves)", ONE),
            (
                HALF
                + ROUNDS
                + "        ranked = sorted(alive, key=lambda number: curves[number][score])\n"
                + KEEP,
                ONE,
            ),
            (
                HALF + "    for score in range(len(curves[0])):\n        paid += len(curves)\n"
                "        ranked = sorted(alive, key=lambda number: (-curves[number][score], number))\n"
                + KEEP,
                PAID,
            ),
            (
                HALF
                + ROUNDS
                + "        ranked = sorted(alive, key=lambda number: (-curves[number][0], number))\n"
                + KEEP,
                LATER,
            ),
            (
                HALF
                + ROUNDS
                + "        ranked = sorted(alive, key=lambda number: -curves[number][score])\n"
                + KEEP,
                TIES,
            ),
            (
                HALF
                + ROUNDS
                + "        ranked = sorted(alive, key=lambda number: (-curves[number][score], number))\n"
                "        alive = ranked[: max(1, (len(alive) + 1) // 2)]\n    return alive[0], paid",
                PAID,
            ),
        ],
        equivalent={
            "ranked = sorted(al -> ranked = 2 * sorted(al": "half of the settings are taken, from the front",
            "nked[:max(1, len(alive) // 2)] ret -> nked[:max(len(alive) // 2, 1)] ret": "the larger of two",
            "en(curves[0])): -> en(curves[-1])):": "all curves are equally long",
        },
    ),
}
