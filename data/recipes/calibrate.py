"""How much room the base model leaves for experiments: `python -m data.recipes.calibrate` writes data/base-model/calibration.json.

First the learning rates: for each set and method (full fine-tuning, LoRA) a few rates with three seeds, scored on the
validation rows (sweep.jsonl); the best mean is the rate of the set. Then each set on its test rows with 95 % intervals
over seeds: the base model as it is, full fine-tuning and LoRA on 800 examples, full fine-tuning on 50 and on 500, and what
is left of the known facts and of the held-out loss (calibration.jsonl). Each trained model is a line of a record, so an
interrupted run goes on where it stopped.

Forgetting is compared twice: at each method's best rate, and at equal scores, where each method takes the rate of the
sweep that keeps most facts among those that reach the score that both can reach.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ftlib import artefact, data, evaluate, model, settings, train

SEEDS = 3
FACTS, HELD_OUT = 300, 120
LORA_RANK = 8
BATCH = 16
STEPS_FOR_FEW = 100   # 50 examples: as many passes as make about this many steps
SLACK = 0.02          # scores that differ by less count as equal
# Passes over 800 examples: as many as 40 seconds on 2 cores hold.
EPOCHS = {
    "triage": 5, "extract": 4, "arithmetic": 6, "summarise": 5, "reply": 4, "translate": 8, "reading": 4, "sentiment": 5,
    "dialogue": 3, "tools": 2, "safety": 5, "preferences": 4, "island": 10,
}  # fmt: skip
RATES = {"full": (5e-4, 1e-3, 2e-3), "lora": (2e-3, 4e-3, 8e-3)}
RUNS = {"base": 0, "full": 800, "lora": 800, "full_50": 50, "full_500": 500}   # run -> number of examples


def adapter():
    """LoRA on every linear layer."""
    from peft import LoraConfig

    return LoraConfig(r=LORA_RANK, lora_alpha=2 * LORA_RANK, target_modules="all-linear", task_type="CAUSAL_LM")


def rows(name: str, split: str) -> list[dict]:
    """The rows of a set as conversations; of a preference pair, the one with the chosen reply."""
    found = data.load(name, split)
    return [row if "messages" in row else {**row, "messages": [*row["prompt"], *row["chosen"]]} for row in found]


class Bench:
    """The base model, and the two memory tests that every run is measured on."""

    def __init__(self):
        self.base, self.tokenizer = model.load(settings.MODELS["tiny"], settings.device())
        self.weights = artefact.digest(Path(settings.MODELS["tiny"]) / "model.safetensors")
        self.known = [fact for fact in data.load("facts", "facts") if fact["known"]][:FACTS]
        self.held_out = [row["text"] for row in data.load("corpus", "held_out")][:HELD_OUT]

    def measure(self, trained, name: str, split: str) -> dict[str, float]:
        return {
            "score": evaluate.score(trained, self.tokenizer, rows(name, split), name).interval.mean,
            "known_facts": sum(evaluate.cloze(trained, self.tokenizer, self.known)) / len(self.known),
            "held_out_loss": evaluate.loss(trained, self.tokenizer, self.held_out).nats_per_token.mean,
        }

    def run(self, name: str, method: str, rate: float, examples: int, seed: int, split: str) -> dict[str, float]:
        """Train a fresh copy of the base model and measure it."""
        every = [row["messages"] for row in rows(name, "train")]
        # Each seed sees other examples when it does not see all of them.
        start = seed * examples % len(every)
        chosen = list(itertools.islice(itertools.cycle(every), start, start + examples))
        epochs = EPOCHS[name] if examples == 800 else max(EPOCHS[name], round(STEPS_FOR_FEW * BATCH / examples))
        result = train.sft(
            model.clone(self.base), self.tokenizer, chosen, epochs=epochs, learning_rate=rate, batch_size=BATCH, seed=seed,
            adapter=adapter() if method == "lora" else None, progress=False,
        )  # fmt: skip
        return {**self.measure(result.model, name, split), "seconds": result.seconds}


class Record:
    """Lines of JSON about runs of one base model; a line belongs to the rows that it was made from."""

    def __init__(self, file: Path, weights: str):
        self.file, self.weights = file, weights
        lines = map(json.loads, file.read_text(encoding="utf-8").splitlines()) if file.exists() else ()
        self.lines = [line for line in lines if line["weights"] == weights and line["rows"] == fingerprint(line["set"])]

    def once(self, run: dict, measure: Callable[[], dict[str, float]]) -> None:
        """Make a run that the record does not hold, and write it down."""
        if any(run.items() <= line.items() for line in self.lines):
            return
        found = {name: round(value, 4) for name, value in measure().items()}
        line = {**run, **found, "weights": self.weights, "rows": fingerprint(run["set"])}
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.lines.append(line)
        print(run, found, flush=True)

    def of(self, **wanted: object) -> list[dict]:
        return [line for line in self.lines if wanted.items() <= line.items()]


def fingerprint(name: str) -> str:
    """Of the rows and the passes of a set: when they change, its runs are made again."""
    files = [artefact.digest(file) for file in sorted((settings.DATA / name).glob("*.jsonl"))]
    return hashlib.sha256(f"{files} {EPOCHS[name]}".encode()).hexdigest()[:12]


def sweep(bench: Bench, record: Record, names: list[str]) -> None:
    """The score of each learning rate on the validation rows, seed by seed."""
    for seed, name, (method, rates) in itertools.product(range(SEEDS), names, RATES.items()):
        for rate in rates:
            run = {"set": name, "method": method, "learning_rate": rate, "seed": seed}
            record.once(run, lambda run=run: bench.run(run["set"], run["method"], run["learning_rate"], 800, run["seed"], "validation"))


def averages(swept: Record, name: str, method: str) -> list[dict[str, float]]:
    """Of each learning rate, the means over its seeds; the lowest rate first."""
    found = []
    for rate in sorted({line["learning_rate"] for line in swept.of(set=name, method=method)}):
        lines = swept.of(set=name, method=method, learning_rate=rate)
        means = {key: sum(line[key] for line in lines) / len(lines) for key in ("score", "known_facts", "held_out_loss")}
        found.append({"learning_rate": rate, **means})
    return found


def best_rate(swept: Record, name: str, method: str) -> float:
    """The learning rate with the best mean score on validation rows; the lowest of equals."""
    return max(averages(swept, name, method), key=lambda point: point["score"])["learning_rate"]


def calibrate(bench: Bench, record: Record, swept: Record, names: list[str]) -> None:
    """Every run of every set, seed by seed, so that a part of it is a table with fewer seeds."""
    for seed, name, (what, examples) in itertools.product(range(SEEDS), names, RUNS.items()):
        method = what.partition("_")[0]
        if what == "base":
            if seed == 0:   # nothing in it is random
                record.once({"set": name, "what": what, "seed": 0}, lambda name=name: bench.measure(bench.base, name, "test"))
            continue
        rate = best_rate(swept, name, method)
        run = {"set": name, "what": what, "seed": seed, "learning_rate": rate}
        asked = (name, method, rate, examples, seed, "test")
        record.once(run, lambda asked=asked: bench.run(*asked))


def summary(record: Record, swept: Record) -> dict:
    """The calibration table from the records of one base model: the sets of which every run was made."""
    sets: dict[str, dict] = {}
    forgetting: dict[str, dict] = {}
    equal: dict[str, dict] = {}
    for name in EPOCHS:
        found = {what: record.of(set=name, what=what) for what in RUNS}
        if any(len(runs) < (1 if what == "base" else SEEDS) for what, runs in found.items()):
            continue
        sets[name] = {what: column(runs, name) for what, runs in found.items()}
        forgetting[name] = {
            f"{quantity}_{label}": round(sum(run[quantity] for run in found[what]) / len(found[what]), 4)
            for quantity in ("known_facts", "held_out_loss")
            for label, what in (("before", "base"), ("full", "full"), ("lora", "lora"))
        }
        equal[name] = at_equal_scores(swept, name)
    return {"weights": record.weights, "sets": sets, "forgetting": forgetting, "at_equal_scores": equal}


def at_equal_scores(swept: Record, name: str) -> dict[str, float]:
    """What each method keeps when it takes the gentlest rate that reaches what both can reach (validation rows)."""
    points = {method: averages(swept, name, method) for method in RATES}
    target = min(max(point["score"] for point in found) for found in points.values()) - SLACK
    result: dict[str, float] = {"score": round(target, 4)}
    for method, found in points.items():
        kept = max((point for point in found if point["score"] >= target), key=lambda point: point["known_facts"])
        result |= {f"{key}_{method}": round(kept[key], 4) for key in ("learning_rate", "known_facts", "held_out_loss")}
    return result


def column(runs: list[dict], name: str) -> dict[str, float]:
    """Mean score with its interval: over the seeds, or of a single run, in which nothing is random, over the test rows."""
    scores = [run["score"] for run in runs]
    if len(runs) == 1:
        count = len(data.load(name, "test"))
        right = round(scores[0] * count)
        interval = evaluate.bootstrap_interval([1.0] * right + [0.0] * (count - right))
    else:
        interval = evaluate.seeds_interval(scores)
    seconds = sum(run.get("seconds", 0) for run in runs) / len(runs)
    return {**{key: round(value, 4) for key, value in asdict(interval).items()}, "seeds": len(runs), "seconds": round(seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=EPOCHS, default=list(EPOCHS))
    parser.add_argument("--sweep-only", action="store_true", help="choose the learning rates and stop")
    arguments = parser.parse_args()
    settings.offline()
    bench, folder = Bench(), Path(settings.MODELS["tiny"])
    swept, record = (Record(folder / f"{name}.jsonl", bench.weights) for name in ("sweep", "calibration"))
    sweep(bench, swept, arguments.sets)
    if not arguments.sweep_only:
        calibrate(bench, record, swept, arguments.sets)
        table = summary(record, swept)
        (folder / "calibration.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
