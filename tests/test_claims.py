"""The ledger of measured claims."""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from chapters import execute
from ftlib import claims, evaluate
from ftlib.settings import WorkbookError

CELL = """from ftlib import claims
claims.record("d17", says="BERT decodes", measured="it encodes", verdict="does not hold", where="2.01")
claims.record("4-022", says="ranks 4 to 32 are enough", measured=0.9, interval=(0.85, 0.95), verdict="holds",
              where="4.03, tiny tier, 5 seeds")"""


def test_a_claim_shows_what_the_guide_says_beside_what_was_measured(capsys):
    interval = evaluate.Interval(0.9, 0.85, 0.95)
    claims.record(
        "4-022", "ranks 4 to 32 are enough", 0.9, interval=interval, verdict="partly", where="4.03, 5 seeds"
    )
    assert capsys.readouterr().out.splitlines() == [
        "Claim 4-022: partly",
        "  the guide says  ranks 4 to 32 are enough",
        "  measured        0.9 [0.85, 0.95]",
        "  where           4.03, 5 seeds",
    ]


@pytest.mark.parametrize(
    ("verdicts", "told"),
    [
        (["worse", "worse"], "holds"),
        (["worse", "better"], "partly"),
        (["undecided", "better"], "partly"),
        (["undecided", "undecided"], "partly"),
        (["better", "equal within the margin"], "does not hold"),
    ],
)
def test_a_claim_on_several_tasks_holds_where_every_comparison_says_so(verdicts, told, capsys):
    found = {
        f"task {number}": evaluate.Comparison(verdict, evaluate.Interval(-0.2, -0.3, -0.1), 0.05, 3)
        for number, verdict in enumerate(verdicts)
    }
    claims.compared("d5", "adapters are worse", found, ["worse"], "4.03")
    title, _, measured, _ = capsys.readouterr().out.splitlines()
    assert title == f"Claim d5: {told}"
    assert f"task 0: {verdicts[0]}, -0.20 [-0.30, -0.10]; task 1: {verdicts[1]}" in measured


@pytest.mark.parametrize(
    "row, verdict, what", [("4-22", "holds", "looks like 4-022"), ("4-022", "true", "is none of")]
)
def test_a_claim_with_an_impossible_row_or_verdict_is_refused(row, verdict, what, capsys):
    with pytest.raises(WorkbookError, match=what):
        claims.record(row, "says", 1, verdict=verdict, where="here")
    assert capsys.readouterr().out == ""


def test_claims_are_collected_from_executed_notebooks_and_listed_in_the_order_of_the_guide(tmp_path):
    assert execute(new_notebook(cells=[new_code_cell(CELL)]), tmp_path / "4_03_lora.ipynb").passed
    nbformat.write(new_notebook(cells=[new_code_cell(CELL)]), tmp_path / "not_executed.ipynb")
    found = claims.collect(sorted(tmp_path.glob("*.ipynb")))
    assert [(claim["row"], claim["notebook"]) for claim in found] == [
        ("d17", "4_03_lora.ipynb"),
        ("4-022", "4_03_lora.ipynb"),
    ]
    assert found[1]["interval"] == [0.85, 0.95] and found[0]["interval"] is None
    rows = repr(claims.summary(found)).splitlines()
    assert rows[1].split()[:6] == ["4-022", "holds", "0.9", "[0.85,", "0.95]", "ranks"]
    assert rows[2].startswith("d17    does not hold")


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"cells": None})])
def test_a_file_that_is_no_notebook_is_one_clear_error(tmp_path, text):
    (tmp_path / "broken.ipynb").write_text(text)
    with pytest.raises(WorkbookError, match="cannot be read as a notebook"):
        claims.collect([tmp_path / "broken.ipynb"])
