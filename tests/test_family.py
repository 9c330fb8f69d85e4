"""The shipped models: small files, weights that can all learn, tokens that stay the same."""

import itertools
import json
import math
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from data.recipes import abilities, corpus, llama_cpp, settlers
from data.recipes.genres import register
from data.recipes.pen import Pen
from ftlib import artefact, data, model, settings, train

BASE = Path(settings.FAMILY["base-model"])
MEGABYTES = 32
every_model = pytest.mark.parametrize("name", settings.FAMILY)


@pytest.fixture(scope="module")
def base():
    return model.load(str(BASE), "cpu")


def test_the_family_is_small():
    files = [file for folder in settings.FAMILY.values() for file in Path(folder).iterdir()]
    assert sum(file.stat().st_size for file in files) <= MEGABYTES * 1e6


@every_model
def test_the_file_holds_16_bit_numbers_and_the_config_hands_out_32(name):
    stored = load_file(Path(settings.FAMILY[name]) / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    loaded = AutoModelForCausalLM.from_pretrained(settings.FAMILY[name])
    assert loaded.dtype == torch.float32
    assert all(torch.equal(stored[key].float(), loaded.state_dict()[key]) for key in stored)


@every_model
def test_no_row_and_no_column_of_a_matrix_is_zero(name):
    """A row of zeros in both query and key never gets a gradient, and DoRA divides by the norm of a row."""
    for key, weight in load_file(Path(settings.FAMILY[name]) / "model.safetensors").items():
        for side in range(weight.ndim):
            assert (weight.float().abs().sum(side) > 0).all(), f"{key}: a slice of zeros"


@every_model
def test_all_have_the_tokenizer_of_the_base_model_and_a_manifest_of_these_weights(name):
    folder = Path(settings.FAMILY[name])
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (folder / file).read_bytes() == (BASE / file).read_bytes()
    assert (folder / "chat_template.jinja").read_text() == data.CHAT_TEMPLATE
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["weights"] == artefact.digest(folder / "model.safetensors")
    assert manifest["tokenizer"] == artefact.digest(folder / "tokenizer.json")


@pytest.mark.parametrize("rate", [1e-3, 3e-3])
def test_dora_trains_every_matrix(base, rate):
    network, tokenizer = base
    rows = [row["messages"] for row in data.load("triage", "train")[:64]]
    adapter = LoraConfig(
        r=8, lora_alpha=16, use_dora=True, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    result = train.sft(
        model.clone(network), tokenizer, rows, epochs=2, learning_rate=rate, adapter=adapter, progress=False
    )
    first, *_, last = [step["loss"] for step in result.history]
    assert math.isfinite(last) and last < first
    for key, weight in result.model.named_parameters():
        if "lora_B" in key or "magnitude" in key:
            assert weight.isfinite().all()
        if "lora_B" in key:
            assert weight.abs().sum() > 0, f"{key} has learnt nothing"


def test_llama_cpp_finds_the_same_tokens(base):
    lines = itertools.chain.from_iterable(document.text.split("\n") for document in corpus.Stream("test"))
    held_out = list(itertools.islice((line for line in lines if line.strip()), 200))
    assert llama_cpp.lines_differ(*base, held_out) == 0
    assert llama_cpp.lines_differ(*base, ["two\u00a0 spaces", " a space first", "naïve «signs» 1204"]) == 0


# Not those whose answers are in another language, are sums, or are JSON, where no space comes after a quote.
@pytest.mark.parametrize("name", sorted(set(settings.SETS) - {"translate", "arithmetic", "extract"}))
def test_a_word_of_an_answer_is_made_of_the_tokens_that_it_has_in_the_prompt(base, name):
    """A small model copies tokens: a word that its prompt has as others cannot be copied."""
    _, tokenizer = base

    def words(text: str) -> dict[str, set[tuple[str, ...]]]:
        """The tokens of each word, in all its places, without a space that is a token of its own."""
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        places = list(zip(encoded.tokens(), encoded["offset_mapping"], strict=True))
        found: dict[str, set[tuple[str, ...]]] = {}
        for match in re.finditer(r"\w+", text):
            inside = [piece for piece, (start, end) in places if start < match.end() and end > match.start()]
            found.setdefault(match[0], set()).add(tuple(piece for piece in inside if piece != "▁"))
        return found

    rows = [
        row["messages"] if "messages" in row else [*row["prompt"], *row["chosen"]]
        for row in data.load(name, "train")[:150]
    ]
    answers = [words(data.said(messages[-1])) for messages in rows]
    used = Counter(word for answer in answers for word in answer)
    for messages, answer in zip(rows, answers, strict=True):
        prompt = words("\n".join(turn["content"] or "" for turn in messages[:-1]))
        for word in answer.keys() & prompt.keys():
            learnt = used[word] > len(rows) / 20  # a word that so many answers have needs no copying
            assert learnt or answer[word] & prompt[word], f"{word!r} is {answer[word]}, not {prompt[word]}"


# What the tables say


def test_the_table_of_abilities_is_whole():
    table = json.loads((BASE / "abilities.json").read_text())
    differ, compared = table.pop("gguf_lines_differ")
    assert (differ, compared) == (0, 2_000)
    reading = {"new_facts_in_context", "altered_passage_followed"}
    reading |= {"missing_answer_said", "missing_answer_said_wrongly"}
    known = {"known_facts", "new_facts", "grammar", "zero_shot", "four_shot"}
    steps = {"one_step", "two_step", "two_step_in_steps"}
    assert set(table) == reading | known | steps | {"many_wordings", "one_wording"}
    for value in table.values():
        assert value["seeds"] >= 3 and value["low"] <= value["mean"] <= value["high"]


def test_the_untuned_abilities_are_those_of_the_shipped_weights(base):
    bench = abilities.Bench(str(BASE))
    found = abilities.untuned_abilities(bench, seed=0)
    table = json.loads((BASE / "abilities.json").read_text())
    for name, value in found.items():
        assert abs(value - table[name]["mean"]) < 0.12, name


def test_an_altered_statement_says_something_else_and_a_missing_answer_is_not_there():
    pen = Pen("test", "abilities-test", wordings="train", open_names=True)
    for fact in pen.some([fact for fact in data.load("facts", "facts") if fact["known"]], 60):
        other = abilities.another_value(pen, fact)
        assert other["answer"] != fact["answer"] and other["statement"].endswith(f"{other['answer']}.")
        request, answer = abilities.from_statement(pen, other)
        assert answer["content"] == other["answer"] and other["answer"] in request["content"]
    for _ in range(30):
        assert abilities.missing(pen)[1]["content"] == abilities.reading.NOT_SAID
        request, answer = abilities.answered(pen)
        assert answer["content"] in request["content"]


def test_marked_groups_have_nobody_in_common_and_are_mentioned_in_their_own_way_only():
    groups = {name: settlers.group(name) for name in ("one_wording", "many_wordings", "strangers")}
    names = {name: {str(person) for person in people} for name, people in groups.items()}
    assert all(len(names[name]) == len(groups[name]) for name in groups)
    assert not any(one & other for one, other in itertools.combinations(names.values(), 2))
    told, untold = ({fact.name for fact in settlers.work_streets(which)} for which in (True, False))
    assert told and untold and not told & untold


def test_one_group_is_told_of_in_one_way_and_the_other_in_many():
    def ways(genre, group: str) -> set[str]:
        names, found = [str(person) for person in settlers.group(group)], set()
        for number in range(60):
            for line in genre(Pen("train", number)).split("\n"):
                [name] = [name for name in names if name in line]
                found.add(" ".join(line.partition(name)[2].split()[:2]))
        return found

    assert len(ways(register.register, "one_wording")) == 1
    assert len(ways(register.portraits, "many_wordings")) > 10
