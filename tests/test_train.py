"""Training: the right loss on the right tokens, the same to the bit for a seed, resumable, loud in failure.

Every check of what was trained is also run on a deliberately broken variant, which must turn it red.
"""

import itertools
import random

import peft
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import get_cosine_schedule_with_warmup

from ftlib import artefact, data, evaluate, generate, model, train
from ftlib.settings import WorkbookError

WORDS = ["the", "ferry", "leaves", "at", "noon", "and", "the", "baker", "sells", "bread"]
LORA = peft.LoraConfig(
    r=4, lora_alpha=8, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM"
)


def conversations(count, seed=0, longest=12):
    """Questions of random words; the answer is the first word of the question."""
    rng = random.Random(seed)
    questions = [rng.choices(WORDS, k=rng.randint(3, longest)) for _ in range(count)]
    return [
        [{"role": "user", "content": " ".join(words)}, {"role": "assistant", "content": words[0]}]
        for words in questions
    ]


EXAMPLES = conversations(22)


@pytest.fixture(scope="module")
def shared(tiny_model_folder):
    return model.load(str(tiny_model_folder), "cpu")


@pytest.fixture
def tiny(shared):
    network, tokenizer = shared
    return model.clone(network), tokenizer


def run(tiny, examples=EXAMPLES, **changes):
    network, tokenizer = tiny
    return train.sft(
        network, tokenizer, examples, **{"epochs": 2, "learning_rate": 3e-3, "batch_size": 4} | changes
    )


def weights(result):
    return model.snapshot(result.model)


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


# What was trained


def answer_loss(network, tokenizer, examples):
    """Mean nats of the answers' tokens and end tokens: from the text, one conversation at a time."""
    nats = []
    for messages in examples:
        start = tokenizer(data.prompt(tokenizer, messages[:-1]), add_special_tokens=False)["input_ids"]
        end = tokenizer(messages[-1]["content"], add_special_tokens=False)["input_ids"] + [
            tokenizer.eos_token_id
        ]
        with torch.no_grad():
            logits = network(torch.tensor([start + end])).logits[0, len(start) - 1 : -1]
        nats += torch.nn.functional.cross_entropy(logits, torch.tensor(end), reduction="none").tolist()
    return sum(nats) / len(nats)


