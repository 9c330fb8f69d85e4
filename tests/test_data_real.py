"""Files that nobody here wrote, in ../shared/data; a clone without them has no test here."""

import copy
import gzip
import json
from pathlib import Path

import pytest

from ftlib import cli, data
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


CASES = REAL.parent / "cases"
CALLED = '<|call|>{"name": "bus_time", "arguments": {"stop": "Alder"}}'
# File: format, rows, used, left out, the pieces that carry loss or a text that is shown or said.
INSPECTED = {
    "01_alpaca_system_column": ("alpaca", 24, 24, [], "<|system|>Answer only in capital letters.<|user|>"),
    "01b_sharegpt_system_column": ("sharegpt", 24, 24, [], "<|system|>Answer only in capital letters."),
    "03_question_context_answer": ("prompt/completion", 24, 24, [], "costs 7 pounds.\n\nWhat does the lamp"),
    "04_tool_calls_with_text_last": ("messages", 24, 24, [], [f"Let me look.{CALLED}<|eos|>"]),
    "04b_tool_calls_null_content": (
        "messages", 24, 24, ["tool_call_id"], [f"{CALLED}<|eos|>", "At 0:30.<|eos|>"]),
    "05_message_weight_zero": ("messages", 24, 24, [], ["Alder<|eos|>"]),
    "06_reasoning_content_field": (
        "messages", 24, 24, [], ["<|think|>0 and 7 more is 7.<|/think|>7<|eos|>"]),
    "07_kto_messages_and_label": ("kto", 24, 12, [], "12 answers are undesired (labelled false) and kept"),
    "07b_kto_float_label": ("kto", 24, 12, [], ["In the north.<|eos|>"]),
    "07c_kto_float_label": ("kto", 24, 12, [], ["In the north.<|eos|>"]),
    "08_empty_system_turn": ("messages", 24, 24, [], "<|bos|><|user|>Spell Alder.<|assistant|>"),
    "09_integer_answers": ("prompt/completion", 24, 24, [], ["7<|eos|>"]),
    "09c_integer_outputs_alpaca": ("alpaca", 24, 24, [], ["7<|eos|>"]),
    "10_semicolons": ("text/label", 24, 24, [], ["bench<|eos|>"]),
    "10b_semicolons_no_commas": ("text/label", 24, 24, [], ["bench<|eos|>"]),
    "10i_tsv_as_csv": ("text/label", 24, 24, [], ["bench<|eos|>"]),
    "10n_tsv_open_quotes": ("text/label", 18, 17, [], "line 5: merges lines that look like rows (the row"),
    "11_wrapped_data_key": ("alpaca", 24, 24, [], "the rows are those of 'data'; not read: version"),
    "11b_splits": ("alpaca", 20, 20, [], "the rows are those of 'train'; not read: test (4 rows)"),
    "11j_keyed_by_id": ("alpaca", 960, 960, [], "the rows are the values of an object; its keys are not"),
    "12d_text_parts": ("messages", 24, 24, [], "<|user|>Spell Alder.<|assistant|>Alder<|eos|>"),
    "12e_image_part": ("messages", 24, 0, [], "has images, which a model of text cannot see"),
    "12h_image_placeholder_text": ("messages", 24, 0, [], "has images, which a model of text cannot see"),
    "13_one_prompt_many_answers": ("prompt/completion", 48, 48, [], "so no row is left to test on"),
    "14_answers_longer_than_context": ("alpaca", 24, 24, [], "24 rows have more than 512 tokens: their last"),
    "15_completion_with_end_mark": ("prompt/completion", 24, 24, [], ["Alder<|eos|>"]),
    "16_label_minus_one": ("text/label", 24, 0, [], "label is -1, which mostly means no label"),
    "17_system_turns_for_a_model_without_them": ("messages", 48, 48, [], "Spell Alder."),
}  # fmt: skip
TOLD = {
    "10d_utf16": "is UTF-16 text: save it as UTF-8",
    "10j_xlsx_named": "is a zip archive, as Excel files are",
    "10k_gz_inside": "is a zip archive, as Excel files are",
}
INPUTS = sorted(path for path in CASES.glob("[01]*") if path.suffix not in (".py", ".sh"))

if INPUTS:

    @pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
    def test_a_small_input_that_went_wrong_is_inspected_rightly(path, tiny_model_folder, capsys):
        status = cli.main(["inspect", str(path), "--json", "--model", str(tiny_model_folder)])
        shown, errors = capsys.readouterr()
        if path.stem in TOLD:
            assert status == 2 and TOLD[path.stem] in errors and len(errors) <= 301
            return
        format, rows, used, left_out, what = INSPECTED[path.stem]
        report = json.loads(shown)
        example = report["example"] or {"rendered": "", "loss_on": []}
        told = [example["rendered"], *report["notes"], *(row["reason"] for row in report["reported"])]
        assert status == (0 if used else 2)
        assert example["loss_on"] == what if isinstance(what, list) else what in "\n".join(told)
        assert (report["format"], report["rows"], report["used"], report["left_out"]) == (
            format, rows, used, left_out)  # fmt: skip
        assert len(report["reported"]) == rows - used

    def test_system_turns_are_reported_for_a_model_that_refuses_them(tiny_tokenizer):
        tokenizer = copy.deepcopy(tiny_tokenizer)
        refusal = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        tokenizer.chat_template = refusal + tokenizer.chat_template
        found = data.trainable(data.read(CASES / "17_system_turns_for_a_model_without_them.jsonl"), tokenizer)
        assert [row.row for row in found.reported] == list(range(2, 49, 2)) and len(found.used) == 24
