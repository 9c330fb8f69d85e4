"""The response mask, padding and packing, each against an independent computation."""

import math
import re

import pytest
import tiny
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftlib import data
from ftlib.settings import WorkbookError

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
TURNS = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "When does the ferry leave?"},
    {"role": "assistant", "content": "At noon."},
    {"role": "user", "content": "And the last?"},
    {"role": "assistant", "content": "At nine."},
]
RENDERED = (
    "<|bos|><|system|>Be short.<|user|>When does the ferry leave?<|assistant|>At noon.<|eos|>"
    "<|user|>And the last?<|assistant|>At nine.<|eos|>"
)


def no_special(text):
    return not any(token in text for token in tiny.SPECIAL)


TEXTS = st.text(max_size=12).filter(no_special) | st.sampled_from(
    ["At noon.", " 🙂", "    return 1", "\n\n", "", "é", "e\u0301", "<|", "|>", "the ferry leaves "]
)


@st.composite
def conversations(draw):
    """Any number of questions and answers, with or without a system turn, ending with either."""
    texts = draw(st.lists(TEXTS, min_size=1, max_size=6))
    roles = ["user", "assistant"] * len(texts)
    if draw(st.booleans()):
        roles.insert(0, "system")
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


def test_the_template_is_the_text_that_the_base_model_was_trained_on(tiny_tokenizer):
    assert tiny_tokenizer.apply_chat_template(TURNS, tokenize=False) == RENDERED
    ends = tiny_tokenizer.apply_chat_template(TURNS[:2], tokenize=False, add_generation_prompt=True)
    assert ends == data.prompt(tiny_tokenizer, TURNS[:2]) == RENDERED[: RENDERED.index("At noon.")]


def test_the_mask_decodes_to_each_answer_with_its_end_token_and_nothing_else(tiny_tokenizer):
    encoded = data.encode(tiny_tokenizer, TURNS)
    pieces = zip(tiny_tokenizer.convert_ids_to_tokens(encoded.ids), encoded.response_mask, strict=True)
    runs, before = [], 0
    for piece, now in pieces:
        if now and not before:
            runs.append([])
        if now:
            runs[-1].append(piece)
        before = now
    decoded = ["".join(run).replace("Ġ", " ") for run in runs]
    assert decoded == ["At noon.<|eos|>", "At nine.<|eos|>"]
    assert tiny_tokenizer.decode(encoded.ids) == RENDERED


@settings(SHARED, max_examples=150)
@given(messages=conversations())
def test_the_mask_is_that_of_tokenising_the_conversation_prefix_by_prefix(tiny_tokenizer, messages):
    ids, mask = [tiny_tokenizer.bos_token_id], [0]
    for message in messages:
        opening = tiny_tokenizer.convert_tokens_to_ids(f"<|{message['role']}|>")
        content = tiny_tokenizer(message["content"], add_special_tokens=False)["input_ids"]
        answer = message["role"] == "assistant"
        end = [tiny_tokenizer.eos_token_id] if answer else []
        ids += [opening, *content, *end]
        mask += [0, *[int(answer)] * len(content + end)]
    assert data.encode(tiny_tokenizer, messages) == data.Encoded(ids, mask)


@settings(SHARED, max_examples=100)
@given(messages=conversations())
def test_the_mask_follows_from_the_ids_alone(tiny_tokenizer, messages):
    encoded = data.encode(tiny_tokenizer, messages)
    inside, expected = False, []
    for token in tiny_tokenizer.convert_ids_to_tokens(encoded.ids):
        expected.append(int(inside))
        inside = token == "<|assistant|>" or (inside and token != "<|eos|>")
    assert encoded.response_mask == expected


@settings(SHARED, max_examples=30)
@given(messages=conversations(), length=st.integers(1, 60))
def test_truncation_keeps_the_first_tokens_and_their_mask(tiny_tokenizer, messages, length):
    whole = data.encode(tiny_tokenizer, messages)
    cut = data.encode(tiny_tokenizer, messages, max_length=length)
    assert cut == data.Encoded(whole.ids[:length], whole.response_mask[:length])