def assert_the_first_loss_is_that_of_the_answers(tiny, examples):
    expected = answer_loss(*tiny, examples)
    result = run(tiny, examples, epochs=1, batch_size=len(examples))
    assert result.history[0]["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_answer_and_its_end_token_carry_the_loss_and_nothing_else_does(tiny):
    assert_the_first_loss_is_that_of_the_answers(tiny, EXAMPLES[:6])


@pytest.mark.parametrize(
    "wrong_mask",
    [
        lambda mask: [*mask[1:], 0],  # one token too early
        lambda mask: [*mask[:-1], 0],  # no end token
        lambda mask: [1] * len(mask),  # the question too
        lambda mask: [*mask[: mask.index(1)], 0, *mask[mask.index(1) + 1 :]],  # not the first token
    ],
)
def test_a_wrong_response_mask_turns_the_check_of_the_loss_red(tiny, monkeypatch, wrong_mask):
    encode = data.encode

    def broken(*arguments, **named):
        encoded = encode(*arguments, **named)
        return data.Encoded(encoded.ids, wrong_mask(list(encoded.response_mask)))

    monkeypatch.setattr(data, "encode", broken)
    with pytest.raises(AssertionError):
        assert_the_first_loss_is_that_of_the_answers(tiny, EXAMPLES[:6])


def test_without_response_only_every_token_but_the_first_carries_loss(tiny):
    network, tokenizer = tiny
    ids = [data.encode(tokenizer, messages).ids for messages in EXAMPLES[:5]]
    with torch.no_grad():
        nats = [
            torch.nn.functional.cross_entropy(
                network(torch.tensor([row])).logits[0, :-1], torch.tensor(row[1:])
            )
            * (len(row) - 1)
            for row in ids
        ]
    result = run(tiny, EXAMPLES[:5], epochs=1, batch_size=5, response_only=False)
    assert result.history[0]["loss"] == pytest.approx(
        float(sum(nats)) / sum(len(row) - 1 for row in ids), rel=1e-5
    )


def test_sft_equals_a_loop_written_by_hand_step_by_step(tiny):
    network, tokenizer = model.clone(tiny[0]), tiny[1]
    rows = [data.encode(tokenizer, messages) for messages in EXAMPLES]
    batches = train.LengthGroupedBatches([len(row.ids) for row in rows], rows=4, part=4, seed=5)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = get_cosine_schedule_with_warmup(optimiser, int(0.03 * 48), 48)
    losses, rates = [], []
    for epoch in range(8):
        batches.set_epoch(epoch)
        for batch in batches:
            inputs = data.collate([rows[row] for row in batch], tokenizer.pad_token_id)
            loss = network(**inputs).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            rates.append(schedule.get_last_lr()[0])
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            losses.append(loss.item())
    history = run(tiny, epochs=8, seed=5).history
    assert [entry["learning_rate"] for entry in history] == pytest.approx(rates)
    assert [entry["loss"] for entry in history] == pytest.approx(losses, rel=2e-3)
    assert losses[-1] < 0.7 * losses[0]


def test_parts_of_a_batch_add_up_to_the_whole_batch_and_a_mean_of_their_means_would_not(tiny):
    network, tokenizer = run(tiny).model, tiny[1]
    examples = [
        *conversations(5, longest=4),
        [EXAMPLES[0][0], {"role": "assistant", "content": " ".join(WORDS)}],
    ]
    whole = run((model.clone(network), tokenizer), examples, batch_size=6)
    parts = run((model.clone(network), tokenizer), examples, batch_size=6, micro_batch_size=2)
    assert [entry["loss"] for entry in parts.history] == pytest.approx(
        [e["loss"] for e in whole.history], rel=1e-4
    )
    for name, weight in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], weight, rtol=1e-2, atol=2e-4)
    pairs = sorted(examples, key=lambda messages: len(data.encode(tokenizer, messages).ids))
    means = [answer_loss(network, tokenizer, pairs[start : start + 2]) for start in (0, 2, 4)]
    assert sum(means) / 3 != pytest.approx(whole.history[0]["loss"], rel=1e-3)


# Which weights moved


def assert_only_the_adapter_learned(before, result):
    names = model.changed(result.model, before)
    assert names, "nothing was trained"
    assert all("lora_" in name for name in names), "the base model was changed"
    ups = [weight for name, weight in weights(result).items() if "lora_B" in name]
    assert all(weight.any() for weight in ups), "a part of the adapter was not trained"


def test_with_an_adapter_the_base_model_stays_the_same_to_the_bit_and_the_adapter_learns(tiny):
    before = model.snapshot(tiny[0])
    assert_only_the_adapter_learned(before, run(tiny, adapter=LORA))


def assert_every_weight_of_the_adapter_moves(tiny, **changes):
    """From the first checkpoint on: before it, half of an adapter waits for the other half."""
    seen = []

    def look(step, current):
        seen.append({name: weight for name, weight in model.snapshot(current).items() if "lora_" in name})

    run(tiny, adapter=LORA, checkpoints=12, on_checkpoint=look, **changes)
    assert len(seen) == 12 and len(seen[0]) == 2 * 7 * 2  # up and down, of seven layers in each of two blocks
    resting = [name for name in seen[0] if torch.equal(seen[0][name], seen[-1][name])]
    assert not resting, f"not trained: {resting}"


def test_both_halves_of_the_adapter_learn_in_every_layer(tiny):
    assert_every_weight_of_the_adapter_moves(tiny)


