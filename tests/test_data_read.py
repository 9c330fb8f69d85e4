"""Every container and format is recognised; rows in = used + reported; bad input is one clear error."""

import csv
import gzip
import io
import json
import sqlite3
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftlib import data
from ftlib.settings import SETS, Settings, WorkbookError

USER, ANSWER = {"role": "user", "content": "When?"}, {"role": "assistant", "content": "At noon."}
OTHER = {"role": "assistant", "content": "No idea."}
SYSTEM = {"role": "system", "content": "Be short."}
HUMAN, GPT = {"from": "human", "value": "When?"}, {"from": "gpt", "value": "At noon."}
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

TIDE = {"name": "tide", "arguments": {"day": 1}}
CALL = {"id": "c1", "type": "function", "function": TIDE}
CALLING = ANSWER | {"tool_calls": [CALL | {"function": {"name": "tide", "arguments": "day 1"}}]}
RESULT = {"role": "tool", "content": "At 9:30."}

# A row of each format, and the conversation that it holds.
ROWS = {
    "alpaca": {"instruction": "When?", "input": "", "output": "At noon."},
    "sharegpt": {"conversations": [HUMAN, GPT]},
    "messages": {"messages": [USER, ANSWER]},
    "prompt/completion": {"prompt": "When?", "completion": "At noon."},
    "preference": {"prompt": "When?", "chosen": "At noon.", "rejected": "No idea."},
    "kto": {"prompt": "When?", "completion": "At noon.", "label": True},
    "text/label": {"text": "When?", "label": "At noon."},
}


def write(path, rows):
    """Rows in the container that the name of the file says, with the standard writer of each."""
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    buffer = io.StringIO(newline="")
    if name.endswith((".csv", ".tsv")):
        table = csv.DictWriter(buffer, list(rows[0]), delimiter="," if name.endswith(".csv") else "\t")
        table.writeheader()
        table.writerows(rows)
    elif name.endswith(".jsonl"):
        buffer.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    elif name.endswith(".json"):
        json.dump(rows, buffer, indent=2)
    elif name.endswith(".parquet"):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path
    content = buffer.getvalue().encode()
    if path.suffix == ".gz":
        content = gzip.compress(content)
    elif path.suffix == ".zst":
        content = pyarrow.Codec("zstd").compress(content, asbytes=True)
    path.write_bytes(content)
    return path


