"""How much room the base model leaves for experiments: `python -m data.recipes.calibrate` writes data/base-model/calibration.json.

Each instruction set, five seeds, 95 % intervals: the base model as it is, full fine-tuning and LoRA on 800 examples, full
fine-tuning on 50 and on 500, and what full and LoRA leave of the known facts and of the held-out loss. Each trained model's
result is a line of calibration.jsonl beside it, so an interrupted run goes on where it stopped.

Learning rates and epochs were chosen on the validation split, never on test: `--sweep` writes data/base-model/sweep.jsonl.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ftlib import artefact, data, evaluate, model, settings, train

SETS = ("triage", "extract", "arithmetic", "summarise", "reply", "translate")
SEEDS = 5
FACTS, HELD_OUT = 300, 120
LORA_RANK = 8
STEPS_FOR_FEW = 100          # 50 examples: as many passes as make about this many steps


@dataclass(frozen=True)
class Recipe:
    """Epochs on 800 examples, learning rate, batch size."""

    epochs: int
    learning_rate: float
    batch_size: int = 16


# As many epochs as 40 seconds on 2 cores hold.
FULL = {
    "triage": Recipe(5, 1e-3), "extract": Recipe(4, 2e-3), "arithmetic": Recipe(6, 1e-3), "summarise": Recipe(5, 2e-3),
    "reply": Recipe(4, 2e-3), "translate": Recipe(8, 1e-3),
}  # fmt: skip
LORA = {
    "triage": Recipe(5, 6e-3), "extract": Recipe(4, 6e-3), "arithmetic": Recipe(6, 6e-3), "summarise": Recipe(5, 6e-3),
    "reply": Recipe(4, 6e-3), "translate": Recipe(8, 3e-3),
}  # fmt: skip
# run -> its recipes and its number of examples
RUNS: dict[str, tuple[dict[str, Recipe], int]] = {
    "base": ({}, 0), "full": (FULL, 800), "lora": (LORA, 800), "full_50": (FULL, 50), "full_500": (FULL, 500),
}  # fmt: skip


def adapter():
    """LoRA of rank 8 on every linear layer."""
    from peft import LoraConfig

    return LoraConfig(r=LORA_RANK, lora_alpha=2 * LORA_RANK, target_modules="all-linear", task_type="CAUSAL_LM")


class Bench:
    """The base model, the data, and the two memory tests that every run is measured on."""

    def __init__(self):
        self.base, self.tokenizer = model.load(settings.MODELS["tiny"], "cpu")
        self.weights = artefact.digest(Path(settings.MODELS["tiny"]) / "model.safetensors")
        known = [fact for fact in data.load("facts", "facts") if fact["known"]][:FACTS]
        self.known, self.held_out = known, [row["text"] for row in data.load("corpus", "held_out")][:HELD_OUT]

    def measure(self, trained, name: str, split: str = "test", memory: bool = True) -> dict[str, float]:
        result = {"score": evaluate.score(trained, self.tokenizer, data.load(name, split), evaluate.METRICS[name]).interval.mean}
        if memory:
            result["known_facts"] = sum(evaluate.cloze(trained, self.tokenizer, self.known)) / len(self.known)
            result["held_out_loss"] = evaluate.loss(trained, self.tokenizer, self.held_out).nats_per_token.mean
        return result

    def run(self, name: str, method: str, recipe: Recipe, examples: int, seed: int, split: str = "test") -> dict[str, float]:
        """Train a fresh copy of the base model and measure it."""
        rows = [row["messages"] for row in data.load(name, "train")]
        # Each seed sees other examples when it does not see all of them.
        start = seed * examples % len(rows)
        chosen = list(itertools.islice(itertools.cycle(rows), start, start + examples))
        epochs = recipe.epochs
        if examples < 800:
            epochs = max(epochs, round(STEPS_FOR_FEW / max(1, examples / recipe.batch_size)))
        result = train.sft(
            model.clone(self.base), self.tokenizer, chosen, epochs=epochs, learning_rate=recipe.learning_rate,
            batch_size=recipe.batch_size, seed=seed, adapter=adapter() if method == "lora" else None, progress=False,
        )  # fmt: skip
        memory = examples == 800 and split == "test"
        return {**self.measure(result.model, name, split, memory), "seconds": result.seconds, "epochs": epochs}


def sweep(bench: Bench, names: list[str], methods: list[str], rates: list[float], epochs: list[int], record: Path) -> None:
    """One seed on the validation split: the score for each learning rate and number of epochs."""
    for rate, passes, method, name in itertools.product(rates, epochs, methods, names):
        found = bench.run(name, method, Recipe(passes, rate), 800, 0, "validation")
        chosen = {"set": name, "method": method, "learning_rate": rate, "epochs": passes}
        write(record, {**chosen, "weights": bench.weights, "score": found["score"]})


def calibrate(bench: Bench, names: list[str], record: Path) -> None:
    """Run what the record does not hold yet, seed by seed, so that a part of it is a table with fewer seeds."""
    done = {(line["set"], line["what"], line["seed"], line["follows_from"]) for line in read(record, bench.weights)}
    for seed, name, (what, (recipes, examples)) in itertools.product(range(SEEDS), names, RUNS.items()):
        follows_from = fingerprint(name, what)
        if (name, what, seed, follows_from) in done or (what == "base" and seed > 0):
            continue
        if what == "base":
            found = {**bench.measure(bench.base, name), "seconds": 0.0}
        else:
            found = bench.run(name, what.partition("_")[0], recipes[name], examples, seed)
        write(record, {"set": name, "what": what, "seed": seed, "weights": bench.weights, "follows_from": follows_from, **found})


def fingerprint(name: str, what: str) -> str:
    """Of the rows and the recipe of a run: when they change, it is run again."""
    rows = [artefact.digest(settings.DATA / name / f"{split}.jsonl") for split in ("train", "test")]
    return hashlib.sha256(f"{rows} {RUNS[what][0].get(name)}".encode()).hexdigest()[:12]


def write(record: Path, line: dict) -> None:
    """Add a line to a record of runs, and show it."""
    with record.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(line | {"weights": line["weights"][:8]}, flush=True)


def read(record: Path, weights: str) -> list[dict]:
    """The lines of a record that are about these weights."""
    lines = map(json.loads, record.read_text(encoding="utf-8").splitlines()) if record.exists() else ()
    return [line for line in lines if line["weights"] == weights]


def summary(record: Path, weights: str) -> dict:
    """The calibration table from the record of one base model: sets of which every run was made twice or more."""
    sets: dict[str, dict] = {}
    forgetting: dict[str, dict] = {}
    for name in SETS:
        now = {what: fingerprint(name, what) for what in RUNS}
        lines = [line for line in read(record, weights) if line["set"] == name and line["follows_from"] == now[line["what"]]]
        found = {what: [line for line in lines if line["what"] == what] for what in RUNS}
        if any(len(runs) < (1 if what == "base" else 2) for what, runs in found.items()):
            continue
        sets[name] = {what: column(runs, name) for what, runs in found.items()}
        forgetting[name] = _rounded({
            f"{quantity}_{label}": sum(run[quantity] for run in found[what]) / len(found[what])
            for quantity in ("known_facts", "held_out_loss")
            for label, what in (("before", "base"), ("full", "full"), ("lora", "lora"))
        })  # fmt: skip
    return {"weights": weights, "sets": sets, "forgetting": forgetting}


def column(runs: list[dict], name: str) -> dict[str, float]:
    """Mean score with its interval: over the seeds, or of a single run, in which nothing is random, over the test rows."""
    scores = [run["score"] for run in runs]
    if len(runs) == 1:
        rows = len(data.load(name, "test"))
        right = round(scores[0] * rows)
        interval = evaluate.bootstrap_interval([1.0] * right + [0.0] * (rows - right))
    else:
        interval = evaluate.seeds_interval(scores)
    seconds = sum(run["seconds"] for run in runs) / len(runs)
    return {**_rounded(asdict(interval)), "seeds": len(runs), "seconds": round(seconds, 1)}


def _rounded(numbers: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in numbers.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--sweep", action="store_true", help="try learning rates and epochs on the validation split instead")
    parser.add_argument("--methods", nargs="+", choices=("full", "lora"), default=["full", "lora"])
    parser.add_argument("--rates", nargs="+", type=float, default=[1e-3, 2e-3, 4e-3])
    parser.add_argument("--epochs", nargs="+", type=int, default=[5])
    arguments = parser.parse_args()
    settings.offline()
    bench, folder = Bench(), Path(settings.MODELS["tiny"])
    if arguments.sweep:
        return sweep(bench, arguments.sets, arguments.methods, arguments.rates, arguments.epochs, folder / "sweep.jsonl")
    calibrate(bench, arguments.sets, folder / "calibration.jsonl")
    table = summary(folder / "calibration.jsonl", bench.weights)
    (folder / "calibration.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