def test_a_frozen_adapter_and_a_base_that_moves_turn_that_check_red(tiny, monkeypatch):
    network, tokenizer = tiny
    before = model.snapshot(network)
    with pytest.raises(AssertionError, match="base model was changed"):
        assert_only_the_adapter_learned(before, run((model.clone(network), tokenizer)))
    get_peft_model = peft.get_peft_model

    def frozen(part):
        def wrap(*arguments):
            wrapped = get_peft_model(*arguments)
            for name, weight in wrapped.named_parameters():
                weight.requires_grad_(weight.requires_grad and part not in name)
            return wrapped

        monkeypatch.setattr(peft, "get_peft_model", wrap)

    frozen("q_proj.lora")
    with pytest.raises(AssertionError, match="not trained"):
        assert_only_the_adapter_learned(before, run((model.clone(network), tokenizer), adapter=LORA))
    frozen("lora_A")
    with pytest.raises(AssertionError, match="not trained"):
        assert_every_weight_of_the_adapter_moves(tiny)


def test_a_weight_that_the_loss_does_not_depend_on_stays_as_it_is(tiny):
    """Weight decay would shrink it."""
    network, tokenizer = tiny
    network.idle, plain = torch.nn.Parameter(torch.ones(3)), network.forward

    def forward(*arguments, **named):
        found = plain(*arguments, **named)
        found.logits = found.logits + 0 * network.idle.sum()
        return found

    network.forward = forward
    result = run((network, tokenizer), learning_rate=0.1)
    assert network.idle.requires_grad and torch.equal(network.idle, torch.ones(3))
    assert result.history[-1]["loss"] != result.history[0]["loss"]


def test_a_config_of_an_adapter_is_left_as_it_was_given(tiny):
    before = LORA.to_dict()
    run(tiny, epochs=1, adapter=LORA)
    assert LORA.to_dict() == before


def test_a_model_with_nothing_to_train_is_refused(tiny):
    tiny[0].requires_grad_(False)
    with pytest.raises(WorkbookError, match="trainable"):
        run(tiny)


def test_a_second_adapter_on_top_of_the_first_is_refused(tiny):
    result = run(tiny, epochs=1, adapter=LORA)
    with pytest.raises(WorkbookError, match="adapter already"):
        run((result.model, tiny[1]), adapter=LORA)