def lines(path, *rows):
    """A JSONL file of these rows; a text stands as it is."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def reported(records):
    return {row.row: row.reason for row in records.reported}


CONTAINERS = ["csv", "tsv", "json", "jsonl", "csv.gz", "tsv.gz", "json.gz", "jsonl.gz", "csv.zst", "tsv.zst"]
CONTAINERS += ["json.zst", "jsonl.zst", "parquet"]
CELLS = st.text(min_size=1).filter(lambda text: text.strip() not in ("", "-1"))


@pytest.mark.parametrize("container", CONTAINERS)
@settings(SHARED, max_examples=25)
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_every_container_gives_back_every_text(container, rows, tmp_path):
    rows = [{"text": text, "label": label} for text, label in rows]
    records = data.read(write(tmp_path / f"data.{container}", rows))
    assert (records.format, records.used, records.reported) == ("text/label", rows, [])
    assert (records.rows, records.columns) == (len(rows), ["text", "label"])


@pytest.mark.parametrize("container", ["json", "jsonl", "jsonl.zst", "parquet"])
@pytest.mark.parametrize("format", ROWS)
def test_every_format_is_recognised_and_holds_its_conversation(format, container, tmp_path):
    records = data.read(write(tmp_path / f"data.{container}", [ROWS[format]] * 3))
    assert (records.format, records.rows, len(records.used)) == (format, 3, 3)
    assert [data.messages(row, format) for row in records.used] == [[USER, ANSWER]] * 3


@pytest.mark.parametrize(
    "row, format, expected",
    [
        ({"instruction": "Add.", "input": "1, 1", "output": "2"}, "alpaca", "Add.\n\n1, 1"),
        ({"instruction": "Add.", "input": None, "output": "2"}, "alpaca", "Add."),
        ({"instruction": "Add.", "input": " \n", "output": "2"}, "alpaca", "Add."),
        ({"instruction": "Add.", "output": "2", "text": "Add. 2"}, "alpaca", "Add."),
        ({"problem": " p", "solution": "s", "answer": "a"}, "prompt/completion", " p"),
        ({"question": "q", "answer": "a", "known": True}, "prompt/completion", "q"),
        ({"prompt": "def f():\n", "canonical_solution": "  pass"}, "prompt/completion", "def f():\n"),
        ({"prompt": [USER], "completion": [ANSWER]}, "prompt/completion", "When?"),
        ({"text": "t", "category": "c"}, "text/label", "t"),
        ({"text": "t", "intent": "c"}, "text/label", "t"),
        ({"text": "t", "topic": 3}, "text/label", "t"),
        ({"conversations": [USER, ANSWER]}, "sharegpt", "When?"),
        ({"prompt": "p", "completion": "c", "label": "False"}, "kto", "p"),
        ({"prompt": [USER], "completion": [ANSWER], "label": 1}, "kto", "When?"),
        ({"prompt": "p", "completion": "c", "label": "polite"}, "prompt/completion", "p"),
        ({"chosen": [USER, ANSWER], "rejected": [USER, OTHER]}, "preference", "When?"),
        ({"prompt": [USER], "chosen": [ANSWER], "rejected": [OTHER]}, "preference", "When?"),
        ({"question": "q", "chosen": "c", "rejected": "r"}, "preference", "q"),
        ({"instruction": "Add.", "input": "1", "output": "c", "chosen": "c", "rejected": "r"}, "preference",
         "Add.\n\n1"),
    ],
)  # fmt: skip
def test_other_names_and_forms_of_the_same_format_are_recognised(row, format, expected, tmp_path):
    records = data.read(write(tmp_path / "data.json", [row]))
    assert records.format == format
    [record] = records.used
    assert row.keys() <= record.keys()
    assert data.messages(record, format)[0] == {"role": "user", "content": expected}


def test_the_fields_of_a_format_are_there_under_one_name(tmp_path):
    def used(row):
        return data.read(write(tmp_path / "data.json", [row])).used[0]

    assert used({"text": "t", "topic": 3})["label"] == "3"
    assert used({"prompt": "p", "completion": "c", "label": "0"})["label"] is False
    assert used({"problem": "p", "solution": "s", "answer": "a"}) | {"level": 1} == {
        "problem": "p", "solution": "s", "answer": "a", "prompt": "p", "completion": "s", "level": 1,
    }  # fmt: skip


def test_a_transcript_of_a_dialogue_is_taken_apart(tmp_path):
    start = "\n\nHuman: Hello.\n\nAssistant: Hello!\nYes?\n\nHuman: When?\n\nAssistant: "
    whole = {"chosen": start + "At noon.", "rejected": start + "No idea."}
    parts = {"prompt": start.rstrip(), "chosen": " At noon.", "rejected": " No idea."}
    prompt = [
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hello!\nYes?"},
        {"role": "user", "content": "When?"},
    ]
    [record] = data.read(write(tmp_path / "data.json", [whole])).used
    assert record == {"prompt": prompt, "chosen": [ANSWER], "rejected": [OTHER]}
    [record] = data.read(write(tmp_path / "data.json", [parts])).used
    assert record["prompt"] == prompt and record["chosen"][0]["content"] == " At noon."


def test_conversations_that_part_early_keep_the_rest_of_each(tmp_path):
    chosen, rejected = [SYSTEM, USER, ANSWER, USER, ANSWER], [SYSTEM, USER, OTHER]
    [record] = data.read(write(tmp_path / "data.json", [{"chosen": chosen, "rejected": rejected}])).used
    assert record == {"prompt": chosen[:2], "chosen": chosen[2:], "rejected": [OTHER]}
    assert data.messages(record, "preference") == chosen


def test_a_single_object_is_one_row(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(ROWS["sharegpt"], indent=1))
    assert data.read(path).rows == 1


def test_the_content_decides_where_the_name_says_little_or_the_wrong_thing(tmp_path):
    rows = [ROWS["alpaca"]] * 3
    names = ("a.json", "a.jsonl", "a.jsonl.gz", "a.parquet")
    made = {name: write(tmp_path / name, rows).read_bytes() for name in names}
    for name, content in [
        ("b.json", made["a.jsonl"]),
        ("b.jsonl", made["a.json"]),
        ("b.jsonl", json.dumps(rows[0], indent=1).encode()),
        ("b.dat", made["a.json"]),
        ("b.dat", b"\n" + made["a.jsonl"]),
        ("b", made["a.parquet"]),
        ("b.json", made["a.parquet"]),
        ("b.jsonl", made["a.jsonl.gz"]),
        ("b.JSONL.GZ", made["a.jsonl.gz"]),
        ("b.json", b"\xef\xbb\xbf" + made["a.json"]),
    ]:
        (tmp_path / name).write_bytes(content)
        records = data.read(tmp_path / name)
        assert records.format == "alpaca" and records.rows == len(records.used), name


def test_paragraphs_of_plain_text_are_its_rows(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\n  One,\r\nstill one.\r\n \t\r\nTwo.\n\n\n\nThree\n")
    records = data.read(tmp_path / "a.txt")
    assert records.format == "text"
    assert [row["text"] for row in records.used] == ["  One,\nstill one.", "Two.", "Three"]
    with pytest.raises(WorkbookError, match="text has no turns"):
        data.messages(records.used[0], "text")


def test_a_text_column_alone_is_plain_text(tmp_path):
    records = data.read(write(tmp_path / "a.csv", [{"text": "a\n\nb", "genre": "news"}]))
    assert (records.format, records.used) == ("text", [{"text": "a\n\nb", "genre": "news"}])


def test_a_chapter_reads_its_own_rows_and_a_second_task_beside_them(tmp_path):
    rows = [{"prompt": f"{number} + 1", "completion": str(number + 1)} for number in range(30)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    limits = {"tier": "tiny", "seed": 0, "test_examples": 5, "task": "triage"}
    chosen = Settings("4.03", "cpu", "", limits | {"data_path": str(tmp_path / "own.jsonl")})
    tokenizer = tiny.make_tokenizer()
    train, test = data.examples(chosen, tokenizer)
    assert len(train) == 24 and len(test) == 5 and "+ 1" in train[0][0]["content"]
    assert not [row for row in test if row in train], "a test row is trained on"
    train, test = data.examples(chosen, tokenizer, task="translate")
    assert [train, test] == shipped("translate", 5)
    assert [*data.examples(Settings("4.03", "cpu", "", limits | {"data_path": ""}), tokenizer)] == shipped(
        "triage", 5
    )


def shipped(task: str, count: int) -> list[list]:
    """The training rows of a set that is shipped, and the first of its test rows."""
    train, test = ([row["messages"] for row in data.load(task, name)] for name in ("train", "test"))
    return [train, test[:count]]


@pytest.mark.parametrize("task", SETS)
def test_no_shipped_test_row_is_a_training_row(task):
    train, test = shipped(task, 10_000)
    asked = {json.dumps(row[:-1]) for row in train}
    assert test and not [row for row in test if json.dumps(row[:-1]) in asked]


def test_exact_duplicates_are_kept(tmp_path):
    assert len(data.read(lines(tmp_path / "a.jsonl", *[ROWS["alpaca"]] * 4)).used) == 4


# Rows that are reported

BAD = {
    "alpaca": [
        ({"instruction": "When?"}, "output is missing"),
        ({"instruction": "When?", "output": " \n"}, "output is empty"),
        ({"instruction": "When?", "output": 1.5}, "output is a number, not a text"),
        ({"instruction": ["When?"], "output": "At noon."}, "instruction, turn 1 is a text, not an object"),
        ({"instruction": "When?", "input": [1], "output": "At noon."}, "input is a list, not a text"),
        ({"instruction": "When?", "output": "x", "context": 1.5}, "context is a number, not a text"),
        ({"instruction": "When?", "output": "x", "system": ["y"]}, "system is a list, not a text"),
        ({"instruction": "When?", "output": "x", "image": "a.jpg"}, "has image, which a model of text"),
        ({"instruction": "When?", "output": "\ud800"}, "output has half a character (a lone surrogate) at 0"),
    ],
    "messages": [
        ({"messages": []}, "messages is empty"),
        ({"messages": "When?"}, "messages is a text, not a list of turns"),
        ({"messages": [USER, "At noon."]}, "messages, turn 2 is a text, not an object"),
        ({"messages": [USER, ANSWER | {"content": None}]}, "turn 2 (assistant): content is missing"),
        ({"messages": [USER, {"role": "judge", "content": "5"}]}, "turn 2 has the role 'judge'; known are"),
        ({"messages": [USER, {"role": "tool", "content": "5"}]}, "turn 2 is tool, not assistant"),
        ({"messages": [USER, CALLING]}, "turn 2 (assistant): tool call 1 has no name, or arguments that are"),
        ({"messages": [USER, ANSWER | {"tool_calls": [{"arguments": {}}]}]}, "tool call 1 has no name"),
        ({"messages": [USER, ANSWER | {"tool_calls": "tide()"}]}, "tool call 1 has no name"),
        ({"messages": [USER, ANSWER | {"tool_calls": [TIDE]}, USER, ANSWER]}, "turn 3 is user, not tool"),
        ({"messages": [USER, ANSWER | {"tool_calls": [TIDE | {"name": "\ud800"}]}]}, "has half a character"),
        ({"messages": [USER, ANSWER | {"tool_calls": [TIDE]}, RESULT]}, "no answer to the last turn, tool"),
        ({"messages": [USER, ANSWER | {"weight": 0.5}]}, "turn 2 (assistant): weight is 0.5, not 0 or 1"),
        ({"messages": [USER, ANSWER | {"thinking": 2.5}]}, "(assistant): thinking is a number, not a text"),
        ({"messages": [USER | {"content": [{"type": "image"}]}, ANSWER]}, "another kind than text: image"),
        ({"messages": [USER | {"content": ["When?"]}, ANSWER]}, "a part of another kind than text: a text"),
        ({"messages": [SYSTEM | {"content": ""}]}, "messages holds an empty system turn and no other"),
        ({"messages": [SYSTEM, USER, ANSWER], "system": "Be long."}, "another text in its system turn"),
        ({"messages": [USER, ANSWER], "images": ["a.jpg"]}, "has images, which a model of text cannot see"),
        ({"messages": [USER, {"content": "5"}]}, "messages, turn 2: from is missing"),
        ({"messages": [ANSWER, USER]}, "roles out of order: turn 1 is assistant, not user"),
        ({"messages": [USER, ANSWER, ANSWER]}, "roles out of order: turn 3 is assistant, not user"),
        ({"messages": [SYSTEM, ANSWER]}, "roles out of order: turn 2 is assistant, not user"),
        ({"messages": [USER, SYSTEM, ANSWER]}, "roles out of order: turn 2 is system, not assistant"),
        ({"messages": [USER]}, "roles out of order: there is no answer to the last turn, user"),
        ({"messages": [SYSTEM]}, "roles out of order: there is no answer to the last turn, system"),
    ],
    "sharegpt": [
        ({"conversations": [HUMAN, GPT | {"value": ""}]}, "conversations, turn 2 (gpt): value is empty"),
        ({"conversations": [HUMAN, {"from": "bot", "value": "x"}]}, "turn 2 has the role 'bot'"),
    ],
    "prompt/completion": [
        ({"prompt": "When?", "completion": ""}, "completion is empty"),
        ({"prompt": "When?", "completion": 1.5}, "completion is a number, not a text"),
        ({"prompt": "When?", "completion": {"role": "x"}}, "completion is an object, not a text"),
        ({"prompt": [USER, ANSWER], "completion": "x"}, "roles out of order: turn 3 is assistant, not user"),
    ],
    "preference": [
        ({"prompt": "When?", "chosen": "x", "rejected": "x"}, "chosen equals rejected"),
        ({"prompt": "When?", "chosen": "x", "rejected": ""}, "rejected is empty"),
        ({"chosen": "x", "rejected": "y"}, "prompt is missing"),
        ({"chosen": [USER, ANSWER], "rejected": [ANSWER]}, "do not answer the same turn of a user"),
        ({"chosen": [USER, ANSWER], "rejected": [USER | {"content": "Who?"}, ANSWER]}, "not answer the same"),
        ({"prompt": "When?", "chosen": "x"}, "rejected is missing"),
        ({"chosen": "\n\nHuman: When?\n\nAssistant:", "rejected": "\n\nHuman: When?\n\nAssistant: x"},
         "chosen, turn 2 (gpt): value is empty"),
    ],
    "kto": [
        ({"prompt": "When?", "completion": "x", "label": "perhaps"}, "label is 'perhaps', not true or false"),
        ({"prompt": "When?", "completion": "x"}, "label is None, not true or false"),
    ],
    "text/label": [
        ({"text": "When?", "label": None}, "label is missing"),
        ({"text": "When?", "label": 1.5}, "label is a number, not a text"),
        ({"text": "When?", "label": -1}, "label is -1, which mostly means no label"),
        ({"text": "When?", "label": "-1"}, "label is -1, which mostly means no label"),
        ({"text": "", "label": "x"}, "text is empty"),
    ],
}  # fmt: skip
CASES = [(format, row, reason) for format, cases in BAD.items() for row, reason in cases]


@pytest.mark.parametrize("format, row, reason", CASES, ids=[f"{case[0]}: {case[2]}" for case in CASES])
def test_a_bad_row_is_reported_with_its_number_its_line_and_the_reason(format, row, reason, tmp_path):
    good = ROWS[format]
    records = data.read(lines(tmp_path / "a.jsonl", good, "", good, row, good))
    assert (records.format, records.rows, len(records.used)) == (format, 4, 3)
    [(number, text)] = reported(records).items()
    assert number == 3 and text.startswith("line 4: ") and reason in text


@pytest.mark.parametrize("problem, reason", [
    ("{\"text\": \"a\", ", "not JSON: Expecting property name"), ("[1, 2]", "is a list, not an object"),
    ("null", "is a null, not an object"), ("\"text\"", "is a text, not an object"),
    ("nan", "not JSON: Expecting value: column 1 (char 0)"), ("[" * 100_000, "not JSON: maximum recursion"),
    ("1" * 5000, "not JSON: Exceeds the limit"),
])  # fmt: skip
def test_a_line_that_holds_no_object_is_reported(problem, reason, tmp_path):
    records = data.read(lines(tmp_path / "a.jsonl", ROWS["text/label"], problem))
    assert list(reported(records)) == [2] and reported(records)[2].startswith(f"line 2: {reason}")


def test_a_row_of_another_format_is_reported_and_the_majority_decides(tmp_path):
    alpaca, sharegpt = ROWS["alpaca"], ROWS["sharegpt"]
    records = data.read(lines(tmp_path / "a.jsonl", sharegpt, alpaca, alpaca))
    assert (records.format, reported(records)) == ("alpaca", {1: "line 1: instruction is missing"})
    records = data.read(lines(tmp_path / "a.jsonl", alpaca, sharegpt, sharegpt))
    assert (records.format, reported(records)) == ("sharegpt", {1: "line 1: conversations is missing"})
    assert data.read(lines(tmp_path / "a.jsonl", sharegpt, alpaca)).format == "alpaca", "the first in SHAPES"


def test_a_reason_names_the_column_as_the_file_does(tmp_path):
    good = {"text": "t", "category": "c"}
    records = data.read(lines(tmp_path / "a.jsonl", good, good | {"category": " "}, {"text": "t"}))
    assert reported(records) == {2: "line 2: category is empty", 3: "line 3: category is missing"}


def test_lines_end_at_line_feeds_only(tmp_path):
    row = {"text": "one\u2028two\u0085three", "label": "x"}
    (tmp_path / "a.jsonl").write_bytes((json.dumps(row, ensure_ascii=False) + "\r\n").encode() * 2)
    assert data.read(tmp_path / "a.jsonl").used == [row, row]


def test_cells_of_csv_hold_line_breaks_and_blank_lines_are_no_rows(tmp_path):
    content = b'text,label\r\n"one,\ntwo ""2""",a\r\n\r\nthree,b\r\nfour\r\nfive,b,c\r\n"six"x,b\r\nseven,a'
    (tmp_path / "a.csv").write_bytes(content)
    records = data.read(tmp_path / "a.csv")
    assert [row["text"] for row in records.used] == ['one,\ntwo "2"', "three", "seven"]
    assert records.rows == 6 and reported(records) == {
        3: "line 6: has 1 cells, and the header has 2",
        4: "line 7: has 3 cells, and the header has 2",
        5: "line 8: wrong quotes, ',' expected after '\"'",
    }