def test_conversations_without_a_token_to_train_on_are_reported_and_the_others_encoded(tiny_tokenizer, capfd):
    long = [{"role": "user", "content": "ferry " * 600}, TURNS[2]]
    forged = [{"role": "user", "content": "a<|assistant|>b"}, TURNS[2]]
    rows = [TURNS, long, TURNS[:2], forged, TURNS[1:3]]
    encoded, reported = data.encode_all(tiny_tokenizer, rows, max_length=40)
    assert encoded == [data.encode(tiny_tokenizer, rows[row], 40) for row in (0, 4)]
    assert {row.row: row.reason for row in reported} == {
        2: "no answer begins within its first 40 tokens (max_length)",
        3: "no answer begins within its first 40 tokens (max_length)",
        4: "turn 1 holds the special token <|assistant|>: take it out of the text",
    }
    assert data.encode_all(tiny_tokenizer, [TURNS[:2]])[1][0].reason == "no answer begins"
    assert not any(data.encode(tiny_tokenizer, long, max_length=40).response_mask)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("token", tiny.SPECIAL)
def test_a_text_cannot_forge_a_turn(tiny_tokenizer, token):
    with pytest.raises(WorkbookError, match="turn 2 holds the special token"):
        data.encode(tiny_tokenizer, [TURNS[1], TURNS[2] | {"content": f"At {token} noon."}])


def test_a_template_that_does_not_mark_the_answers_is_an_error_that_says_what_to_do():
    tokenizer = tiny.make_tokenizer()
    for template in (None, "{% for message in messages %}{{ message['content'] }}{% endfor %}"):
        tokenizer.chat_template = template
        with pytest.raises(WorkbookError, match=r"set tokenizer\.chat_template = ftlib\.data\.CHAT_TEMPLATE"):
            data.encode(tokenizer, TURNS)
    tokenizer.chat_template = data.CHAT_TEMPLATE.replace("{% generation %}", "{%- generation %}")
    assert sum(data.encode(tokenizer, TURNS).response_mask) > 0


def trimmed():
    """The tiny tokenizer, but white space is trimmed from the places of its tokens."""
    from tokenizers import processors

    tokenizer = tiny.make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return tokenizer


TOKENIZERS = {"byte-level": tiny.make_tokenizer(), "trimmed": trimmed()}
TOKENIZERS |= {"SentencePiece": tiny.make_sentencepiece()}
CALL = {"type": "function", "function": {"name": "tide", "arguments": {"day": 1, "place": "the harbour"}}}
CALLED = '<|call|>{"name": "tide", "arguments": {"day": 1, "place": "the harbour"}}'


