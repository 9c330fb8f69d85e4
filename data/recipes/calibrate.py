"""How much room the base model leaves for experiments: `python -m data.recipes.calibrate` writes data/base-model/calibration.json.

Each set and method (full fine-tuning, LoRA) is trained on 400 examples at three learning rates with three seeds, and each
trained model is scored on the validation rows and on the test rows. The validation rows choose the rate of a method, the
test rows give its score, with a 95 % interval over seeds. Beside them stand the base model as it is, full fine-tuning on 50
examples at the same rate, and what is left of the known facts and of the held-out loss. Each trained model is a line of
calibration.jsonl, so an interrupted run goes on where it stopped, and several processes share the sets.

Forgetting is compared twice: at each method's best rate, and at equal scores, where each method takes the rate that keeps
most facts among those that reach the score that both can reach.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from ftlib import artefact, data, evaluate, experiment, model, settings, train

if TYPE_CHECKING:
    from pandas import DataFrame

SEEDS = 3
FACTS, HELD_OUT = 300, 120
LORA_RANK = 8
BATCH = 16
EXAMPLES = 400   # as many as a chapter trains on
STEPS_FOR_FEW = 100   # 50 examples: as many passes as make about this many steps
SLACK = 0.02          # scores that differ by less count as equal
# Passes over the examples: as many as about 40 seconds on one core hold.
EPOCHS = {
    "triage": 5, "extract": 4, "arithmetic": 6, "summarise": 5, "reply": 4, "translate": 8, "reading": 4, "sentiment": 5,
    "dialogue": 3, "tools": 2, "safety": 5, "preferences": 4, "island": 10,
}  # fmt: skip
RATES = {"full": (5e-4, 1e-3, 2e-3), "lora": (2e-3, 4e-3, 8e-3)}
FEW = {"full_50": 50}   # full fine-tuning on fewer examples, at the same rate


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

    def measure(self, trained, name: str) -> dict[str, float]:
        score = {split: evaluate.score(trained, self.tokenizer, rows(name, split), name).interval.mean for split in ("validation", "test")}
        return {
            "validation_score": score["validation"],
            "score": score["test"],
            "known_facts": sum(evaluate.cloze(trained, self.tokenizer, self.known)) / len(self.known),
            "held_out_loss": evaluate.loss(trained, self.tokenizer, self.held_out).nats_per_token.mean,
        }

    def run(self, name: str, method: str, learning_rate: float, examples: int, seed: int) -> dict[str, float]:
        """Train a fresh copy of the base model and measure it."""
        every = [row["messages"] for row in rows(name, "train")]
        # Each seed sees other examples when it does not see all of them.
        start = seed * examples % len(every)
        chosen = list(itertools.islice(itertools.cycle(every), start, start + examples))
        epochs = EPOCHS[name] if examples == EXAMPLES else max(EPOCHS[name], round(STEPS_FOR_FEW * BATCH / examples))
        result = train.sft(
            model.clone(self.base), self.tokenizer, chosen, epochs=epochs, learning_rate=learning_rate, batch_size=BATCH, seed=seed,
            adapter=adapter() if method == "lora" else None, progress=False,
        )  # fmt: skip
        return {**self.measure(result.model, name), "seconds": result.seconds}


class Record:
    """Lines of JSON about runs of one base model; a line belongs to the rows that it was made from."""

    def __init__(self, file: Path, weights: str):
        self.file, self.weights = file, weights
        lines = map(json.loads, file.read_text(encoding="utf-8").splitlines()) if file.exists() else ()
        self.lines = [line for line in lines if line["weights"] == weights and line["rows"] == fingerprint(line["set"])]

    def once(self, measure: Callable[[], dict[str, float]], **run: object) -> None:
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


def calibrate(bench: Bench, record: Record, name: str) -> None:
    """Every run of a set."""
    # Nothing in the base model as it is is random: one seed.
    record.once(lambda: bench.measure(bench.base, name), set=name, method="base", seed=0)

    def run(method: str, rate: float, examples: int, seed: int) -> None:
        asked = {"method": method, "learning_rate": rate, "examples": examples, "seed": seed}
        record.once(lambda: bench.run(name, **asked), set=name, **asked)

    for seed, (method, rates) in itertools.product(range(SEEDS), RATES.items()):
        for rate in rates:
            run(method, rate, EXAMPLES, seed)
    for seed, examples in itertools.product(range(SEEDS), FEW.values()):
        run("full", best_rate(record, name, "full"), examples, seed)


def runs_at_each_rate(record: Record, name: str) -> DataFrame:
    """The runs of a set on all its examples, by method; the lowest rate first."""
    from pandas import DataFrame

    runs = DataFrame([line for method in RATES for line in record.of(set=name, method=method, examples=EXAMPLES)])
    return runs.sort_values("learning_rate", kind="stable")


def best_rate(record: Record, name: str, method: str) -> float:
    """The learning rate with the best mean score on validation rows; the lowest of equals."""
    runs = runs_at_each_rate(record, name)
    return float(experiment.at_best(runs[runs["method"] == method], "learning_rate", "validation_score")["learning_rate"].iloc[0])


def runs_of(record: Record, name: str) -> dict[str, list[dict]]:
    """The runs behind each column of the table."""
    best = {method: best_rate(record, name, method) for method in RATES}
    found = {"base": record.of(set=name, method="base")}
    found |= {method: record.of(set=name, method=method, learning_rate=best[method], examples=EXAMPLES) for method in RATES}
    few = {"method": "full", "learning_rate": best["full"]}
    return found | {column: record.of(set=name, **few, examples=examples) for column, examples in FEW.items()}


def finished(record: Record, name: str) -> bool:
    """Whether every run of a set was made with every seed."""
    swept = [record.of(set=name, method=method, learning_rate=rate) for method, rates in RATES.items() for rate in rates]
    if not all(len([run for run in runs if run["examples"] == EXAMPLES]) == SEEDS for runs in swept):
        return False
    return all(len(runs) == (1 if column == "base" else SEEDS) for column, runs in runs_of(record, name).items())


def summary(record: Record) -> dict:
    """The calibration table from the record of one base model: the sets of which every run was made."""
    sets: dict[str, dict] = {}
    forgetting: dict[str, dict] = {}
    equal: dict[str, dict] = {}
    for name in EPOCHS:
        if not finished(record, name):
            continue
        found = runs_of(record, name)
        sets[name] = {what: column(runs, name) for what, runs in found.items()}
        forgetting[name] = {
            f"{quantity}_{label}": round(mean(run[quantity] for run in found[what]), 4)
            for quantity in ("known_facts", "held_out_loss")
            for label, what in (("before", "base"), ("full", "full"), ("lora", "lora"))
        }
        equal[name] = at_equal_scores(record, name)
    return {"weights": record.weights, "sets": sets, "forgetting": forgetting, "at_equal_scores": equal}


def at_equal_scores(record: Record, name: str) -> dict[str, float]:
    """What each method keeps when it takes the gentlest rate that reaches what both can reach (validation rows)."""
    runs = runs_at_each_rate(record, name)
    kept = experiment.at_equal_scores(runs, "learning_rate", "validation_score", "known_facts", by="method", slack=SLACK)
    best = runs.groupby(["method", "learning_rate"])["validation_score"].mean().groupby("method").max()
    result = {"score": round(float(best.min()) - SLACK, 4)}
    for method, means in kept.groupby("method", sort=False)[["learning_rate", "known_facts", "held_out_loss"]].mean().iterrows():
        result |= {f"{key}_{method}": round(float(value), 4) for key, value in means.items()}
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
    seconds = mean(run.get("seconds", 0) for run in runs)
    return {**{key: round(value, 4) for key, value in asdict(interval).items()}, "seeds": len(runs), "seconds": round(seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=EPOCHS, default=list(EPOCHS))
    arguments = parser.parse_args()
    settings.offline()
    bench, folder = Bench(), Path(settings.MODELS["tiny"])
    record = Record(folder / "calibration.jsonl", bench.weights)
    for name in arguments.sets:
        calibrate(bench, record, name)
    table = summary(Record(record.file, bench.weights))   # as the file is by now, others' lines among them
    (folder / "calibration.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
