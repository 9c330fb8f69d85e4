"""The coverage map: every row of the guide has a chapter, and none claims what no notebook shows."""

import csv
import re

import pytest

import chapters
from ftlib import claims, run

BOOK = run.NOTEBOOKS.parent / "book"
COLUMNS = ["row", "thing", "chapter", "how", "correction", "reason"]
HOW = ("run", "shown", "told", "corrected", "planned", "out of scope")
MEASURED = ("run", "corrected")  # what a recorded claim makes of its row
# The guide's rows by stage: M is multimodal, A audio, R responsible use and research.
STAGES = {"0": 81, "1": 73, "2": 20, "3": 81, "4": 120, "5": 106, "6": 48, "7": 41, "M": 20, "A": 13, "R": 44}
CORRECTIONS = {f"d{number}" for number in range(1, 89)}  # d89 to d94 are about the sources, not about a row
NOTEBOOKS = {chapters.number(path): path for path in run.NOTEBOOKS.glob("*/[0-9]_[0-9][0-9]_*.ipynb")}


def table(name: str) -> list[dict[str, str]]:
    with (BOOK / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


ROWS = table("guide.csv")
CHAPTERS = {line["chapter"]: line for line in table("chapters.csv")}


def identifiers() -> list[str]:
    """The rows of the guide in its order; stages with a hundred rows count with three digits."""
    width = {stage: 3 if rows > 99 else 2 for stage, rows in STAGES.items()}
    return [
        f"{stage}-{number:0{width[stage]}}" for stage, rows in STAGES.items() for number in range(1, rows + 1)
    ]


def faults(row: dict[str, str], written: set[str]) -> list[str]:
    """What is wrong with a row of the map, when notebooks of the chapters `written` exist."""
    if None in row or None in row.values():
        return ["too many fields or too few"]
    how, reason = row["how"], row["reason"]
    exists = row["chapter"] in written
    postponed = how == "planned" and exists
    explained = how in ("told", "out of scope") or postponed
    wrong = {
        "blanks": any(value != value.strip() for value in row.values()),
        "thing": not 0 < len(row["thing"]) <= 60,
        "chapter": row["chapter"] not in CHAPTERS,
        "how": how not in HOW,
        "correction": not CORRECTIONS.issuperset(row["correction"].split()),
        "corrected without a correction": how == "corrected" and not row["correction"],
        "met by a chapter that is not written": how in ("run", "shown", "told", "corrected") and not exists,
        "planned for no edition": postponed and not re.search(r"\bedition\b", reason),
        "reason": bool(reason) != explained or len(reason) > 110 or not re.fullmatch(r"([^.].*\.)?", reason),
    }
    return [fault for fault, found in wrong.items() if found]


def unmet(found: list[dict], rows: list[dict[str, str]]) -> list[str]:
    """The claims that no row of the map calls run or corrected; a claim names a row or a correction."""
    met = {
        name for row in rows if row["how"] in MEASURED for name in (row["row"], *row["correction"].split())
    }
    return [claim["row"] for claim in found if claim["row"] not in met]


def test_the_map_has_every_row_of_the_guide_once_and_in_its_order():
    assert [row["row"] for row in ROWS] == identifiers()
    assert len(ROWS) == 647 and list(ROWS[0]) == COLUMNS


def test_every_row_says_where_it_belongs_and_how_it_is_met():
    found = {row["row"]: faults(row, set(NOTEBOOKS)) for row in ROWS}
    assert {row: wrong for row, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"thing": ""}, "thing"),
        ({"thing": "a" * 61}, "thing"),
        ({"thing": "a loop "}, "blanks"),
        ({None: ["one field too many"]}, "too many fields or too few"),
        ({"reason": None}, "too many fields or too few"),
        ({"chapter": "4.17"}, "chapter"),
        ({"how": "measured"}, "how"),
        ({"correction": "d22 d89"}, "correction"),
        ({"how": "corrected"}, "corrected without a correction"),
        ({"chapter": "4.03"}, "met by a chapter that is not written"),
        ({"how": "planned"}, "planned for no edition"),
        ({"how": "planned", "reason": "It comes later."}, "planned for no edition"),
        ({"how": "planned", "chapter": "4.03", "reason": "In a later edition."}, "reason"),
        ({"how": "told"}, "reason"),
        ({"how": "out of scope", "reason": "no full stop"}, "reason"),
        ({"reason": "It is run, so no reason is due."}, "reason"),
    ],
)
def test_a_wrong_row_is_found(change, fault):
    right = dict.fromkeys(COLUMNS, "") | {"row": "4-002", "thing": "a loop", "chapter": "4.01", "how": "run"}
    assert faults(right, {"4.01"}) == []
    assert fault in faults(right | change, {"4.01"})


def test_a_row_may_wait_for_a_later_edition_of_a_chapter_that_exists():
    later = {"how": "planned", "reason": "The third edition repeats it with two models."}
    row = dict.fromkeys(COLUMNS, "") | {"row": "4-002", "thing": "a loop", "chapter": "4.01"}
    assert faults(row | later, {"4.01"}) == []


def test_no_chapter_of_the_map_is_empty():
    owners = {row["chapter"] for row in ROWS if row["how"] != "out of scope"}
    assert CHAPTERS.keys() - owners == set()


def test_the_chapters_stand_in_order_in_the_folder_of_their_stage():
    lines = table("chapters.csv")
    assert [line["chapter"] for line in lines] == sorted(CHAPTERS) and len(lines) == 52
    assert all(line["folder"][0] == line["chapter"][0] and line["title"] for line in lines)
    assert {number: CHAPTERS[number]["folder"] for number in NOTEBOOKS} == {
        number: path.parent.name for number, path in NOTEBOOKS.items()
    }
    assert set(run.PATH) <= CHAPTERS.keys()


def test_every_correction_concerns_a_row():
    assert {name for row in ROWS for name in row["correction"].split()} == CORRECTIONS


def test_every_claim_that_a_notebook_records_has_a_row_that_is_run_or_corrected():
    assert unmet(claims.collect(sorted(NOTEBOOKS.values())), ROWS) == []


def test_a_claim_whose_row_is_only_planned_is_found():
    rows = [
        {"row": "1-64", "how": "run", "correction": "d47"},
        {"row": "0-20", "how": "corrected", "correction": "d22"},
        {"row": "4-022", "how": "planned", "correction": "d6"},
        {"row": "5-091", "how": "shown", "correction": "d57"},
    ]
    found = [{"row": name} for name in ("1-64", "d47", "d22", "4-022", "d6", "5-091", "9-99")]
    assert unmet(found, rows) == ["4-022", "d6", "5-091", "9-99"]