@st.composite
def full_conversations(draw):
    """Turns of system, user, assistant and tool; thinking, tool calls and answers without loss among them."""
    messages = [{"role": "system", "content": draw(TEXTS)}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages.append({"role": "user", "content": draw(TEXTS)})
        for calls in draw(st.sampled_from([[0], [1, 0], [2, 1, 0]])):
            answer = {"role": "assistant", "content": draw(TEXTS)}
            answer |= {"reasoning_content": draw(TEXTS.filter(bool))} if draw(st.booleans()) else {}
            answer |= {"weight": 0} if draw(st.booleans()) else {}
            results = [{"role": "tool", "content": draw(TEXTS)}] * calls
            messages += [answer | ({"tool_calls": [CALL] * calls} if calls else {}), *results]
    return messages


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
@settings(SHARED, max_examples=80)
@given(messages=full_conversations())
def test_ids_and_mask_are_those_of_tokenising_piece_by_piece_whatever_the_tokenizer(tokenizer, messages):
    ids, mask = [tokenizer.bos_token_id], [0]

    def say(text, loss=False):
        found = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        ids.extend(found)
        mask.extend([int(loss)] * len(found))

    for message in messages:
        say(f"<|{message['role']}|>")
        loss = message["role"] == "assistant" and message.get("weight") != 0
        if "reasoning_content" in message:
            for part in ("<|think|>", message["reasoning_content"], "<|/think|>"):
                say(part, loss)
        say(message["content"], loss)
        for _ in message.get("tool_calls", ()):
            say("<|call|>", loss)
            say(CALLED.removeprefix("<|call|>"), loss)
        if message["role"] == "assistant":
            say("<|eos|>", loss)
    assert data.encode(tokenizer, messages) == data.Encoded(ids, mask)
    text = "".join(piece for piece, _ in data.pieces(tokenizer, messages, 10_000))
    assert text == tokenizer.apply_chat_template(messages, tokenize=False)


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
def test_the_pieces_that_carry_loss_are_shown_as_they_stand_in_the_text(tokenizer):
    messages = [
        *TURNS[:2],
        {"role": "assistant", "content": "I look. ", "reasoning_content": "Tides?", "tool_calls": [CALL]},
        {"role": "tool", "content": "9:30"},
        TURNS[2] | {"weight": 0},
        *TURNS[3:],
    ]
    pieces = data.pieces(tokenizer, messages)
    thought = "<|think|>Tides?<|/think|>I look. "
    assert [text for text, loss in pieces if loss] == [f"{thought}{CALLED}<|eos|>", "At nine.<|eos|>"]
    assert [text for text, loss in pieces if not loss] == [
        "<|bos|><|system|>Be short.<|user|>When does the ferry leave?<|assistant|>",
        "<|tool|>9:30<|assistant|>At noon.<|eos|><|user|>And the last?<|assistant|>",
    ]
    kept = data.pieces(tokenizer, messages, max_length=4)
    assert "".join(text for text, _ in pieces).startswith("".join(text for text, _ in kept))
    assert data.pieces(tokenizer, {"text": "a storm"}) == [("<|bos|>", False), ("a storm", True)]


BROKEN = {
    "cannot render this: no system turns": "{{ raise_exception('no system turns') }}",
    "cannot render this: ": "{{ messages[0].content + 1 }}",
    "leaves out the text of turn 1 (system)": "{% set messages = messages[1:] %}",
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_template_that_raises_or_leaves_out_a_turn_is_one_clear_error(what):
    tokenizer = tiny.make_tokenizer()
    tokenizer.chat_template = BROKEN[what] + data.CHAT_TEMPLATE
    with pytest.raises(WorkbookError, match=re.escape(f"the chat template {what}")):
        data.encode(tokenizer, TURNS)


def test_a_template_that_does_not_show_tool_calls_is_an_error_and_one_that_quotes_results_is_none():
    tokenizer = tiny.make_tokenizer()
    result = {"role": "tool", "content": 'It\nis "9".'}
    messages = [TURNS[1], TURNS[2] | {"tool_calls": [CALL]}, result, TURNS[4]]
    plain = data.encode(tokenizer, messages)
    tokenizer.chat_template = data.CHAT_TEMPLATE.replace("['content'] }}", "['content'] | tojson }}")
    assert len(data.encode(tokenizer, messages).ids) > len(plain.ids)
    tokenizer.chat_template = data.CHAT_TEMPLATE.replace("message['tool_calls']", "[]")
    with pytest.raises(WorkbookError, match="the chat template leaves out the tool calls"):
        data.encode(tokenizer, messages)


@pytest.mark.parametrize("field", [{"reasoning_content": "a<|eos|>"}, {"tool_calls": [
    {"function": {"name": "tide", "arguments": {"day": "<|user|>"}}}]}])  # fmt: skip
def test_a_special_token_in_thinking_or_in_a_call_is_refused(field, tiny_tokenizer):
    with pytest.raises(WorkbookError, match="turn 2 holds the special token"):
        data.encode(tiny_tokenizer, [TURNS[1], TURNS[2] | field])


def test_a_template_that_marks_another_number_of_answers_is_an_error():
    tokenizer = tiny.make_tokenizer()
    tokenizer.chat_template = data.CHAT_TEMPLATE + ".{% generation %}!{% endgeneration %}"
    with pytest.raises(WorkbookError, match="the chat template marks 3 answers, and there are 2"):
        data.encode(tokenizer, TURNS)
    tokenizer.chat_template = data.CHAT_TEMPLATE.replace("{{ message['content'] or '' }}", "").replace(
        "{{ eos_token }}{% endgeneration %}", "{% endgeneration %}{{ message['content'] }}"
    )
    with pytest.raises(WorkbookError, match="does not find an answer again"):
        data.encode(tokenizer, TURNS)


@pytest.mark.parametrize("family", ["qwen2_5", "qwen3", "llama3", "gemma", "glm4moe", "phi3"])
def test_the_training_templates_of_other_families_mark_each_answer_and_its_end(family):
    import importlib.resources

    tokenizer = tiny.make_tokenizer()
    folder = importlib.resources.files("trl") / "chat_templates"
    tokenizer.chat_template = (folder / f"{family}_training.jinja").read_text()
    pieces = data.pieces(tokenizer, TURNS[1:], 10_000)
    answers = [text for text, carries_loss in pieces if carries_loss]
    assert len(answers) == 2 and "At noon." in answers[0] and "At nine." in answers[1]
    assert not any("ferry" in text or "last" in text for text in answers)
    assert data.prompt(tokenizer, TURNS[1:2]).startswith(pieces[0][0].split("<think>")[0][:20])


def test_the_prompt_is_where_the_answer_begins(tiny_tokenizer):
    encoded = data.encode(tiny_tokenizer, TURNS)
    start = tiny_tokenizer(data.prompt(tiny_tokenizer, TURNS[:-1]), add_special_tokens=False)["input_ids"]
    assert encoded.ids[: len(start)] == start
    assert encoded.response_mask[len(start) :] == [1] * (len(encoded.ids) - len(start))


# Batches

ENCODED = st.lists(st.tuples(st.integers(6, 300), st.integers(0, 1)), min_size=1, max_size=12).map(
    lambda pairs: data.Encoded([token for token, _ in pairs], [bit for _, bit in pairs])
)


@given(batch=st.lists(ENCODED, min_size=1, max_size=5), pad_id=st.integers(0, 300))
def test_a_batch_is_padded_on_the_right_and_only_the_mask_gives_labels(batch, pad_id):
    tensors = data.collate(batch, pad_id)
    length = max(len(row.ids) for row in batch)
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()} == dict.fromkeys(
        ("input_ids", "attention_mask", "labels"), ((len(batch), length), torch.int64)
    )
    for number, row in enumerate(batch):
        for place in range(length):
            there = place < len(row.ids)
            carries = there and row.response_mask[place] == 1
            assert tensors["input_ids"][number, place] == (row.ids[place] if there else pad_id)
            assert tensors["attention_mask"][number, place] == there
            assert tensors["labels"][number, place] == (row.ids[place] if carries else -100)


@given(examples=st.lists(ENCODED, max_size=15), length=st.integers(12, 40))
def test_unpacking_gives_back_the_examples_and_each_is_in_the_first_row_with_room(examples, length):
    packed = data.pack(examples, length)
    found = []
    for row in packed:
        assert len(row.ids) <= length
        assert len(row.ids) == len(row.response_mask) == len(row.position_ids) == len(row.segment_ids)
        assert row.segment_ids == sorted(row.segment_ids) and set(row.segment_ids) == set(
            range(1, max(row.segment_ids) + 1)
        )
        found.append([])
        for segment in range(1, max(row.segment_ids) + 1):
            places = [place for place, number in enumerate(row.segment_ids) if number == segment]
            assert [row.position_ids[place] for place in places] == list(range(len(places)))
            ids, mask = ([values[place] for place in places] for values in (row.ids, row.response_mask))
            found[-1].append(data.Encoded(ids, mask))
    expected = []
    for example in examples:
        for row in expected:
            if sum(len(other.ids) for other in row) + len(example.ids) <= length:
                row.append(example)
                break
        else:
            expected.append([example])
    assert found == expected


@given(rows=st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=3))
def test_a_token_attends_to_the_same_segment_up_to_itself_and_to_nothing_else(rows):
    allowed = data.same_segment(torch.tensor(rows))
    assert allowed.dtype == torch.bool and allowed.shape == (len(rows), 1, 6, 6)
    for number, row in enumerate(rows):
        for query in range(6):
            for key in range(6):
                expected = row[query] == row[key] and key <= query
                assert allowed[number, 0, query, key] == expected


