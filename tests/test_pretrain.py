"""Pre-training: the help for copying does what it says, and a stopped run reads on where it stopped."""

import json
from collections import defaultdict
from dataclasses import replace
from random import Random

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from data.recipes import corpus, pretrain
from data.recipes import tokenizer as tokenizers
from data.recipes.tokenizer import SPECIAL
from ftlib import settings

RECIPE = pretrain.Recipe(tokens=1_000_000, copying_tokens=100_000)


@pytest.fixture(scope="module")
def shipped_tokenizer():
    return AutoTokenizer.from_pretrained(settings.MODELS["tiny"])


def test_three_fresh_heads_look_one_two_and_three_tokens_back(shipped_tokenizer):
    network = pretrain.build(RECIPE, shipped_tokenizer)
    network.set_attn_implementation("eager")
    ids = torch.randint(len(SPECIAL), len(shipped_tokenizer), (4, 40), generator=torch.manual_seed(0))
    with torch.no_grad():
        attention = network(ids, output_attentions=True).attentions[0]
    for head, back in enumerate((1, 2, 3)):
        assert attention[:, head, 8:].diagonal(8 - back, dim1=-2, dim2=-1).mean() > 0.6
    assert attention[:, 3, 8:].max() < 0.2  # a head that nobody helped looks everywhere


def test_an_easy_copying_row_is_one_stretch_said_again():
    for number in range(50):
        row = pretrain.copying_row(Random(number), 257, 4096, easy=True)
        assert len(row) == 257 and min(row) >= len(SPECIAL)
        assert any(row[period:] == row[:-period] for period in range(4, 65))


def test_a_table_gives_every_key_the_same_value_each_time():
    tables = 0
    for number in range(60):
        row = pretrain.copying_row(Random(number), 513, 4096, easy=False)
        assert len(row) == 513
        if any(row[period:] == row[:-period] for period in range(4, 257)):
            continue
        tables += 1
        following = defaultdict(set)
        for start in range(len(row) - 10):
            following[tuple(row[start : start + 6])].add(row[start + 6])  # longer than any key with its mark
        seen_again = [values for values in following.values() if len(values) == 1]
        assert len(seen_again) > 0.5 * len(following)
    assert 10 < tables < 50


def test_copying_rows_come_first_and_thin_out():
    shares = [pretrain.copying_share(RECIPE, tokens) for tokens in (0, 99_999, 450_000, 900_000)]
    assert shares == [1.0, 1.0, 0.1, 0.05]
    batch = torch.zeros(64, 65, dtype=torch.long)
    put = pretrain.put_copying(batch.clone(), RECIPE, 450_000, 4096)
    assert 1 < (put.sum(1) > 0).sum() < 16
    assert torch.equal(put, pretrain.put_copying(batch.clone(), RECIPE, 450_000, 4096))
    other = replace(RECIPE, seed=1)
    assert not torch.equal(put, pretrain.put_copying(batch.clone(), other, 450_000, 4096))


def test_the_rate_warms_up_stays_and_falls_to_nothing():
    steps = range(0, RECIPE.tokens, RECIPE.batch_tokens)
    rates = [pretrain.rate(RECIPE, tokens) for tokens in steps]
    assert rates[0] < 0.02 and max(rates) == 1.0 and 0 < rates[-1] < 0.02
    assert rates == sorted(rates[:125]) + sorted(rates[125:], reverse=True)


def test_each_late_stage_starts_below_the_peak_and_falls_to_nothing_again():
    for late in range(RECIPE.late_stages):
        first = RECIPE.tokens + late * RECIPE.late_tokens
        steps = range(first, first + RECIPE.late_tokens, RECIPE.batch_tokens)
        rates = [pretrain.rate(RECIPE, tokens) for tokens in steps]
        assert {pretrain.stage(RECIPE, tokens) for tokens in steps} == {late + 1}
        assert rates[0] == RECIPE.late_rate < 1 and 0 < rates[-1] < 0.01
        assert rates == sorted(rates, reverse=True)