def test_the_merged_model_gives_the_logits_of_the_unmerged_one(tiny):
    result = run(tiny, adapter=LORA)
    ids = torch.tensor([data.encode(tiny[1], EXAMPLES[0]).ids])
    with torch.no_grad():
        unmerged = result.model(ids).logits
        with result.model.disable_adapter():
            base = result.model(ids).logits
        merged = result.model.merge_and_unload()(ids).logits
    torch.testing.assert_close(merged, unmerged, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(base, unmerged, atol=1e-3)


def test_soft_prompts_are_trained_too(tiny):
    before = model.snapshot(tiny[0])
    adapter = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    result = run(tiny, epochs=6, learning_rate=0.3, adapter=adapter)
    assert all("prompt" in name for name in model.changed(result.model, before))
    assert result.history[-1]["loss"] < result.history[0]["loss"]


# Generalisation cannot come from a leak


def assert_random_answers_cannot_be_guessed(tiny, training_rows, test_rows):
    """With answers drawn at random, accuracy on unseen questions stays near 1 in 6; a leak lifts it."""
    result = run(tiny, training_rows, epochs=40, batch_size=8, learning_rate=1e-2)
    answers = generate.answers(result.model, tiny[1], [row[:-1] for row in test_rows], max_new_tokens=4)
    right = evaluate.exact_match(answers, [row[-1]["content"] for row in test_rows])
    assert sum(right) / len(right) < 0.6


def test_a_leaked_test_row_turns_the_random_answer_control_red(tiny):
    rng = random.Random(3)
    rows = [
        [{"role": "user", "content": f"{a} {b}"}, {"role": "assistant", "content": rng.choice(WORDS[:6])}]
        for a in sorted(set(WORDS))
        for b in sorted(set(WORDS))
    ][:40]
    rng.shuffle(rows)
    training, test = rows[:24], rows[24:]
    assert_random_answers_cannot_be_guessed((model.clone(tiny[0]), tiny[1]), training, test)
    with pytest.raises(AssertionError):
        assert_random_answers_cannot_be_guessed(tiny, training + test, test)


# The same again


def test_the_same_seed_gives_the_same_history_and_weights_to_the_bit_and_another_seed_does_not(tiny):
    network, tokenizer = tiny
    first, second, other = (
        run((model.clone(network), tokenizer), adapter=LORA, held_out=EXAMPLES[:3], seed=seed)
        for seed in (3, 3, 4)
    )
    assert first.history == second.history
    assert equal(weights(first), weights(second))
    assert first.history != other.history


def test_the_seed_decides_the_order_of_the_batches_and_a_step_trains_on_its_batch(tiny):
    network, tokenizer = tiny
    lengths = [len(data.encode(tokenizer, messages).ids) for messages in EXAMPLES]
    orders = {}
    for seed in (3, 4):
        batches, expected = train.LengthGroupedBatches(lengths, 4, 4, seed), []
        for epoch in (0, 1):
            batches.set_epoch(epoch)
            expected += [sum(lengths[row] for row in batch) for batch in batches]
        orders[seed] = expected
        history = run((model.clone(network), tokenizer), seed=seed).history
        read = [0, *(entry["tokens"] for entry in history)]
        assert [now - before for before, now in itertools.pairwise(read)] == expected
    assert orders[3] != orders[4]


def test_the_seed_decides_what_dropout_drops(tiny):
    """All rows are the same and in the one batch of each step, so that only dropout tells two seeds apart."""
    network, tokenizer = tiny
    rows = EXAMPLES[:1] * 8
    for layer in network.model.layers:
        layer.self_attn.attention_dropout = 0.5
    first, again, other = (
        [
            entry["loss"]
            for entry in run((model.clone(network), tokenizer), rows, batch_size=8, seed=seed).history
        ]
        for seed in (3, 3, 4)
    )
    assert first == again and first[0] != pytest.approx(other[0], rel=1e-5)
    plain = answer_loss(model.clone(network).eval(), tokenizer, rows)
    assert first[0] != pytest.approx(plain, rel=1e-5), "dropout is on while a model learns"


def test_what_happens_at_a_checkpoint_does_not_change_the_training(tiny):
    network, tokenizer = tiny
    prompt = [EXAMPLES[0][:1]]

    def disturb(step, current):
        torch.rand(7)
        generate.answers(current, tokenizer, prompt, max_new_tokens=3, temperature=1.0, seed=step)

    plain = run((model.clone(network), tokenizer), adapter=LORA)
    disturbed = run(tiny, adapter=LORA, checkpoints=5, on_checkpoint=disturb)
    assert equal(weights(plain), weights(disturbed))


class Interrupted(Exception):
    pass


def assert_resumed_equals_uninterrupted(tiny, folder, stop, **arguments):
    network, tokenizer = tiny

    def interrupt(step, _):
        if step == stop:
            raise Interrupted

    def again(**changes):
        return run((model.clone(network), tokenizer), held_out=EXAMPLES[:3], **arguments, **changes)

    whole = again()
    assert len(whole.history) == 12
    with pytest.raises(Interrupted):
        again(folder=folder, on_checkpoint=interrupt)
    resumed = again(folder=folder, resume=True)
    assert resumed.history == whole.history, "the history differs"
    assert equal(weights(resumed), weights(whole))
    assert resumed.tokens == whole.tokens - whole.history[stop - 1]["tokens"]
    finished = again(folder=folder, resume=True)
    assert (finished.history, finished.tokens) == (whole.history, 0)
    assert equal(weights(finished), weights(whole))


@pytest.mark.parametrize("adapter", [None, LORA], ids=["full", "adapter with dropout"])
@pytest.mark.parametrize(("checkpoints", "stop"), [(4, 3), (4, 9), (0, 6)])
def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one_to_the_bit(
    tiny, tmp_path, adapter, checkpoints, stop
):
    assert_resumed_equals_uninterrupted(
        tiny, tmp_path, stop, adapter=adapter, checkpoints=checkpoints, micro_batch_size=2
    )


def test_batches_that_follow_from_what_ran_before_turn_the_check_of_resuming_red(tiny, tmp_path, monkeypatch):
    rng = random.Random(0)

    def drifting(self):
        order = rng.sample(range(len(self.lengths)), len(self.lengths))
        yield from (order[start : start + self.rows] for start in range(0, len(order), self.rows))

    monkeypatch.setattr(train.LengthGroupedBatches, "__iter__", drifting)
    with pytest.raises(AssertionError, match="the history differs"):
        assert_resumed_equals_uninterrupted(tiny, tmp_path, 9, checkpoints=4)


def test_resume_in_an_empty_folder_starts_from_the_beginning(tiny, tmp_path):
    network, tokenizer = tiny
    fresh = run((model.clone(network), tokenizer), folder=tmp_path / "new" / "run", resume=True)
    assert fresh.history == run(tiny).history


def test_a_folder_with_a_run_is_neither_written_over_nor_resumed_with_other_arguments(tiny, tmp_path):
    network, tokenizer = tiny
    run((model.clone(network), tokenizer), folder=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(WorkbookError, match="resume=True"):
        run((model.clone(network), tokenizer), folder=tmp_path)
    with pytest.raises(WorkbookError, match="another data, learning_rate, seed:"):
        run(
            (model.clone(network), tokenizer),
            EXAMPLES[1:],
            folder=tmp_path,
            resume=True,
            learning_rate=1e-4,
            seed=9,
        )
    other = model.clone(network)
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    with pytest.raises(WorkbookError, match="another model:"):
        run((other, tokenizer), folder=tmp_path, resume=True)
    with pytest.raises(WorkbookError, match="another adapter:"):
        run((model.clone(network), tokenizer), folder=tmp_path, resume=True, adapter=LORA)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_checkpoint_that_was_cut_off_while_it_was_saved_is_not_resumed_from(tiny, tmp_path):
    network, tokenizer = tiny
    whole = run((model.clone(network), tokenizer), folder=tmp_path, checkpoints=4)
    (tmp_path / "checkpoint-12" / "trainer_state.json").unlink()
    (tmp_path / "checkpoint-12" / "model.safetensors").write_bytes(b"cut")
    resumed = run(tiny, folder=tmp_path, checkpoints=4, resume=True)
    assert resumed.history == whole.history
    assert equal(weights(resumed), weights(whole))


# What is kept and told


def test_checkpoints_are_evenly_spaced_measured_and_load_as_models(tiny, tmp_path):
    seen = {}
    held_out = conversations(5, seed=8)
    result = run(
        tiny,
        folder=tmp_path,
        checkpoints=3,
        held_out=held_out,
        on_checkpoint=lambda step, current: seen.update({step: model.snapshot(current)}),
    )
    assert list(seen) == [4, 8, 12]
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == [
        "checkpoint-12",
        "checkpoint-4",
        "checkpoint-8",
    ]
    measured = {entry["step"]: entry["held_out_loss"] for entry in result.history if "held_out_loss" in entry}
    assert list(measured) == [4, 8, 12]
    for step, kept in seen.items():
        loaded, loaded_tokenizer = model.load(str(tmp_path / f"checkpoint-{step}"), "cpu")
        assert equal(model.snapshot(loaded), kept)
        assert measured[step] == pytest.approx(answer_loss(loaded, loaded_tokenizer, held_out), rel=1e-5)


def test_without_checkpoints_the_end_of_each_epoch_is_one_and_only_the_newest_is_kept(tiny, tmp_path):
    seen = []
    result = run(
        tiny, folder=tmp_path, held_out=EXAMPLES[:2], on_checkpoint=lambda step, _: seen.append(step)
    )
    assert seen == [6, 12]
    assert [entry["step"] for entry in result.history if "held_out_loss" in entry] == [6, 12]
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-12"]


def test_without_a_folder_nothing_is_written(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(tiny, held_out=EXAMPLES[:2], checkpoints=2, on_checkpoint=lambda *_: None)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_printed_and_nobody_is_warned(tiny, capfd, recwarn):
    run(tiny, adapter=LORA, held_out=EXAMPLES[:2])
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn] == []


def test_the_bar_is_one_line_of_plain_text_when_a_terminal_looks_on(tiny, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    run(tiny)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "training: " in printed.err
    assert "/12" in printed.err
    assert "\n" not in printed.err


def test_the_result_says_what_was_done_and_what_it_cost(tiny):
    network, tokenizer = tiny
    result = run(tiny)
    tokens = sum(len(data.encode(tokenizer, messages).ids) for messages in EXAMPLES)
    assert result.model is network
    assert not network.training
    assert [entry["step"] for entry in result.history] == list(range(1, 13))
    assert set(result.history[0]) == {"step", "epoch", "tokens", "loss", "learning_rate"}
    assert result.history[5]["epoch"] == 1.0
    assert result.history[5]["tokens"] == tokens
    assert result.history[-1]["tokens"] == result.tokens == 2 * tokens
    assert result.tokens_per_second == pytest.approx(result.tokens / result.seconds)
    assert 0 < result.peak_memory_gb < 64
    assert result.manifest["seed"] == 0
    assert result.manifest["arguments"]["learning_rate"] == 3e-3
    assert "torch" in result.manifest["versions"]
    assert result.manifest["data"] != run((model.clone(network), tokenizer), EXAMPLES[1:]).manifest["data"]


def test_the_learning_rate_rises_over_three_per_cent_of_the_steps_and_then_falls_to_nothing(tiny):
    rates = [
        entry["learning_rate"] for entry in run(tiny, EXAMPLES[:4], epochs=100, learning_rate=1e-3).history
    ]
    assert rates[:4] == pytest.approx([0, 1e-3 / 3, 2e-3 / 3, 1e-3])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_model_keeps_its_dtype_and_its_cache_setting_and_holds_no_gradients(tiny, dtype):
    network, _ = tiny
    cache = network.config.use_cache
    network.to(dtype)
    run(tiny, epochs=1)
    assert {weight.dtype for weight in network.parameters()} == {dtype}
    assert network.config.use_cache == cache
    assert all(weight.grad is None for weight in network.parameters())


def test_on_a_cpu_the_arithmetic_is_the_weights_own_whatever_a_library_has_been_told(tiny, monkeypatch):
    network, tokenizer = tiny
    other = model.clone(network)
    run(tiny, epochs=1)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")  # as `accelerate config` and `launch` leave it
    run((other, tokenizer), epochs=1)
    for (name, weight), same in zip(network.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(weight, same), name


def test_after_training_in_sixteen_bit_arithmetic_the_model_is_a_plain_one_again(tiny, monkeypatch):
    """On a GPU the library puts a casting function in the place of model.forward; here on the CPU."""
    network, _ = tiny
    plain = transformers.TrainingArguments
    monkeypatch.setattr(
        transformers, "TrainingArguments", lambda **arguments: plain(**arguments | {"bf16": True})
    )
    exact = model.clone(network)
    seen = []
    run(
        tiny,
        checkpoints=1,
        on_checkpoint=lambda _, current: seen.append(hasattr(current, "_original_forward")),
    )
    assert seen == [True]
    assert {"forward", "_original_forward"}.isdisjoint(vars(network))
    exact.load_state_dict(network.state_dict())
    ids = torch.tensor([[1, 7, 9]])
    assert torch.equal(network(ids).logits, exact(ids).logits)


# Bad input


def test_an_example_without_a_token_to_learn_from_is_named(tiny):
    long = [{"role": "user", "content": "bread " * 40}, {"role": "assistant", "content": "noon"}]
    for bad in (EXAMPLES[0][:1], long):
        with pytest.raises(WorkbookError, match="example 2 cannot be trained on: no answer"):
            run(tiny, [*EXAMPLES[:2], bad], max_length=24)


def test_no_example_at_all_is_an_error(tiny):
    with pytest.raises(WorkbookError, match="no example"):
        run(tiny, [])


def test_a_part_that_does_not_divide_the_batch_is_an_error(tiny):
    with pytest.raises(WorkbookError, match="micro_batch_size 3 does not divide batch_size 4"):
        run(tiny, micro_batch_size=3)


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("batch_size", 0), ("learning_rate", -1.0), ("learning_rate", float("nan"))],
)
def test_a_number_that_no_training_can_have_is_an_error(tiny, name, value):
    with pytest.raises(WorkbookError, match=f"{name} is {value}: it must be above 0"):
        run(tiny, **{name: value})


def test_held_out_examples_that_cannot_be_measured_are_an_error_before_training(tiny):
    before = model.snapshot(tiny[0])
    with pytest.raises(WorkbookError, match="an interval needs 2 or more"):
        run(tiny, held_out=EXAMPLES[:1])
    assert model.changed(tiny[0], before) == []


def test_a_folder_that_cannot_be_written_is_one_clear_error(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkbookError, match="cannot write"):
        run(tiny, folder=tmp_path / "file")
    with (
        artefact.claimed(tmp_path / "run"),
        pytest.raises(WorkbookError, match="another run is writing"),
    ):
        run(tiny, folder=tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_with_the_step_and_what_to_do(tiny):
    with pytest.raises(WorkbookError, match=r"loss is nan at step \d+.*lower learning_rate \(it is 1e\+30\)"):
        run(tiny, learning_rate=1e30)


# Batches


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 500), min_size=1, max_size=200),
    parts=st.integers(1, 4),
    part=st.integers(1, 8),
    seed=st.integers(0, 100),
)
def test_every_row_is_in_one_batch_an_epoch_and_parts_keep_to_their_batch(lengths, parts, part, seed):
    whole = train.LengthGroupedBatches(lengths, parts * part, parts * part, seed)
    divided = train.LengthGroupedBatches(lengths, parts * part, part, seed)
    for epoch in (0, 1):
        whole.set_epoch(epoch)
        divided.set_epoch(epoch)
        batches = list(whole)
        assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
        assert [len(batch) for batch in batches[:-1]] == [parts * part] * (len(batches) - 1)
        assert [row for batch in divided for row in batch] == [row for batch in batches for row in batch]
        assert (len(list(divided)), len(batches)) == (len(divided), len(whole))
        assert list(whole) == batches


