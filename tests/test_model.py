"""Loading, counting and comparing models; the one loss of the workbook against computations written out."""

import json
import shutil

import pytest
import tiny
import torch
from huggingface_hub import constants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer
from transformers.utils import logging

from ftlib import data, model
from ftlib.settings import WorkbookError

CHATML = (  # of no family that TRL knows
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] }}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(name="tiny")
def tiny_model(tiny_model_folder):
    return model.load(str(tiny_model_folder), "cpu")


def log_likelihoods(network, ids):
    """Log-probability of each token but the first, from one unpadded forward pass and an explicit softmax."""
    with torch.no_grad():
        logits = network(torch.tensor([ids])).logits[0]
    probabilities = torch.exp(logits) / torch.exp(logits).sum(-1, keepdim=True)
    return [float(torch.log(probabilities[position, token])) for position, token in enumerate(ids[1:])]


def test_load_gives_a_float32_model_in_evaluation_mode_with_a_template_and_a_padding_token(tiny):
    network, tokenizer = tiny
    assert not network.training
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    assert "{% generation %}" in tokenizer.chat_template.replace("{%- ", "{% ").replace(" -%}", " %}")
    assert tokenizer.pad_token is not None


def test_load_gives_float32_also_for_a_checkpoint_that_is_stored_in_sixteen_bits(tiny, tmp_path):
    network, tokenizer = tiny
    network.to(torch.bfloat16).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    loaded, _ = model.load(str(tmp_path), "cpu")
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    assert loaded.config.dtype is torch.float32


def test_load_adds_the_template_of_the_workbook_and_a_padding_token_where_there_is_none(tiny, tmp_path):
    network, tokenizer = tiny
    tokenizer.chat_template, tokenizer.pad_token = None, None
    network.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = model.load(str(tmp_path), "cpu")[1]
    assert loaded.chat_template == data.CHAT_TEMPLATE
    assert loaded.pad_token == loaded.eos_token


def test_load_takes_a_template_that_marks_the_answers_in_place_of_one_that_does_not(tiny, tmp_path, capsys):
    from trl.chat_template_utils import qwen3_chat_template, qwen3_training_chat_template

    network, tokenizer = tiny
    network.save_pretrained(tmp_path)
    families = {qwen3_chat_template: qwen3_training_chat_template, CHATML: data.CHAT_TEMPLATE}
    for template, expected in families.items():
        tokenizer.chat_template = template
        tokenizer.save_pretrained(tmp_path)
        assert model.load(str(tmp_path), "cpu")[1].chat_template == expected
        assert ("the workbook's own is used" in capsys.readouterr().out) == (template == CHATML)


@pytest.mark.parametrize("name", ["no_such_folder/here", "/nowhere/at/all", ""])
def test_load_says_in_one_error_that_a_model_is_not_there(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WorkbookError, match="cannot be loaded") as caught:
        model.load(name, "cpu")
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)


def cut(folder):
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])