def test_a_late_stage_reads_other_documents_and_is_resumed_in_its_place(shipped_tokenizer):
    rows = pretrain.Rows(shipped_tokenizer, seed=0)
    firsts = [next(rows.stream)]
    for stage in range(1, len(corpus.STAGES)):
        rows.go_on(stage)
        firsts.append(next(rows.stream))
        assert firsts[-1] == corpus.document("train", 0, stage=stage)
    assert len({first.text for first in firsts}) == len(corpus.STAGES)
    assert (rows.read, rows.stream.position) == ([1] * (len(corpus.STAGES) - 1), 1)
    again = pretrain.Rows(shipped_tokenizer, seed=0)
    again.load(rows.state())
    again.go_on(rows.stream.stage)
    assert again.read == rows.read and next(again.stream) == next(rows.stream)


def test_late_stages_read_more_passages():
    def passages(stage: int) -> int:
        drawn = [corpus.document("train", index, stage=stage).genre for index in range(300)]
        return sum(genre in ("reading", "short_reading") for genre in drawn)

    plain, *late = map(passages, range(len(corpus.STAGES)))
    assert all(count > 1.5 * plain > 0 for count in late)


def test_a_stage_begins_from_weights_where_the_state_is_gone(tmp_path):
    """With optimisers that begin anew, and recipe.json says so. At a rate of 0 nothing moves."""
    recipe = pretrain.Recipe(
        tokens=2_048, late_stages=0, late_tokens=2_048, batch_tokens=1_024, hidden_size=64,
        intermediate_size=64, layers=1, copying_tokens=0, short_row=128,
    )  # fmt: skip
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        AutoTokenizer.from_pretrained(settings.MODELS["tiny"]).save_pretrained(folder)
    with torch.compiler.set_stance("force_eager"):
        pretrain.train(recipe, first, "cpu", minutes=9)
        pretrain.train(replace(recipe, late_stages=1, late_rate=0.0), second, "cpu", minutes=9, weights=first)
    before, after = (json.loads((folder / "recipe.json").read_text()) for folder in (first, second))
    assert (before["read"], before["began_anew"], len(before["documents"])) == (2_048, [], 1)
    assert (after["read"], after["began_anew"]) == (4_096, [2_048])
    assert after["documents"][0] == before["documents"][0] and len(after["documents"]) == 2
    weights = [load_file(folder / "model.safetensors") for folder in (first, second)]
    assert all(torch.equal(weights[1][name], weight) for name, weight in weights[0].items())


def test_rows_go_on_where_they_stopped(shipped_tokenizer):
    rows = pretrain.Rows(shipped_tokenizer, seed=0)
    rows.batch(2048, 256)
    state = rows.state()
    expected = rows.batch(2048, 128)
    again = pretrain.Rows(shipped_tokenizer, seed=0)
    again.load(state)
    assert torch.equal(again.batch(2048, 128), expected)


def test_a_name_is_the_same_tokens_wherever_it_stands():
    texts = [corpus.document("train", index).text for index in range(300)]
    tokenizer = tokenizers.train(texts, 512)

    def pieces(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    name = pieces("Bella Porford")[1:]  # without the mark that begins a text
    for text in ("We saw Bella Porford.", '{"guest": "Bella Porford"}', "Who?\nBella Porford"):
        ids = pieces(text)
        assert any(ids[start : start + len(name)] == name for start in range(len(ids)))
    for text in (text for text in texts if "<|" not in text):
        assert tokenizer.decode(pieces(text)) == text


def test_a_digit_is_a_token():
    tokenizer = tokenizers.train(["There were 1204 of them, 1204 of them, on day 12."] * 50, 512)
    assert tokenizer.tokenize("1204")[-4:] == ["1", "2", "0", "4"]