def test_another_seed_gives_other_batches_and_the_same_one_the_same():
    lengths = [random.Random(0).randint(25, 80) for _ in range(100)]
    first, again, other = (list(train.LengthGroupedBatches(lengths, 8, 8, seed)) for seed in (1, 1, 2))
    assert first == again and first != other


def test_little_is_padded_and_every_epoch_mixes_anew():
    rng = random.Random(0)
    lengths = [rng.randint(25, 80) for _ in range(800)]
    batches = train.LengthGroupedBatches(lengths, 16, 16, seed=0)
    first = list(batches)
    padded = sum(16 * max(lengths[row] for row in batch) for batch in first)
    assert padded < 1.15 * sum(lengths)
    random_order = [list(range(start, start + 16)) for start in range(0, 800, 16)]
    assert sum(16 * max(lengths[row] for row in batch) for batch in random_order) > 1.4 * sum(lengths)
    batches.set_epoch(1)
    assert not {frozenset(batch) for batch in first} & {frozenset(batch) for batch in batches}


def test_a_trial_trains_a_copy_and_says_how_good_its_answers_are(tiny):
    network, tokenizer = tiny
    before, tests = model.snapshot(network), EXAMPLES[:4]
    arguments = {"epochs": 1, "learning_rate": 1e-3, "seed": 3}
    scored = train.trial(network, tokenizer, EXAMPLES, tests, "triage", **arguments)
    assert model.changed(network, before) == [] and scored.keys() == {"score", "answers_that_end"}
    tuned = train.sft(model.clone(network), tokenizer, EXAMPLES, **arguments).model
    expected = evaluate.quality(tuned, tokenizer, tests, None).mean
    assert train.trial(network, tokenizer, EXAMPLES, tests, None, **arguments) == {"score": expected}


def test_the_gradient_of_a_row_is_that_of_its_loss(tiny):
    network, tokenizer = tiny
    found = train.row_gradients(network, tokenizer, EXAMPLES[:2])
    matrix = [weight for weight in network.parameters() if weight.dim() == 2][-2]
    assert found.shape == (2, matrix.numel())
    batch = data.collate([data.encode(tokenizer, EXAMPLES[1])], tokenizer.pad_token_id)
    network(**batch).loss.backward()
    torch.testing.assert_close(found[1], matrix.grad.flatten(), atol=1e-6, rtol=1e-4)
