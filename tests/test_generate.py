"""Decoding: batched equals one by one, ends at the end token, repeats itself for a seed, fits the context."""

import pytest
import tiny
import torch

from ftlib import data, generate, model, train
from ftlib.settings import WorkbookError

WORDS = ["noon", "bread", "ferry", "baker"]
EXAMPLES = [
    [
        {"role": "user", "content": f"the {word}" + " leaves" * count},
        {"role": "assistant", "content": f"{word} at noon"},
    ]
    for word in WORDS
    for count in (0, 3, 9)
]
TEXTS = [
    "the",
    "bread",
    "noon at",
    "ferry leaves",
    "baker",
    "leaves leaves leaves",
    "at noon bread " * 4,
    "the " * 20,
]
PROMPTS = [messages[:-1] for messages in EXAMPLES]


@pytest.fixture(scope="module")
def taught(tiny_model_folder):
    """A model that repeats the word it is asked about and adds "at noon"."""
    network, tokenizer = model.load(str(tiny_model_folder), "cpu")
    train.sft(network, tokenizer, EXAMPLES, epochs=60, learning_rate=1e-2, batch_size=6, progress=False)
    return network, tokenizer


def by_hand(network, tokenizer, text, max_new_tokens):
    """Greedy decoding of one prompt, without batch, padding or cache."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    new = []
    while len(new) < max_new_tokens and tokenizer.eos_token_id not in new:
        with torch.no_grad():
            new.append(int(network(torch.tensor([ids + new])).logits[0, -1].argmax()))
    return tokenizer.decode(new, skip_special_tokens=True)


def test_answers_are_those_of_greedy_decoding_by_hand_in_the_order_of_the_prompts(taught):
    network, tokenizer = taught
    found = generate.answers(network, tokenizer, PROMPTS, max_new_tokens=20, batch_size=5)
    assert found == [by_hand(network, tokenizer, data.prompt(tokenizer, prompt), 20) for prompt in PROMPTS]
    assert found == [messages[-1]["content"] for messages in EXAMPLES]


def test_an_answer_stops_at_the_end_token_and_at_the_longest_allowed_length(taught):
    network, tokenizer = taught
    ends = len(tokenizer(EXAMPLES[0][-1]["content"], add_special_tokens=False)["input_ids"])
    assert generate.answers(network, tokenizer, PROMPTS[:1], max_new_tokens=90) == [
        EXAMPLES[0][-1]["content"]
    ]
    short = generate.answers(network, tokenizer, PROMPTS[:1], max_new_tokens=ends - 1)[0]
    assert EXAMPLES[0][-1]["content"].startswith(short)
    assert len(tokenizer(short, add_special_tokens=False)["input_ids"]) == ends - 1


def test_texts_are_continued_after_the_token_that_begins_a_document_whatever_their_neighbours(taught):
    network, tokenizer = taught
    found = generate.continue_text(network, tokenizer, TEXTS, max_new_tokens=30)
    assert found == [by_hand(network, tokenizer, tokenizer.bos_token + text, 30) for text in TEXTS]


def test_dropout_is_off_while_a_model_answers_and_the_model_stays_in_its_mode(taught):
    network, tokenizer = model.clone(taught[0]), taught[1]
    for layer in network.model.layers:
        layer.self_attn.attention_dropout = 0.5
    expected = generate.answers(network.eval(), tokenizer, PROMPTS, max_new_tokens=20)
    assert generate.answers(network.train(), tokenizer, PROMPTS, max_new_tokens=20) == expected
    assert generate.continue_text(network, tokenizer, TEXTS) == generate.continue_text(*taught, TEXTS)
    assert network.training


def test_padding_that_is_not_masked_turns_that_check_red(taught, monkeypatch):
    plain = type(taught[0]).generate

    def unmasked(self, **arguments):
        return plain(self, **arguments | {"attention_mask": torch.ones_like(arguments["input_ids"])})

    monkeypatch.setattr(type(taught[0]), "generate", unmasked)
    with pytest.raises(AssertionError):
        test_texts_are_continued_after_the_token_that_begins_a_document_whatever_their_neighbours(taught)


def test_sampling_repeats_itself_for_a_seed_differs_for_another_and_leaves_the_random_stream_alone(taught):
    network, tokenizer = taught
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, second, other = (
        generate.answers(network, tokenizer, PROMPTS, max_new_tokens=12, temperature=3.0, seed=seed)
        for seed in (5, 5, 6)
    )
    assert first == second
    assert first != other
    assert torch.equal(torch.rand(3), expected)


def test_sampling_follows_the_distribution_of_the_model_at_its_temperature(taught):
    network, tokenizer = taught
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer("the", add_special_tokens=False)["input_ids"]]])
    with torch.no_grad():
        expected = (network(ids).logits[0, -1] / 2.0).softmax(-1)
    drawn = generate.continue_text(network, tokenizer, ["the"] * 2000, max_new_tokens=1, temperature=2.0)
    likeliest = int(expected.argmax())
    share = sum(text == tokenizer.decode([likeliest]) for text in drawn) / 2000
    assert share == pytest.approx(float(expected[likeliest]), abs=0.04)


def test_what_a_model_recommends_for_its_own_generation_is_not_used(taught, capfd, recwarn):
    network, tokenizer = taught
    expected = generate.answers(network, tokenizer, PROMPTS, max_new_tokens=12)
    other = model.clone(network)
    other.generation_config.update(
        temperature=0.2, top_p=0.1, top_k=3, do_sample=True, repetition_penalty=9.0
    )
    other.generation_config.update(max_length=3)
    assert generate.answers(other, tokenizer, PROMPTS, max_new_tokens=12) == expected
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn] == []


def test_a_prompt_at_the_end_of_the_context_gets_what_room_is_left_and_its_neighbours_get_all(taught):
    network, tokenizer = taught
    context = network.config.max_position_embeddings
    texts = [tokenizer.bos_token * (context - 2)] * 2 + [tokenizer.bos_token * (context - 30), "the"]
    network = model.clone(network)
    tokenizer_end, tokenizer.eos_token_id = (
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    )  # so that nothing ends early
    seen = []
    plain = network.generate
    network.generate = lambda **arguments: seen.append(arguments) or plain(**arguments)
    generate._continue(network, tokenizer, generate._encode(tokenizer, texts), 20, 64, 0.0, 0)
    tokenizer.eos_token_id = tokenizer_end
    assert sorted((len(call["input_ids"]), call["max_new_tokens"]) for call in seen) == [(2, 2), (2, 20)]


def test_a_prompt_that_fills_the_context_and_a_negative_temperature_are_errors(taught):
    network, tokenizer = taught
    long = [[{"role": "user", "content": "bread " * network.config.max_position_embeddings}]]
    with pytest.raises(WorkbookError, match=r"prompt 1 has .* tokens"):
        generate.answers(network, tokenizer, PROMPTS[:1] + long)
    with pytest.raises(WorkbookError, match="temperature is -1"):
        generate.answers(network, tokenizer, PROMPTS, temperature=-1)


CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>\n' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def taught_otherwise(tiny_model_folder):
    """The same, but its turns end with a token that is not the tokenizer's end token."""
    network, tokenizer = model.load(str(tiny_model_folder), "cpu")
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"])
    tokenizer.chat_template = CHATML
    network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    train.sft(network, tokenizer, EXAMPLES, epochs=60, learning_rate=1e-2, batch_size=6, progress=False)
    return network, tokenizer


