"""The numbers that the shipped base model is sold with belong to its weights, its data and its recipes."""

import json
from pathlib import Path

import pytest

from data.recipes import calibrate
from ftlib import artefact, data, evaluate

MODEL = Path(__file__).parents[1] / "data" / "base-model"
WEIGHTS = artefact.digest(MODEL / "model.safetensors")
TABLE = json.loads((MODEL / "calibration.json").read_text())


def record() -> calibrate.Record:
    return calibrate.Record(MODEL / "calibration.jsonl", WEIGHTS)


def test_the_table_is_that_of_the_record_of_runs():
    assert calibrate.summary(record()) == TABLE


def test_every_set_was_run_with_every_seed_or_is_named_as_not_calibrated_yet():
    assert all(list(TABLE[part]) == list(TABLE["sets"]) for part in ("forgetting", "at_equal_scores"))
    left = [name for name in calibrate.EPOCHS if name not in TABLE["sets"]]
    card = (MODEL / "README.md").read_text()
    assert (f"Not calibrated yet: {', '.join(left)}." in card) is bool(left)
    for columns in TABLE["sets"].values():
        seeds = {what: column["seeds"] for what, column in columns.items()}
        assert seeds == {"base": 1} | dict.fromkeys([*calibrate.RATES, *calibrate.FEW], calibrate.SEEDS)
        assert all(column["low"] <= column["mean"] <= column["high"] for column in columns.values())


def test_a_rate_is_the_best_of_its_sweep_on_the_validation_rows_of_every_seed():
    runs = record()
    for name in TABLE["sets"]:
        for method, rates in calibrate.RATES.items():
            made = {"set": name, "method": method, "examples": calibrate.EXAMPLES}
            found = {rate: runs.of(**made, learning_rate=rate) for rate in rates}
            assert {len(lines) for lines in found.values()} == {calibrate.SEEDS}
            scores = {rate: sum(line["validation_score"] for line in lines) for rate, lines in found.items()}
            assert scores[calibrate.best_rate(runs, name, method)] == max(scores.values())


@pytest.mark.parametrize("method", calibrate.RATES)
def test_at_equal_scores_neither_method_is_below_what_both_can_reach(method):
    for name, found in TABLE["at_equal_scores"].items():
        rate = found[f"learning_rate_{method}"]
        runs = record().of(set=name, method=method, learning_rate=rate, examples=calibrate.EXAMPLES)
        assert sum(run["validation_score"] for run in runs) / len(runs) >= found["score"] - 1e-4
        kept = sum(run["known_facts"] for run in runs) / len(runs)
        assert kept == pytest.approx(found[f"known_facts_{method}"], abs=1e-4)


def test_a_set_with_a_run_missing_is_not_in_the_table():
    runs = record()
    for name in TABLE["sets"]:
        whole, of_set = list(runs.lines), runs.of(set=name)
        for missing in (of_set[0], of_set[len(of_set) // 2], of_set[-1]):
            runs.lines = [line for line in whole if line is not missing]
            assert not calibrate.finished(runs, name)
        runs.lines = whole


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
    card = (MODEL / "README.md").read_text()
    assert "Not measured yet" not in card
