"""The numbers that the shipped base model is sold with belong to its weights, its data and its recipes."""

import json
from pathlib import Path

from data.recipes import calibrate
from ftlib import artefact, data, evaluate

MODEL = Path(__file__).parents[1] / "data" / "base-model"
WEIGHTS = artefact.digest(MODEL / "model.safetensors")
TABLE = json.loads((MODEL / "calibration.json").read_text())


def test_the_table_is_that_of_the_record_of_runs():
    assert calibrate.summary(MODEL / "calibration.jsonl", WEIGHTS) == TABLE


def test_every_set_was_run_with_every_seed():
    assert list(TABLE["sets"]) == list(TABLE["forgetting"]) == list(calibrate.SETS)
    for columns in TABLE["sets"].values():
        seeds = {what: column["seeds"] for what, column in columns.items()}
        assert seeds == {"base": 1, **dict.fromkeys(("full", "lora", "full_50", "full_500"), calibrate.SEEDS)}
        assert all(column["low"] <= column["mean"] <= column["high"] for column in columns.values())


def test_forgetting_is_measured_on_what_the_base_model_knew():
    bench = calibrate.Bench()
    assert len(bench.known) == calibrate.FACTS and all(fact["known"] for fact in bench.known)
    recalled = evaluate.cloze(bench.base, bench.tokenizer, bench.known[:60])
    new = [fact for fact in data.load("facts", "facts") if not fact["known"]][:60]
    guessed = evaluate.cloze(bench.base, bench.tokenizer, new)
    assert sum(recalled) / 60 > 0.9 > 0.5 > sum(guessed) / 60


def test_the_card_and_the_manifest_are_of_these_weights():
    manifest = json.loads((MODEL / "manifest.json").read_text())
    assert manifest["weights"] == TABLE["weights"] == WEIGHTS
    assert "Not calibrated yet" not in (MODEL / "README.md").read_text()