def without_a_weight(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def changed_in(name, **entries):
    def change(folder):
        found = json.loads((folder / name).read_text()) | entries
        kept = {entry: value for entry, value in found.items() if value is not None}
        (folder / name).write_text(json.dumps(kept))

    return change


def with_code(folder):
    (folder / "mine.py").write_text("raise SystemExit('code of a model was run')")
    places = {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}
    changed_in("config.json", model_type="mine", auto_map=places)(folder)


def with_more_tokens(folder):
    tokenizer = tiny.make_tokenizer()
    tokenizer.add_tokens(["Zanzibar", "Quebec"])
    tokenizer.save_pretrained(folder)


def with_a_template_that_raises(folder):
    broken = "{% generation %}{{ raise_exception('no turns today') }}{% endgeneration %}"
    (folder / "chat_template.jinja").write_text(broken)


BROKEN = {
    "file not fully covered": cut,
    "1 weights are missing or of another size than its config says": without_a_weight,
    "6 weights are missing or of another size": changed_in("config.json", intermediate_size=64),
    "it has code of its own, which the workbook does not run": with_code,
    "tokens, and the model embeddings for": with_more_tokens,
    "it has no end token, so no answer ends": changed_in("tokenizer_config.json", eos_token=None),
    "the chat template cannot render this: no turns today": with_a_template_that_raises,
    "It looks like the config": lambda folder: (folder / "config.json").write_text("{"),
    "no file named model.safetensors": lambda folder: (folder / "model.safetensors").unlink(),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_model_that_is_not_whole_or_not_plain_is_one_clear_error(
    what, tiny_model_folder, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr("builtins.input", lambda *question: asked.append(question) or "y")
    folder = shutil.copytree(tiny_model_folder, tmp_path / "model")
    BROKEN[what](folder)
    with pytest.raises(WorkbookError) as caught:
        model.load(str(folder), "cpu")
    assert what in str(caught.value) and str(folder) in str(caught.value) and "\n" not in str(caught.value)
    assert not asked


def test_a_broken_template_that_marks_no_answers_is_replaced_and_this_is_said(
    tiny_model_folder, tmp_path, capsys
):
    folder = shutil.copytree(tiny_model_folder, tmp_path / "model")
    (folder / "chat_template.jinja").write_text("{% if %}")
    assert model.load_tokenizer(str(folder)).chat_template == data.CHAT_TEMPLATE
    assert "the workbook's own is used" in capsys.readouterr().out


def test_an_adapter_with_new_tokens_is_loaded_as_it_was_saved(tiny_model_folder, tmp_path):
    import peft

    network, tokenizer = model.load(str(tiny_model_folder), "cpu")
    tokenizer.add_tokens(["Zanzibar", "Quebec"])
    network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=2, target_modules="all-linear", init_lora_weights=False
    )
    with model.quiet():
        adapted = peft.get_peft_model(network, config).eval()
    adapted.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, its_tokenizer = model.load(str(tmp_path), "cpu")
    ids = its_tokenizer("Where is Zanzibar? Near Quebec.", return_tensors="pt")["input_ids"]
    assert set(ids[0].tolist()) >= set(tokenizer.convert_tokens_to_ids(["Zanzibar", "Quebec"]))
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, adapted(ids).logits)
        with adapted.disable_adapter():
            assert not torch.allclose(again(ids).logits, adapted(ids).logits), "the adapter matters"


def test_load_prints_nothing(tiny_model_folder, capfd):
    model.load(str(tiny_model_folder), "cpu")
    assert capfd.readouterr() == ("", "")


def test_parameters_counts_tied_weights_once_and_frozen_ones_apart(tiny):
    network, _ = tiny
    config = network.config
    hidden, inner = config.hidden_size, config.intermediate_size
    layer = 4 * hidden * hidden + 3 * hidden * inner + 2 * hidden
    total = config.vocab_size * hidden + config.num_hidden_layers * layer + hidden
    assert model.parameters(network) == {"total": total, "trainable": total, "bytes": 4 * total}
    network.model.norm.requires_grad_(False)
    assert model.parameters(network)["trainable"] == total - hidden


def test_changed_names_exactly_the_tensors_that_differ_in_a_bit(tiny):
    network, _ = tiny
    before = model.snapshot(network)
    assert model.changed(network, before) == []
    weight = network.model.layers[1].mlp.up_proj.weight.data
    weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
    assert model.changed(network, before) == ["model.layers.1.mlp.up_proj.weight"]


def test_changed_sees_through_a_peft_wrapper_and_lists_the_adapter_as_new(tiny):
    import peft

    network, _ = tiny
    before = model.snapshot(network)
    with model.quiet():
        wrapped = peft.get_peft_model(network, peft.LoraConfig(r=2, target_modules="all-linear"))
    names = model.changed(wrapped, before)
    assert names
    assert all("lora_" in name for name in names)


def test_a_clone_shares_no_weight_with_its_model(tiny):
    network, _ = tiny
    before = model.snapshot(network)
    copy = model.clone(network)
    with torch.no_grad():
        for weight in copy.parameters():
            weight.add_(1)
    assert model.changed(network, before) == []
    assert {"lm_head.weight", *model.changed(copy, before)} == set(before) | {"lm_head.weight"}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.data())
