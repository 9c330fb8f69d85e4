"""Files that nobody here wrote, in ../shared/data/real; a clone without them has no test here."""

import gzip
import json
from pathlib import Path

import pytest

from ftlib import data
from ftlib.settings import WorkbookError

REAL = Path(__file__).parents[2] / "shared" / "data" / "real"

# File: format, rows, reported row -> reason.
EQUAL = dict.fromkeys((123, 227, 401, 567, 629, 677), "chosen equals rejected")
READ = {
    "alpaca_teaching/instruction-data.json": ("alpaca", 1100, {}),
    "alpaca_teaching/instruction-data-with-preference.json": ("preference", 1100, EQUAL),
    "alpaca_teaching/instruction-examples.json": ("alpaca", 200, {}),
    "banking77/train.csv": ("text/label", 10003, {}),
    "banking77/test.csv": ("text/label", 3080, {}),
    "code_qa/HumanEval.jsonl.gz": ("prompt/completion", 164, {}),
    "code_qa/example_problem.jsonl": ("prompt/completion", 1, {}),
    "conversations/alpaca.json": ("alpaca", 2, {}),
    "conversations/conversation.json": ("sharegpt", 1, {}),
    "conversations/dummy_conversation.json": ("sharegpt", 500, {}),
    "math_qa/math500_test.json": ("prompt/completion", 500, {}),
    "math_qa/math_new50_exercise.json": ("prompt/completion", 50, {}),
    "preferences/chat_tiny.json": ("sharegpt", 1, {}),
    "preferences/hh_rlhf_tiny.json": ("preference", 1, {}),
    "prose/input.txt": ("text", 7222, {}),
    "prose/the-verdict.txt": ("text", 83, {}),
}
REFUSED = {
    "banking77/categories.json": "row 1 of 77: is a text, not an object with named fields",
    "code_qa/example_samples.jsonl": "its columns are task_id, completion, and a row needs",
    "conversations/conversation.missingturns.json": "1 of 1: conversations, turn 2 (gpt): value is empty",
    "ifeval/en_input_data.jsonl": "its columns are key, prompt, instruction_id_list, kwargs, and a row",
    "judge_questions/question.jsonl": "its columns are question_id, category, turns, reference, and a row",
    "judge_questions/reference_answer/gpt-4.jsonl": "its columns are question_id, answer_id, model_id",
    "preferences/vqa_tiny.json": "its columns are input, output, image, and a row needs",
    "seed_tasks/seed_tasks.jsonl": "its columns are id, name, instruction, instances, is_classification, and",
    "xstest/xstest_prompts.csv": "its columns are id, prompt, type, label, focus, note, and a row needs",
}
FILES = sorted(path.relative_to(REAL).as_posix() for path in REAL.rglob("*") if path.is_file())


def read_as_expected(name):
    format, rows, reported = READ[name]
    records = data.read(REAL / name)
    assert (records.format, records.rows) == (format, rows)
    assert {row.row: row.reason for row in records.reported} == reported
    assert len(records.used) + len(reported) == rows
    if format != "text":
        for record in records.used:
            conversation = data.messages(record, format)
            assert conversation[-1]["role"] == "assistant"
            assert all(turn["content"] for turn in conversation)


def refused_as_expected(name):
    with pytest.raises(WorkbookError) as caught:
        data.read(REAL / name)
    expected = REFUSED.get(name, f"unknown kind of file '{Path(name).suffix}'")
    assert expected in str(caught.value) and "\n" not in str(caught.value)


# Defined only where there is something to run on: without the files nothing is collected or skipped.
if FILES:

    @pytest.mark.parametrize("name", FILES)
    def test_a_real_file_is_recognised_or_refused_for_the_right_reason(name):
        read_as_expected(name) if name in READ else refused_as_expected(name)

    def test_white_space_that_matters_is_kept():
        records = data.read(REAL / "code_qa" / "HumanEval.jsonl.gz")
        lines = gzip.decompress((REAL / "code_qa" / "HumanEval.jsonl.gz").read_bytes()).splitlines()
        for record, line in zip(records.used, lines, strict=True):
            question, answer = (turn["content"] for turn in data.messages(record, records.format))
            assert {"prompt": question, "canonical_solution": answer}.items() <= json.loads(line).items()
            assert question[-1] == "\n" and answer[0].isspace()

    def test_cells_with_line_breaks_and_labels_are_as_they_were_published():
        records = [data.read(REAL / "banking77" / f"{part}.csv") for part in ("train", "test")]
        assert [sum("\n" in row["text"] for row in part.used) for part in records] == [10, 3]
        labels = {row["label"] for part in records for row in part.used}
        assert len(labels) == 77 and {"Refund_not_showing_up", "reverted_card_payment?"} <= labels

    def test_no_question_of_real_rows_is_in_two_parts_of_a_split():
        files = [data.read(REAL / "banking77" / f"{part}.csv") for part in ("train", "test")]
        rows = files[0].used + files[1].used
        parts = data.split(rows, [0.8, 0.2], seed=0)
        first, second = ({" ".join(row["text"].lower().split()) for row in part} for part in parts)
        assert not first & second and abs(len(parts[1]) / len(rows) - 0.2) < 0.001

    def test_real_conversations_are_encoded_or_reported(tiny_tokenizer):
        records = data.read(REAL / "alpaca_teaching" / "instruction-data.json")
        conversations = [data.messages(row, records.format) for row in records.used]
        encoded, reported = data.encode_all(tiny_tokenizer, conversations, max_length=512)
        assert len(encoded) == 1100 and not reported
        for row, messages in zip(encoded, conversations, strict=True):
            answer = [token for token, bit in zip(row.ids, row.response_mask, strict=True) if bit]
            assert tiny_tokenizer.decode(answer) == messages[-1]["content"] + "<|eos|>"
