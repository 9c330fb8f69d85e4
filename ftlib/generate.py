"""Decode many prompts at once: batched, padded on the left, sorted by length, stopped at an end token."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ftlib import data
from ftlib.model import quiet
from ftlib.settings import WorkbookError

if TYPE_CHECKING:
    from transformers import PreTrainedModel as Model
    from transformers import PreTrainedTokenizerBase as Tokenizer

Messages = Sequence[dict[str, str]]
NOTHING_ELSE = {"top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0}  # whatever the model's files recommend


class Texts(list[str]):
    """Texts in the order of their prompts; `ended` says of each whether it came to an end by itself."""

    ended: list[bool]


def answers(
    model: Model,
    tokenizer: Tokenizer,
    prompts: Sequence[Messages],
    max_new_tokens: int = 64,
    batch_size: int = 64,
    temperature: float = 0.0,
    seed: int = 0,
) -> Texts:
    """Answer each conversation with one assistant turn; the answers come in the order of `prompts`.

    prompts: lists of messages without the final assistant turn. temperature 0 takes the likeliest token each
    time; above 0, tokens are sampled, the same ones for the same seed, prompts and batch size.
    Raises WorkbookError for a negative temperature, or a prompt that leaves no room for an answer in the
    model's context.
    """
    ids = _encode(tokenizer, [data.prompt(tokenizer, messages) for messages in prompts])
    new, ended = _continue(model, tokenizer, ids, max_new_tokens, batch_size, temperature, seed)
    return _with_ends(_decode(tokenizer, new), ended)


def continue_text(
    model: Model,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    seed: int = 0,
) -> Texts:
    """Continue plain texts, without a chat template; returns only what is new. Otherwise like `answers`."""
    ids = _encode(tokenizer, [(tokenizer.bos_token or "") + text for text in texts])
    new, ended = _continue(model, tokenizer, ids, max_new_tokens, 64, temperature, seed)
    # Decoded with the text before it: a tokenizer may take the first space off whatever it decodes.
    both = [start + end for start, end in zip(ids, new, strict=True)]
    starts, wholes = (_decode(tokenizer, rows) for rows in (ids, both))
    return _with_ends([whole[len(start) :] for start, whole in zip(starts, wholes, strict=True)], ended)


def _decode(tokenizer, ids: list[list[int]]) -> list[str]:
    return [tokenizer.decode(row, skip_special_tokens=True) for row in ids]


def _with_ends(found: Sequence[str], ended: list[bool]) -> Texts:
    texts = Texts(found)
    texts.ended = ended
    return texts


def _encode(tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return [tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in texts]


def _continue(model, tokenizer, ids, max_new_tokens, batch_size, temperature, seed) -> tuple[list, list]:
    """The new tokens of each prompt without the one that ends them, and whether there was one."""
    import torch

    if temperature < 0:
        raise WorkbookError(f"temperature is {temperature}: it must be 0 (greedy) or more")
    rooms, ends = _rooms(model, ids, max_new_tokens), _ends(model, tokenizer)
    found: list[list[int]] = [[] for _ in ids]
    ended = [False for _ in ids]
    training = model.training
    model.eval()
    with quiet(), torch.inference_mode(), torch.random.fork_rng():
        torch.manual_seed(seed)
        for rows in _batches([len(prompt) for prompt in ids], rooms, batch_size):
            new = _generate(model, tokenizer, [ids[row] for row in rows], rooms[rows[0]], temperature, ends)
            for row, tokens in zip(rows, new.tolist(), strict=True):
                found[row] = list(itertools.takewhile(lambda token: token not in ends, tokens))
                ended[row] = len(found[row]) < len(tokens)
    model.train(training)
    return found, ended


def _ends(model: Model, tokenizer: Tokenizer) -> list[int]:
    """The tokens that end an answer: the tokenizer's, those of the model's own files, the template's."""
    own = getattr(model, "generation_config", None) and model.generation_config.eos_token_id
    turn = data.turn_end(tokenizer) if tokenizer.chat_template else None
    ends = {tokenizer.eos_token_id, turn, *(own if isinstance(own, list) else [own])}
    return sorted(ends - {None})


def _rooms(model, ids: list[list[int]], max_new_tokens: int) -> list[int]:
    """How many tokens each prompt may get: `max_new_tokens`, or less where the model's context ends."""
    context = getattr(model.config, "max_position_embeddings", None) or sys.maxsize
    for index, prompt in enumerate(ids):
        if not 0 < len(prompt) < context:
            what = f"give 1 to {context - 1}, as the model's context must hold the prompt and its answer"
            raise WorkbookError(f"prompt {index} has {len(prompt)} tokens: {what}")
    return [min(max_new_tokens, context - len(prompt)) for prompt in ids]


def _batches(lengths: list[int], rooms: list[int], batch_size: int) -> Iterator[list[int]]:
    """Row numbers, by length, in batches of equal room, so that no longer neighbour cuts an answer short."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for _, group in itertools.groupby(order, key=rooms.__getitem__):
        rows = list(group)
        yield from (rows[start : start + batch_size] for start in range(0, len(rows), batch_size))


def _generate(model, tokenizer, batch: list[list[int]], max_new_tokens: int, temperature: float, ends):
    """New token ids (rows, new tokens) for one batch; a row that ended early is filled with padding."""
    import torch

    width = max(len(ids) for ids in batch)
    pad = tokenizer.pad_token_id
    input_ids = torch.tensor([[pad] * (width - len(ids)) + ids for ids in batch], device=model.device)
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in batch], device=model.device)
    output = model.generate(
        input_ids=input_ids,
        attention_mask=mask,
        max_new_tokens=max_new_tokens,
        eos_token_id=ends,
        pad_token_id=pad,
        use_cache=True,
        do_sample=temperature > 0,
        temperature=temperature or 1.0,
        **NOTHING_ELSE,
    )
    return output[:, width:]
