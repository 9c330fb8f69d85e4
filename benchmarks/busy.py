"""Does training keep its speed when another program takes a core? Every figure is a ratio within one run.

    python benchmarks/busy.py

Two cores, whatever the machine has. train.sft runs for seconds at a time, in turn in three processes: one
with OpenMP and glibc as they come, one in which ftlib chose how threads wait, one in which it chose that and
what happens to freed memory. Beside it the other core is free, or a program counts without end. Each ratio
is the median over the rounds, with the smallest and the largest. Exit status 1: with ftlib's settings a busy
machine has less than 0.5 of the quiet rate, or a quiet one less than 0.95 of the rate without them.
"""

import os
import statistics
import subprocess
import sys
import time

SECONDS = 2  # of training at a time
LIMIT = 180  # of all rounds: no further one is begun that would end later
ROUNDS = 8
OWN = ("OMP_", "GOMP_", "KMP_", "MALLOC_", "GLIBC_TUNABLES")
PLAIN, WAITING, OURS = "as they come", "ftlib's waiting", "ftlib's waiting and memory"
# What a round measures: (settings, is a core taken, do all tokens carry loss). For the loss of all tokens the
# logits are larger than 32 MB, up to which glibc learns by itself to keep a block.
ROUND = [
    (PLAIN, False, False),
    (OURS, False, False),
    (PLAIN, True, False),
    (OURS, True, False),
    (WAITING, False, True),
    (OURS, False, True),
]


def main() -> int:
    if sys.argv[1:]:
        return train(sys.argv[1])
    if hasattr(os, "sched_setaffinity"):  # Linux
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    trainers = {name: start(name) for name in (PLAIN, WAITING, OURS)}
    try:
        rounds = measure(trainers)
    finally:
        for trainer in trainers.values():
            trainer.kill()
    return report(rounds)


def start(name: str) -> subprocess.Popen:
    """A process that trains when it is told to."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(OWN)}
    if name != OURS:
        environment["MALLOC_ARENA_TEST"] = "8"  # glibc's own number; whoever says something keeps its memory
    command = [sys.executable, __file__, name]
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def measure(trainers: dict[str, subprocess.Popen]) -> list[list[float]]:
    """Tokens a second of every entry of ROUND, for each round."""
    for name, everything in {(name, everything) for name, _, everything in ROUND}:
        rate(trainers[name], everything, seconds=0)  # warms up
    rounds, began, now = [], time.perf_counter(), 0.0
    while len(rounds) < ROUNDS and now + now / max(1, len(rounds)) < LIMIT:
        found = [0.0] * len(ROUND)
        order = range(len(ROUND))
        for index in reversed(order) if len(rounds) % 2 else order:  # so that drift cancels out
            name, taken, everything = ROUND[index]
            other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if taken else None
            try:
                found[index] = rate(trainers[name], everything, SECONDS)
            finally:
                if other:
                    other.kill()
                    other.wait()
        rounds.append(found)
        now = time.perf_counter() - began
    return rounds


def rate(trainer: subprocess.Popen, everything: bool, seconds: float) -> float:
    trainer.stdin.write(f"{int(everything)} {seconds}\n")
    trainer.stdin.flush()
    return float(trainer.stdout.readline())


def report(rounds: list[list[float]]) -> int:
    print(f"{len(rounds)} rounds")
    for (name, taken, everything), rates in zip(ROUND, zip(*rounds, strict=True), strict=True):
        what = f"{name}, {'a core taken' if taken else 'quiet'}, loss of {'all' if everything else 'answers'}"
        print(f"  {what:62} {statistics.median(rates):6.0f} tokens/s [{min(rates):.0f}, {max(rates):.0f}]")
    ratio("busy / quiet, as they come", rounds, 2, 0)
    busy = ratio("busy / quiet, ftlib's", rounds, 3, 1)
    quiet = ratio("quiet, ftlib's / as they come", rounds, 1, 0)
    ratio("quiet, loss of all, memory kept / given back", rounds, 5, 4)
    return int(busy < 0.5 or quiet < 0.95)


def ratio(what: str, rounds: list[list[float]], above: int, below: int) -> float:
    found = [rates[above] / rates[below] for rates in rounds]
    print(f"{what:46} {statistics.median(found):.2f} [{min(found):.2f}, {max(found):.2f}]")
    return statistics.median(found)


def train(name: str) -> int:
    """Trains at each line read, which says whether all tokens carry loss, and for how many seconds."""
    if name == PLAIN:
        import torch  # noqa: F401  # before ftlib, which then changes nothing about threads
    from ftlib import model, settings
    from ftlib import train as training

    import train_overhead  # isort: skip  # it imports torch

    settings.offline()
    network, tokenizer = train_overhead.base_model()
    examples = train_overhead.conversations(32)
    for line in sys.stdin:
        everything, least = map(float, line.split())
        tokens, seconds = 0, 0.0
        while not tokens or seconds < least:
            result = training.sft(
                model.clone(network), tokenizer, examples, epochs=1, learning_rate=1e-3, progress=False,
                response_only=not everything,
            )  # fmt: skip
            tokens, seconds = tokens + result.tokens, seconds + result.seconds
        print(tokens / seconds, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