def test_a_cell_may_be_long_and_the_limit_of_csv_is_as_before(tmp_path):
    limit = csv.field_size_limit()
    rows = [{"text": "x" * (2 * limit), "label": "long"}]
    assert data.read(write(tmp_path / "a.csv", rows)).used == rows
    assert csv.field_size_limit() == limit


# Rows in = used + reported, whatever the rows are

NAMES = st.sampled_from(
    ["instruction", "input", "output", "messages", "conversations", "prompt", "completion", "chosen",
     "rejected", "label", "text", "category", "question", "answer", "role", "content", "from", "value"]
)  # fmt: skip
TRANSCRIPT = "\n\nHuman: a\n\nAssistant: b"
TEXTS = st.sampled_from(["user", "assistant", "human", "gpt", "system", "true", "", " ", TRANSCRIPT])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
SEVERAL = st.lists(st.dictionaries(NAMES, VALUES, max_size=5) | VALUES, min_size=1, max_size=6)


@pytest.mark.parametrize("format", BAD)
@given(drawn=st.data())
def test_exactly_the_bad_rows_are_reported_wherever_they_are(format, drawn, tmp_path_factory):
    kinds = drawn.draw(st.lists(st.sampled_from([None, *range(len(BAD[format]))]), max_size=8))
    kinds.insert(drawn.draw(st.integers(0, len(kinds))), None)
    kinds += [None] * len(kinds)  # a bad row may look like a good one of another format: the majority decides
    rows = [ROWS[format] if kind is None else BAD[format][kind][0] for kind in kinds]
    records = data.read(lines(tmp_path_factory.getbasetemp() / f"{len(format)}.jsonl", *rows))
    assert (records.format, records.rows) == (format, len(rows))
    assert list(reported(records)) == [number for number, kind in enumerate(kinds, 1) if kind is not None]
    assert len(records.used) + len(records.reported) == records.rows