def test_an_example_that_is_longer_than_a_row_is_an_error():
    examples = [data.Encoded([7] * size, [1] * size) for size in (3, 9)]
    with pytest.raises(WorkbookError, match="example 2 has 9 tokens, a row 8: encode with max_length"):
        data.pack(examples, 8)


def losses(network, batch):
    """Summed nats of the labels, and the logits."""
    labels = batch.pop("labels")
    with torch.no_grad():
        logits = network(**batch).logits
    flat = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    return torch.nn.functional.cross_entropy(*flat, reduction="sum").item(), logits


def test_packed_examples_have_the_logits_and_the_loss_that_they_have_alone(tiny_tokenizer, tiny_model_folder):
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    texts = ["At noon.", "No.", "When the storm is over, I think.", "  Never", "Ask the baker."]
    examples = [data.encode(tiny_tokenizer, [TURNS[1], TURNS[2] | {"content": text}]) for text in texts]
    # The first token of a document carries loss too: it must not be predicted from the document before.
    examples = [data.Encoded(row.ids, [1, *row.response_mask[1:]]) for row in examples]
    alone = [losses(network, data.collate([row], 0)) for row in examples]
    packed = data.pack(examples, 64)
    assert len(packed) < len(examples) and len({len(row.ids) for row in packed}) > 1, "rows that need padding"
    together, logits = losses(network, data.collate(packed, 0))
    assert math.isclose(together, sum(loss for loss, _ in alone), rel_tol=1e-4)
    rows = [logits[number, : len(row.ids)] for number, row in enumerate(packed)]
    parts = [part for row, made in zip(packed, rows, strict=True) for part in made.split(
        [row.segment_ids.count(segment) for segment in sorted(set(row.segment_ids))])]  # fmt: skip
    order = sorted(range(len(parts)), key=lambda number: parts[number].shape[0])
    expected = sorted((made[0] for _, made in alone), key=lambda made: made.shape[0])
    for number, made in zip(order, expected, strict=True):
        torch.testing.assert_close(parts[number], made, rtol=1e-4, atol=1e-4)
    leaking = data.collate(packed, 0)
    leaking["attention_mask"] = torch.ones_like(leaking["input_ids"])
    del leaking["position_ids"]
    assert abs(losses(network, leaking)[0] - together) > 0.01, "an ordinary causal mask would be noticed"


def test_a_plain_text_carries_loss_on_all_its_tokens_but_the_one_that_begins_it(tiny_tokenizer):
    encoded = data.encode_text(tiny_tokenizer, "The ferry leaves.")
    assert encoded.ids[0] == tiny_tokenizer.bos_token_id
    assert tiny_tokenizer.decode(encoded.ids[1:]) == "The ferry leaves."
    assert encoded.response_mask == [0] + [1] * (len(encoded.ids) - 1)
    cut = data.encode_text(tiny_tokenizer, "The ferry leaves.", max_length=3)
    assert (cut.ids, cut.response_mask) == (encoded.ids[:3], [0, 1, 1])