def test_answers_end_with_the_turn_whichever_token_the_template_ends_turns_with(taught_otherwise):
    network, tokenizer = taught_otherwise
    assert tokenizer.eos_token == "<|eos|>" and data.turn_end(tokenizer) == len(tokenizer) - 1
    found = generate.answers(network, tokenizer, PROMPTS, max_new_tokens=40)
    assert found == [messages[-1]["content"] for messages in EXAMPLES]
    ignorant = by_hand(network, tokenizer, data.prompt(tokenizer, PROMPTS[0]), 40)
    assert ignorant.startswith(found[0] + "<|im_end|>") and len(ignorant) > len(found[0]) + 20


def test_texts_end_at_each_end_token_that_the_model_s_files_name(taught, monkeypatch):
    network, tokenizer = taught
    [text] = generate.continue_text(network, tokenizer, ["the ferry"], max_new_tokens=30)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    second, third = ids[1], next(token for token in ids[2:] if token != ids[1])
    for ends, last in ((third, third), ([third], third), ([third, second], second)):
        monkeypatch.setattr(network.generation_config, "eos_token_id", ends)
        expected = tokenizer.decode(ids[: ids.index(last)])
        assert generate.continue_text(network, tokenizer, ["the ferry"], max_new_tokens=30) == [expected]


def test_no_prompts_give_no_answers(taught):
    assert generate.answers(*taught, []) == []


def test_it_is_said_of_each_answer_whether_it_came_to_an_end_by_itself(taught):
    network, tokenizer = taught
    whole = generate.answers(network, tokenizer, PROMPTS, max_new_tokens=40)
    cut = generate.answers(network, tokenizer, PROMPTS, max_new_tokens=1)
    assert all(whole.ended) and not any(cut.ended)


def test_a_continuation_begins_with_the_space_that_parts_it_from_the_text():
    tokenizer = tiny.make_sentencepiece()
    network = tiny.make_model(tokenizer)
    [new] = generate.continue_text(network, tokenizer, ["The ferry"], max_new_tokens=12)
    text = tokenizer.bos_token + "The ferry"
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    whole = network.generate(ids, max_new_tokens=12, do_sample=False)
    assert "The ferry" + new == tokenizer.decode(whole[0], skip_special_tokens=True)