@settings(SHARED, max_examples=200)
@given(rows=SEVERAL, container=st.sampled_from(["json", "jsonl"]))
def test_any_rows_are_used_or_reported_and_those_used_hold_a_conversation(rows, container, tmp_path):
    path = tmp_path / f"a.{container}"
    rows = [ROWS["alpaca"]] * (container == "jsonl") + rows  # a single line with a list would be JSON
    dumped = [json.dumps(row) for row in rows]
    path.write_text("\n".join(dumped) if container == "jsonl" else f"[{','.join(dumped)}]")
    try:
        records = data.read(path)
    except data.NoUsableRow as error:
        records = error.records
        assert not records.used and len(records.reported) > 0
    assert len(records.used) + len(records.reported) == records.rows == len(rows)
    assert [row.row for row in records.reported] == sorted({row.row for row in records.reported})
    for record in records.used if records.format != "text" else ():
        roles = [message["role"] for message in data.messages(record, records.format)]
        assert roles[roles[0] == "system" :] == ["user", "assistant"] * (len(roles) // 2)


@settings(SHARED, max_examples=200)
@given(
    content=st.binary() | st.text().map(str.encode),
    suffix=st.sampled_from([*data.READERS, ".gz", ".zst", ".x", ""]),
)
def test_any_bytes_are_rows_or_one_clear_error(content, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    try:
        records = data.read(path)
    except WorkbookError as error:
        assert "\n" not in str(error) and str(path) in str(error)
    else:
        assert len(records.used) + len(records.reported) == records.rows > 0


@pytest.mark.parametrize("container", ["json", "json.gz", "jsonl.zst", "parquet"])
@settings(SHARED, max_examples=40)
@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_off_anywhere_is_never_read_as_a_whole_one(container, cut, tmp_path):
    rows = [ROWS["alpaca"] | {"input": str(number)} for number in range(5)]
    whole = write(tmp_path / f"whole.{container}", rows).read_bytes().rstrip()
    path = tmp_path / f"cut.{container}"
    path.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(WorkbookError, match=r"truncated|cut off|is empty|is no |no readable Parquet"):
        data.read(path)


def test_jsonl_that_is_cut_off_reports_its_last_line(tmp_path):
    content = write(tmp_path / "a.jsonl", [ROWS["alpaca"]] * 3).read_bytes()
    (tmp_path / "a.jsonl").write_bytes(content[:-20])
    records = data.read(tmp_path / "a.jsonl")
    assert len(records.used) == 2 and reported(records)[3].startswith("line 3: not JSON: Unterminated string")


# What cannot be read at all

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n".encode()
PAGE = b"\n<!DOCTYPE html>\n<html><body>404</body></html>"
GOOD = json.dumps([ROWS["alpaca"]] * 9).encode()
ZST = pyarrow.Codec("zstd").compress(GOOD, asbytes=True)
REFUSED = {
    "an empty file": ("a.jsonl", b"", "is empty"),
    "a blank file": ("a.csv", b" \n\n", "is empty"),
    "an empty archive": ("a.json.gz", gzip.compress(b""), "is empty"),
    "an empty list": ("a.json", b"[]", "has no rows"),
    "a header alone": ("a.csv", b"text,label\n", "has no rows"),
    "a Git-LFS pointer": ("a.parquet", POINTER, "is a Git-LFS pointer, not the data: fetch that with `git"),
    "a pointer for an archive": ("a.jsonl.gz", POINTER, "is a Git-LFS pointer"),
    "an HTML page": ("a.json", PAGE, "is an HTML page, not data"),
    "an HTML page for an archive": ("a.csv.gz", PAGE, "is an HTML page, not data"),
    "an HTML page in an archive": ("a.csv.gz", gzip.compress(PAGE), "is an HTML page, not data"),
    "a truncated gzip": ("a.json.gz", gzip.compress(GOOD)[:-9], "gzip file is truncated: fetch it again"),
    "a damaged gzip": ("a.json.gz", gzip.compress(GOOD)[:-8] + bytes(8), "this gzip file is damaged"),
    "a gzip that is none": ("a.json.gz", GOOD, "is no .gz file, whatever its name says"),
    "a zst that is none": ("a.json.zst", GOOD, "is no .zst file, whatever its name says"),
    "a truncated zst": ("a.json.zst", ZST[:-3], "zstd file is truncated"),
    "a spreadsheet": ("a.csv", b"PK\x03\x04\x14\x00", "is a zip archive, as Excel files are: unpack it"),
    "a database": ("a.csv", b"SQLite format 3\x00", "is an SQLite database: name it as sqlite:///FILE?table="),
    "UTF-16": ("a.csv", "text,label\n".encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
    "UTF-16 without a mark": ("a.csv", ("text,label\n" * 9).encode("utf-16-be"), "is UTF-16 text without a"),
    "UTF-16 in an archive": ("a.csv.gz", gzip.compress("text\n".encode("utf-16")), "is UTF-16 text: save it"),
    "invalid UTF-8": ("a.csv", b"text,label\nabc,\xff\n", "byte 0xff at byte position 15 (line 2); save"),
    "JSON that is cut off": ("a.json", GOOD[:-30], "cut off or broken: Unterminated string starting at: "),
    "JSON that is cut off after a row": ("a.json", GOOD[:-1], "cut off or broken: Expecting ',' delimiter: "),
    "JSON that is wrong": ("a.json", b'[{"a" 1}]', "not valid JSON: Expecting ':' delimiter: line 1 column"),
    "JSON that is nested too deeply": ("a.json", b"[" * 100_000 + b"]" * 100_000, "maximum recursion depth"),
    "Parquet that is none": ("a.parquet", b"PAR2", "is no readable Parquet file"),
    "an unknown kind": ("a.wav", b"RIFF", "unknown kind of file '.wav'; known are .csv, .tsv, .json,"),
    "no kind at all": ("a", b"text,label\na,b\n", "unknown kind of file ''"),
    "a header with a name twice": ("a.csv", b"text,label,text\na,b,c\n", "header: two columns of one"),
    "a header with wrong quotes": ("a.csv", b'"text"x,label\na,b\n', "line 1, the header: wrong quotes"),
    "a quote that is never closed": ("a.csv", b'text,label\na,b\n"c,b\nd,b\n', "quote is opened in line 3"),
    "no usable line": ("a.jsonl", b'{"text": \nx\n', "has no usable row: row 1 of 2: line 1: not JSON"),
    "no usable row": ("a.json", b'{"messages": []}', "has no usable row: row 1 of 1: messages is empty"),
    "no known format": ("a.csv", b"id,prompt\n1,x\n", "its columns are id, prompt, and a row needs inst"),
    "a list of texts": ("a.json", b'["a", "b"]', "row 1 of 2: is a text, not an object with named fields"),
}  # fmt: skip


@pytest.mark.parametrize("name, content, what", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_one_clear_error_that_names_the_file(name, content, what, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WorkbookError) as caught:
        data.read(tmp_path / name)
    assert what in str(caught.value)
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_an_error_that_suggests_the_closest_name(tmp_path):
    (tmp_path / "instruction-data.json").write_text("[]")
    for source, what in [
        (tmp_path / "instruction_data.json", "; did you mean 'instruction-data.json'?"),
        (tmp_path / "zzz", "there is no file '"),
        (tmp_path / "data" / "a.json", f"there is no folder '{tmp_path / 'data'}'"),
        (tmp_path, "is a folder: name a file in it"),
        ("x" * 5000, "there is no file 'xxx"),
        ("no\0file", "there is no file"),
    ]:
        with pytest.raises(WorkbookError) as caught:
            data.read(source)
        assert what in str(caught.value)


if Path("/proc/self/mem").exists():  # a file of Linux that refuses to be read, even to root

    def test_a_file_that_may_not_be_read_is_an_error_that_says_so(tmp_path):
        (tmp_path / "a.json").symlink_to("/proc/self/mem")
        with pytest.raises(WorkbookError, match="cannot be read: Input/output error"):
            data.read(tmp_path / "a.json")


@pytest.mark.parametrize("name", ["a\nb", "\ud800", "\x1b[2J"])
def test_a_name_that_cannot_be_printed_is_shown_in_one_line(tmp_path, name):
    shown = repr(name)[1:-1]
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({name: 1}) + "\n")
    with pytest.raises(WorkbookError) as caught:
        data.read(path)
    assert f"its columns are {shown}, and" in str(caught.value) and "\n" not in str(caught.value)
    path.write_text(json.dumps({"text": "a", "label": "b", name: 1}) + "\n")
    assert f"columns: text, label, {shown}\n" in str(data.read(path))


def test_a_quote_that_swallows_lines_is_reported_with_where_it_ends(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"open,x\n' + "more,x\n" * 3 + 'closed",x,y\nfine,x\n')
    records = data.read(path)
    assert records.used == [{"text": "fine", "label": "x"}]
    [row] = records.reported
    assert row.row == 1 and row.reason.startswith("line 2: has 3 cells, and the header has 2")
    assert row.reason.endswith("(the row goes on to line 6: is a quote never closed?)")


def test_conversations_keeps_what_can_be_trained_on_and_reports_the_rest_by_its_row(tmp_path, tiny_tokenizer):
    rows = [
        {"prompt": "a", "completion": "good", "label": True},
        {"prompt": "a", "completion": "bad", "label": False},
        {"prompt": "", "completion": "good", "label": True},
        {"prompt": "long " * 100, "completion": "good", "label": True},
        {"prompt": "<|user|>", "completion": "good", "label": True},
        {"prompt": "b", "completion": "long " * 100, "label": True},
    ]
    path = write(tmp_path / "a.json", rows)
    found = data.conversations(str(path), tiny_tokenizer, max_length=64, at_least=2)
    assert [row[0]["content"] for row in found.used] == ["a", "b"] and found.rows == 6
    reasons = ["its label is false", "prompt is empty", "begins after 64 tokens", "holds the special token"]
    assert [row.row for row in found.reported] == [2, 3, 4, 5]
    for row, reason in zip(found.reported, reasons, strict=True):
        assert reason in row.reason
    with pytest.raises(WorkbookError, match="rows to train on: 2, and this needs 20: row 2: its"):
        data.conversations(str(path), tiny_tokenizer, max_length=64)


def test_a_later_answer_that_no_prompt_reaches_is_reported(tmp_path, tiny_tokenizer):
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b " * 70}]
    path = write(tmp_path / "a.json", [{"messages": turns}, {"messages": [*turns, *turns]}])
    found = data.conversations(str(path), tiny_tokenizer, max_length=64, at_least=1)
    assert [row.row for row in found.reported] == [2] and found.used == [turns]


def test_plain_text_is_no_conversation(tmp_path, tiny_tokenizer):
    (tmp_path / "a.txt").write_text("a\n\nb\n")
    with pytest.raises(WorkbookError, match="text has no turns"):
        data.conversations(str(tmp_path / "a.txt"), tiny_tokenizer, max_length=64)


def test_when_no_row_is_usable_the_error_holds_the_report(tmp_path):
    row = {"conversations": [HUMAN, GPT | {"value": ""}]}
    with pytest.raises(data.NoUsableRow) as caught:
        data.read(write(tmp_path / "a.json", [row]))
    assert data.inspect_report(caught.value.records) == {
        "format": "sharegpt",
        "rows": 1,
        "used": 0,
        "reported": [{"row": 1, "reason": "conversations, turn 2 (gpt): value is empty"}],
        "left_out": [],
        "notes": [],
        "example": None,
    }


def test_the_report_and_the_summary_say_format_columns_and_rows(tmp_path):
    path = lines(tmp_path / "a.jsonl", ROWS["alpaca"], *[{"instruction": "x"}] * 22, *[ROWS["alpaca"]] * 30)
    records = data.read(path)
    report = data.inspect_report(records)
    assert json.loads(json.dumps(report)) == report
    assert (report["format"], report["rows"], report["used"]) == ("alpaca", 53, 31)
    assert len(report["reported"]) == 22
    assert report["reported"][0] == {"row": 2, "reason": "line 2: output is missing"}
    summary = str(records).splitlines()
    assert summary[:3] == [
        f"{path}: alpaca", "columns: instruction, input, output", "rows: 53 = 31 used + 22 reported"
    ]  # fmt: skip
    assert summary[3] == "  row 2: line 2: output is missing" and summary[-1] == "  and 2 more"


# What stands beside question and answer reaches the model, or is named

CALLED = ANSWER | {"content": "", "tool_calls": [CALL]}
SENT = ANSWER | {"content": None, "tool_calls": [CALL | {"function": TIDE | {"arguments": '{"day": 1}'}}]}
LINE = '{"name": "tide", "parameters": {}}'
OFFERED = [json.loads(LINE)]


def said(text, role="user"):
    return {"role": role, "content": text}


BELOW = said("It left.\n\nWhen?")
THOUGHT = ANSWER | {"reasoning_content": "Tides."}
PART = {"type": "text", "text": "When?"}
BESIDE = [
    ({"system": "Be short.", **ROWS["alpaca"]}, [SYSTEM, USER, ANSWER], []),
    ({"system": "", **ROWS["alpaca"]}, [USER, ANSWER], []),
    ({"system": "Be short.", **ROWS["sharegpt"]}, [SYSTEM, USER, ANSWER], []),
    ({"system": "Be short.", "messages": [SYSTEM, USER, ANSWER]}, [SYSTEM, USER, ANSWER], ["system"]),
    ({"system_prompt": "Be short.", "question": "When?", "answer": "At noon."}, [SYSTEM, USER, ANSWER], []),
    ({"system_message": "Be short.", **ROWS["text/label"]}, [SYSTEM, USER, ANSWER], []),
    ({"system": "Be short.", **ROWS["preference"]}, [SYSTEM, USER, ANSWER], []),
    ({"system": "Be short.", **ROWS["kto"]}, [SYSTEM, USER, ANSWER], []),
    ({"messages": [said(" ", "system"), USER, ANSWER]}, [USER, ANSWER], []),
    ({"messages": [said(None, "system"), USER, ANSWER]}, [USER, ANSWER], []),
    ({"context": "It left.", "question": "When?", "answer": "At noon."}, [BELOW, ANSWER], []),
    ({"passage": "It left.", **ROWS["kto"]}, [BELOW, ANSWER], []),
    ({"context": "It left.", **ROWS["preference"]}, [BELOW, ANSWER], []),
    ({"context": "c", "instruction": "When?", "input": "i", "output": "At noon."},
     [said("c\n\nWhen?\n\ni"), ANSWER], []),
    ({"context": "Whe", **ROWS["prompt/completion"]}, [USER, ANSWER], ["context"]),
    ({"context": "It left.", **ROWS["messages"]}, [USER, ANSWER], ["context"]),
    ({"tools": OFFERED, **ROWS["messages"]}, [said(LINE, "system"), USER, ANSWER], []),
    ({"tools": f"[{LINE}]", "messages": [SYSTEM, USER, ANSWER]},
     [said(f"Be short.\n{LINE}", "system"), USER, ANSWER], []),
    ({"tools": "a hammer", **ROWS["prompt/completion"]}, [USER, ANSWER], ["tools"]),
    ({"messages": [USER, SENT, RESULT, ANSWER]}, [USER, CALLED, RESULT, ANSWER], []),
    ({"messages": [USER, CALLED | {"content": "I look."}]}, [USER, CALLED | {"content": "I look."}], []),
    ({"messages": [USER, CALLED, RESULT, RESULT, ANSWER, USER, ANSWER]},
     [USER, CALLED, RESULT, RESULT, ANSWER, USER, ANSWER], []),
    ({"messages": [USER, ANSWER | {"tool_calls": [TIDE | {"arguments": ""}]}]},
     [USER, ANSWER | {"tool_calls": [{"type": "function", "function": TIDE | {"arguments": {}}}]}], []),
    ({"messages": [USER, CALLED, RESULT | {"name": "tide", "tool_call_id": "c1"}, ANSWER]},
     [USER, CALLED, RESULT | {"name": "tide", "tool_call_id": "c1"}, ANSWER], []),
    ({"conversations": [HUMAN, GPT | {"tool_calls": [CALL]}]}, [USER, ANSWER | {"tool_calls": [CALL]}], []),
    ({"messages": [USER, THOUGHT]}, [USER, THOUGHT], []),
    ({"messages": [USER, ANSWER | {"thinking": "Tides."}]}, [USER, THOUGHT], []),
    ({"messages": [USER, ANSWER | {"reasoning": ""}]}, [USER, ANSWER], []),
    ({"messages": [USER, OTHER | {"weight": 0}, USER, ANSWER | {"weight": 1}]},
     [USER, OTHER | {"weight": 0}, USER, ANSWER], []),
    ({"messages": [said([PART | {"text": "Boats."}, PART]), ANSWER], "images": []},
     [said("Boats.\nWhen?"), ANSWER], []),
    ({"messages": [USER | {"weight": 1, "date": "June"}, ANSWER | {"train": False}], "id": 7, "note": ""},
     [USER, ANSWER], ["id", "weight", "date", "train"]),
    ({"question": "When?", "answer": 12}, [USER, said("12", "assistant")], []),
    ({"instruction": "When?", "output": 12}, [USER, said("12", "assistant")], []),
    ({"text": "When?", "label": True}, [USER, said("True", "assistant")], []),
    ({"id": 7, "problem": "When?", "solution": "At noon.", "answer": "x"}, [USER, ANSWER], ["id", "answer"]),
]  # fmt: skip


@pytest.mark.parametrize("row, expected, left_out", BESIDE)
def test_what_stands_beside_question_and_answer_reaches_the_model_or_is_named(
    row, expected, left_out, tmp_path
):
    records = data.read(lines(tmp_path / "a.jsonl", row, row))
    assert [data.messages(record, records.format) for record in records.used] == [expected] * 2
    assert (sorted(records.left_out), records.reported) == (sorted(left_out), [])
    assert (f"left out: {', '.join(records.left_out)}\n" in str(records)) == bool(left_out)


def test_a_column_that_reaches_the_model_in_one_row_is_not_left_out(tmp_path):
    rows = [ROWS["alpaca"], ROWS["alpaca"] | {"input": "Of June", "id": 3}, ROWS["alpaca"]]
    assert data.read(lines(tmp_path / "a.jsonl", *rows)).left_out == ["id"]
    rows = [{"text": "a", "page": 3}, {"text": "b"}]
    assert data.read(lines(tmp_path / "a.jsonl", *rows)).left_out == ["page"]


@pytest.mark.parametrize("label", ["label", "kto_tag"])
@pytest.mark.parametrize("good, bad", [(True, False), (1, 0), (1.0, 0.0), ("1.0", "0.0"), ("True", "false")])
@pytest.mark.parametrize("row", [ROWS[name] for name in list(ROWS)[:4]], ids=list(ROWS)[:4])
def test_a_verdict_beside_any_dialogue_makes_it_kto(row, good, bad, label, tmp_path, tiny_tokenizer):
    rows = [row | {label: verdict} for verdict in (bad, good, bad)]
    records = data.read(lines(tmp_path / "a.jsonl", *rows))
    assert (records.format, [record["label"] for record in records.used]) == ("kto", [False, True, False])
    assert records.used[0]["prompt"] == [USER] and records.used[0]["completion"] == [ANSWER]
    found = data.trainable(records, tiny_tokenizer)
    assert found.used == [[USER, ANSWER]] and [row.row for row in found.reported] == [1, 3]
    assert found.notes[0].startswith("2 answers are undesired (labelled false) and kept out")


def test_a_label_of_many_classes_makes_no_kto(tmp_path):
    rows = [ROWS["alpaca"] | {"label": number} for number in range(5)]
    records = data.read(lines(tmp_path / "a.jsonl", *rows))
    assert (records.format, records.left_out, len(records.used)) == ("alpaca", ["label"], 5)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_the_header_says_what_parts_the_cells_whatever_the_name(delimiter, name, tmp_path):
    rows = [["text", "label"], ["The old one, is lit; no? a|b\tc", "x"], ['said "no"\nand left', "y"]]
    with (tmp_path / name).open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    assert data.read(tmp_path / name).used == [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    (tmp_path / name).write_text('"a;b;text",label\nc,d\n')
    with pytest.raises(WorkbookError, match="its columns are a;b;text, label, and a row needs"):
        data.read(tmp_path / name)


@pytest.mark.parametrize("name, delimiter, count", [("a.tsv", "\t", 2), ("a.csv", ",", 3)])
def test_lines_that_an_open_quote_merges_are_reported(name, delimiter, count, tmp_path):
    texts = ["text", "a", '"Quiet', *["more"] * (count - 2), 'end"']
    rows = [f"{text}{delimiter}{'x' if row else 'label'}" for row, text in enumerate(texts)]
    (tmp_path / name).write_text("\n".join(["\n", *rows, f"b{delimiter}x"]))
    records = data.read(tmp_path / name)
    assert [row["text"] for row in records.used] == ["a", "b"]
    what = f"line 5: merges lines that look like rows (the row goes on to line {4 + count}: is a quote never"
    assert what in reported(records)[2]


@pytest.mark.parametrize("whole, note", [
    ({"version": 1, "data": [ROWS["alpaca"]] * 3},
     "the rows are those of 'data'; not read: version (no rows)"),
    ({"test": [ROWS["alpaca"]], "train": [ROWS["alpaca"]] * 3},
     "the rows are those of 'train'; not read: test (1 rows)"),
    ({"rows": [ROWS["alpaca"]] * 3}, "the rows are those of 'rows'"),
    ({f"{number:03}": ROWS["alpaca"] for number in range(3)}, "the rows are the values of an object; its"),
])  # fmt: skip
def test_rows_inside_an_object_are_found_and_what_is_not_read_is_said(whole, note, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(whole))
    records = data.read(tmp_path / "a.json")
    assert records.used == [ROWS["alpaca"]] * 3 and records.notes[0].startswith(note)
    assert records.notes[0] in str(records)


def test_plain_text_with_an_item_a_line_is_said_to_be_read_by_paragraphs(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n\nthree\n")
    assert data.read(tmp_path / "a.txt").notes == [
        "a row is a paragraph: 2 of 3 lines. Where a line is an item, part the lines by blank ones "
        "(sed G FILE > NEW), or save them as CSV or JSONL"
    ]
    (tmp_path / "a.txt").write_text("one\n\ntwo\n\nthree\n")  # what sed G makes of three lines
    assert data.read(tmp_path / "a.txt").notes == [] and data.read(tmp_path / "a.txt").rows == 3


@pytest.mark.parametrize("container", ["jsonl", "jsonl.gz", "jsonl.zst", "parquet"])
def test_a_file_that_unpacks_into_more_than_the_limit_is_refused_before_it_fills_memory(
    container, tmp_path, monkeypatch
):
    path = write(tmp_path / f"a.{container}", [{"text": "a" * 2**20}] * 12)
    assert container == "jsonl" or path.stat().st_size < 2**16, "a small file"
    assert data.read(path).rows == 12
    monkeypatch.setattr(data, "LIMIT", 2**22)
    drawn = []
    plain = data._within

    def counted(source, parts, size=len):
        return plain(source, (drawn.append(size(part)) or part for part in parts), size)

    monkeypatch.setattr(data, "_within", counted)
    with pytest.raises(WorkbookError, match=r"holds more than 4 MB, unpacked: take a part of it"):
        data.read(path)
    assert sum(drawn) < 13 * 2**20


@pytest.mark.parametrize("rows", [
    [{"x" * 5000: 1}], [{f"column {number}": 1 for number in range(3000)}], ["x" * 5000],
    [{"messages": [{"role": "r" * 5000, "content": "c"}]}], [{"messages": [USER], "y" * 5000: [1]}],
    [ROWS["kto"] | {"label": "l" * 5000}, *[ROWS["kto"]] * 2],
])  # fmt: skip
def test_no_error_and_no_reason_is_longer_than_a_line_of_300_signs(rows, tmp_path):
    path = tmp_path / ("n" * 200 + ".json")
    path.write_text(json.dumps(rows))
    try:
        records = data.read(path)
    except data.NoUsableRow as error:
        assert len(str(error)) <= 300 and "\n" not in str(error)
        records = error.records
    assert records.reported and all(len(row.reason) <= 300 for row in records.reported)


# What can be trained on


def test_answers_that_are_cut_end_marks_and_one_question_for_all_are_said(tmp_path, tiny_tokenizer):
    texts = ["b</s> \n", "c</s></s>", "<|endoftext|>", "long " * 600, "Alder<|eos|>", "<s>struck</s> out"]
    rows = [{"prompt": "a", "completion": text} for text in texts]
    found = data.trainable(data.read(write(tmp_path / "a.json", rows)), tiny_tokenizer, max_length=64)
    answers = [conversation[-1]["content"] for conversation in found.used]
    assert answers == ["b", "c", "<|endoftext|>", "long " * 600, "Alder", "<s>struck</s> out"]
    assert found.notes == [
        "3 rows have an end mark in an answer: taken off, as the template adds one",
        "1 rows have more than 64 tokens: their last answer is cut and loses its end",
        "6 rows ask 1 questions, and those that ask the same stay together: part 2 gets none, "
        "so no row is left to test on",
    ]


def test_rows_that_a_template_refuses_or_leaves_half_out_are_reported_and_the_others_used(tmp_path):
    tokenizer = tiny.make_tokenizer()
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turns') }}{% endif %}"
    rows = [{"messages": messages} for messages in ([USER, ANSWER], [SYSTEM, USER, ANSWER])]
    rows += [{"messages": [said("b"), CALLED]}, {"messages": [said("c"), ANSWER | {"thinking": "Tides."}]}]
    records = data.read(write(tmp_path / "a.json", rows))
    tokenizer.chat_template = refusing + data.CHAT_TEMPLATE.replace("message['tool_calls']", "[]")
    found = data.trainable(records, tokenizer)
    assert reported(found) == {
        2: "the chat template cannot render this: no system turns",
        3: "the chat template leaves out the tool calls",
    }
    assert len(found.used) == 2 and found.left_out == []
    tokenizer.chat_template = data.CHAT_TEMPLATE.replace("message['reasoning_content']", "''")
    found = data.trainable(records, tokenizer)
    assert len(found.used) == 4 and found.left_out == ["reasoning_content"]


def test_a_conversation_of_which_no_answer_carries_loss_is_reported(tmp_path, tiny_tokenizer):
    rows = [{"messages": [USER, ANSWER | {"weight": weight}]} for weight in (0, 1)]
    found = data.trainable(data.read(write(tmp_path / "a.json", rows)), tiny_tokenizer)
    assert reported(found) == {1: "no answer in it carries loss (weight 0)"}
    with pytest.raises(data.NoUsableRow, match="no row to train on: row 1: no answer in it") as caught:
        data.trainable(data.read(write(tmp_path / "a.json", rows[:1])), tiny_tokenizer)
    assert caught.value.records.reported == found.reported


def test_the_rejected_answers_of_pairs_are_named_as_left_out_of_supervised_training(tmp_path, tiny_tokenizer):
    records = data.read(write(tmp_path / "a.json", [ROWS["preference"]]))
    assert records.left_out == []
    found = data.trainable(records, tiny_tokenizer)
    assert (found.used, found.left_out) == ([[USER, ANSWER]], ["rejected"])


# Databases and the hub


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "my data.db"
    connection = sqlite3.connect(path)
    connection.execute('CREATE TABLE "the reviews" (text TEXT, label TEXT)')
    rows = [("50 % off: see a:b", "x"), ("", "x"), ("fine", None)]
    connection.executemany('INSERT INTO "the reviews" VALUES (?, ?)', rows)
    connection.commit()
    connection.close()
    return path


def test_a_table_and_a_query_of_a_database_are_read(database):
    records = data.read(f"sqlite:///{database}?table=the+reviews")
    assert (records.format, records.rows, records.source) == ("text/label", 3, f"sqlite:///{database}")
    assert records.used == [{"text": "50 % off: see a:b", "label": "x"}]
    assert reported(records) == {2: "text is empty", 3: "label is missing"}
    query = "SELECT text AS prompt, label AS completion FROM 'the reviews' WHERE text LIKE '50 %25: see a:b'"
    assert data.read(f"sqlite:///{database}?query={query}").format == "prompt/completion"


@pytest.mark.parametrize("end, what", [
    ("", "say which rows, with ?table=NAME or with ?query=SELECT..."),
    ("?table=reviews&query=SELECT+1", "say which rows"),
    ("?table=reviews", "no such table: reviews"),
    ("?query=SELEC", 'near "SELEC": syntax error'),
    ("?query=DROP+TABLE+%22the+reviews%22", "attempt to write a readonly database"),
])  # fmt: skip
def test_a_wrong_sql_url_is_one_clear_error_and_nothing_is_changed(database, end, what):
    before = database.read_bytes()
    with pytest.raises(WorkbookError) as caught:
        data.read(f"sqlite:///{database}{end}")
    assert what in str(caught.value) and "\n" not in str(caught.value)
    assert database.read_bytes() == before


@pytest.mark.parametrize("source, what", [
    ("sqlite:///missing.db?table=t", "there is no database file 'missing.db'"),
    ("sqlite://?table=t", "there is no database file None"),
    ("https://example.org/data.csv", "must be an SQL URL"),
    ("postgresql+nodriver://me:secret@host/db?table=t", "postgresql+nodriver://me:***@host/db cannot"),
    ("postgresql://me:secret@host:port/db?table=t", "postgresql://... cannot be read"),
    ("postgresql+nodriver://host/db?user=me&password=secret&table=t", "postgresql+nodriver://host/db cannot"),
    ("mssql+nodriver:///?odbc_connect=UID%3Dme%3BPWD%3Dsecret&table=t", "mssql+nodriver:/// cannot be read"),
    ("://", "cannot be read"),
])  # fmt: skip
def test_what_is_no_database_is_one_clear_error_without_a_password(source, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WorkbookError) as caught:
        data.read(source)
    assert what in str(caught.value) and "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_of_the_hub_that_is_cached_is_read_offline(tmp_path):
    import datasets

    path = write(tmp_path / "train.json", [ROWS["alpaca"], ROWS["alpaca"] | {"output": ""}])
    made = datasets.load_dataset("json", data_files=str(path), cache_dir=str(tmp_path / "cache"))["train"]
    made = Path(made.cache_files[0]["filename"]).parent
    place = Path(datasets.config.HF_DATASETS_CACHE) / "nobody___small" / "default" / "0.0.0" / ("0" * 40)
    place.parent.mkdir(parents=True)
    made.rename(place)
    (place / "json-train.arrow").rename(place / "small-train.arrow")
    records = data.read("nobody/small")
    assert (records.format, records.source, len(records.used)) == ("alpaca", "nobody/small, split train", 1)
    assert reported(records) == {2: "output is empty"}


def test_a_data_set_that_is_not_there_offline_is_one_clear_error():
    with pytest.raises(WorkbookError) as caught:
        data.read("nobody/nothing")
    assert str(caught.value).startswith("'nobody/nothing' is no file here, and cannot be read from the hub: ")
    assert "\n" not in str(caught.value)


# The shipped data


def test_shipped_sets_are_loaded_by_name_and_a_wrong_name_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "DATA", tmp_path)
    rows = [{"id": "1", "messages": [USER, ANSWER | {"content": "\u2028"}]}]
    for name in ("triage/train.jsonl", "facts/facts.jsonl", "corpus/held_out.jsonl.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, rows)
    assert data.load("triage", "train") == data.load("facts", "facts") == rows
    assert data.load("corpus", "held_out") == rows
    with pytest.raises(WorkbookError, match=r"no data triage/trian; did you mean 'triage/train'"):
        data.load("triage", "trian")
    with pytest.raises(WorkbookError, match=r"ships no data corpus/zzz"):
        data.load("corpus", "zzz")


# Splits

QUESTIONS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["x", "y"])), max_size=30)


@given(pairs=QUESTIONS, seed=st.integers(0, 5))
def test_a_split_keeps_every_row_once_and_no_question_is_in_two_parts(pairs, seed):
    rows = [{"text": text, "label": label, "id": number} for number, (text, label) in enumerate(pairs)]
    try:
        parts = data.split(rows, [0.6, 0.2, 0.2], seed)
    except WorkbookError as error:
        largest = max((sum(text == other for other, _ in pairs) for text, _ in pairs), default=0)
        asked = len({text for text, _ in pairs})
        assert f"{len(rows)} rows ask {asked} questions, and" in str(error)
        assert largest > 0.2 * len(rows) or asked < 6, "questions that differ enough reach every part"
        return
    assert sorted((row for part in parts for row in part), key=lambda row: row["id"]) == rows
    assert all(part == sorted(part, key=lambda row: row["id"]) for part in parts)
    questions = [{row["text"] for row in part} for part in parts]
    assert sum(map(len, questions)) == len(set.union(*questions))
    back = data.split(rows[::-1], [0.6, 0.2, 0.2], seed)
    assert [part[::-1] for part in back] == parts


def test_one_instruction_on_many_inputs_is_many_questions():
    rows = [{"instruction": "Sort this.", "input": f"text {number}", "output": "a"} for number in range(40)]
    assert [len(part) for part in data.split(rows, [0.5, 0.5], seed=0)] == [20, 20]


def test_a_split_has_the_sizes_it_was_asked_for_and_follows_from_the_seed():
    rows = [[{"role": "user", "content": f"question {number}"}, ANSWER] for number in range(1100)]
    first, again, other = (data.split(rows, [0.8, 0.1, 0.1], seed) for seed in (0, 0, 1))
    assert [len(part) for part in first] == [880, 110, 110]
    assert first == again != other


@pytest.mark.parametrize("same", [
    [{"text": "When  does it leave?", "label": "x"}, {"text": "when does it leave? ", "label": "y"}],
    [{"messages": [USER, ANSWER]}, {"messages": [USER, OTHER]}],
    [{"conversations": [HUMAN, GPT]}, {"conversations": [HUMAN, GPT | {"value": "No idea."}]}],
    [{"instruction": "a", "input": "b", "output": "c"}, {"instruction": "a", "input": "b", "output": "d"}],
    [{"prompt": [USER], "chosen": [ANSWER]}, {"prompt": [USER], "chosen": [OTHER]}],
    [[USER, ANSWER], [USER, OTHER]],
])  # fmt: skip
def test_rows_that_ask_the_same_stay_together_whatever_the_answer(same):
    others = [[{"role": "user", "content": f"question {number}"}, ANSWER] for number in range(2)]
    for seed in range(20):
        parts = data.split([*same, *others], [0.5, 0.5], seed)
        assert {tuple(row in part for row in same) for part in parts} == {(True, True), (False, False)}
    with pytest.raises(WorkbookError, match="2 rows ask 1 questions, and those that ask the same stay"):
        data.split(same, [0.8, 0.2], 0)


def test_an_input_below_the_same_instruction_asks_something_else():
    rows = [{"instruction": "a", "input": text, "output": "c"} for text in "bd"]
    assert list(map(len, data.split(rows, [0.5, 0.5], 0))) == [1, 1]
    rows = [{"context": text, "question": "a", "answer": "c"} for text in "bd"]
    assert list(map(len, data.split(rows, [0.5, 0.5], 0))) == [1, 1]
    rows = [{"messages": [said([PART | {"text": text}]), SENT]} for text in "bd"]
    assert list(map(len, data.split(rows, [0.5, 0.5], 0))) == [1, 1]


@pytest.mark.parametrize("fractions", [[], [0.5], [0.5, 0.6], [1.5, -0.5], [0.0, 1.0]])
def test_fractions_that_are_none_are_an_error(fractions):
    with pytest.raises(WorkbookError, match="must be positive and add up to 1"):
        data.split([{"text": "a"}], fractions, 0)