def test_token_nats_equals_an_explicit_softmax_row_by_row_without_padding(tiny, drawn):
    network, tokenizer = tiny
    token = st.integers(6, network.config.vocab_size - 1)
    rows = drawn.draw(st.lists(st.lists(token, min_size=2, max_size=12), min_size=1, max_size=4))
    masks = [drawn.draw(st.lists(st.booleans(), min_size=len(row), max_size=len(row))) for row in rows]
    batch = data.collate(
        [data.Encoded(row, [int(bit) for bit in mask]) for row, mask in zip(rows, masks, strict=True)],
        tokenizer.pad_token_id,
    )
    expected = [
        -sum(value for value, bit in zip(log_likelihoods(network, row), mask[1:], strict=True) if bit)
        for row, mask in zip(rows, masks, strict=True)
    ]
    torch.testing.assert_close(
        model.token_nats(network, batch).sum(-1),
        torch.tensor(expected, dtype=torch.float32),
        rtol=1e-4,
        atol=1e-4,
    )


def test_gradients_of_the_masked_loss_equal_those_of_the_formula(tiny):
    """d loss / d logits = (softmax - one-hot) / trained tokens on trained positions, 0 elsewhere."""
    network, tokenizer = tiny
    batch = data.collate(
        [data.Encoded([1, 7, 9, 11, 2], [0, 0, 0, 1, 1]), data.Encoded([1, 8, 2], [0, 0, 1])],
        tokenizer.pad_token_id,
    )
    (model.token_nats(network, batch).sum() / 3).backward()
    found = {name: weight.grad.clone() for name, weight in network.named_parameters()}
    network.zero_grad()
    logits = network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    slope = torch.zeros_like(logits)
    for row, position, target in [(0, 2, 11), (0, 3, 2), (1, 1, 2)]:
        slope[row, position] = logits[row, position].softmax(-1).detach() / 3
        slope[row, position, target] -= 1 / 3
    logits.backward(slope)
    for name, weight in network.named_parameters():
        torch.testing.assert_close(found[name], weight.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_what_stands_in_the_padding_does_not_change_the_loss_and_a_missing_attention_mask_would(tiny):
    network, tokenizer = tiny
    rows = [data.Encoded([1, 7, 9, 11, 2], [0, 0, 0, 1, 1]), data.Encoded([1, 8, 2], [0, 0, 1])]
    batch = data.collate(rows, tokenizer.pad_token_id)
    alone = [model.token_nats(network, data.collate([row], tokenizer.pad_token_id)).sum() for row in rows]
    torch.testing.assert_close(model.token_nats(network, batch).sum(-1), torch.stack(alone))
    other = data.collate(rows, 13)
    torch.testing.assert_close(model.token_nats(network, other).sum(-1), torch.stack(alone))
    left = {
        name: tensor.flip(1) for name, tensor in batch.items()
    }  # padding in front, where it can be attended to
    left["attention_mask"] = torch.ones_like(left["attention_mask"])
    other_left = {
        **left,
        "input_ids": left["input_ids"].masked_fill(batch["attention_mask"].flip(1) == 0, 13),
    }
    broken = [model.token_nats(network, variant).sum(-1)[1] for variant in (left, other_left)]
    assert not torch.isclose(*broken)


@pytest.mark.parametrize(("offline", "shown"), [(False, True), (True, False)])
def test_bars_are_drawn_where_a_model_may_be_downloaded(
    offline, shown, tiny_tokenizer, tiny_model_folder, monkeypatch
):
    drawn = []

    def from_pretrained(*_, **__):
        drawn.append(logging.is_progress_bar_enabled())
        return tiny_tokenizer

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(logging, "_tqdm_active", True)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", from_pretrained)
    for name in ("nobody/nothing", str(tiny_model_folder)):
        model.load_tokenizer(name)
    assert drawn == [shown, False]
