"""The tokenizer of the base models: byte-pair encoding in SentencePiece's form, and the chat tokens.

A word is one token wherever it stands. The mark `▁` stands for a space, begins every text, and begins the text after every
special token, so that `curator` is the same token inside a sentence and as the first word of an answer: a small model
copies tokens, it does not translate one into another. A capital never takes the space before it into its token, so a name
is the same tokens at the head of a line, inside a sentence and between quotes. Digits stand alone.

No piece of the split pattern shares a token with its neighbour, so splitting a text first changes nothing but the speed:
llama.cpp's tokenizer of the same kind (type `llama`, which has no split pattern) finds the same tokens.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from ftlib.data import CHAT_TEMPLATE

ENTRIES = 4096
SPACE = "▁"
PIECES = rf"{SPACE}?\p{{Ll}}+|\p{{Lu}}+\p{{Ll}}*|{SPACE}?[^\s\p{{L}}\p{{N}}{SPACE}]+|.|\s"
PAD, BOS, EOS = "<|pad|>", "<|bos|>", "<|eos|>"
TURNS = ["<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]
SHOWN = ["<|call|>", "<|think|>", "<|/think|>"]   # part of what the assistant says: decoding keeps them
RESERVED = [f"<|reserved_{number}|>" for number in range(16)]   # for chapters that add a token to a trained model
SPECIAL = [PAD, BOS, EOS, *TURNS, *SHOWN, *RESERVED]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]   # what no other token covers


def train(texts: Iterable[str], context: int) -> PreTrainedTokenizerFast:
    """Learn the merges from texts. Plain text is encoded as `<|bos|>` + text; nothing is added at the end."""
    tokenizer = _with_rules(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=ENTRIES, special_tokens=[*SPECIAL, *BYTES], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    ranks = tokenizer.get_vocab()
    fallback = models.BPE(vocab=ranks, merges=every_merge(ranks), byte_fallback=True)
    tokenizer = _with_rules(fallback)
    tokenizer.add_special_tokens([token for token in SPECIAL if token not in SHOWN])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in SHOWN])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=EOS, model_max_length=context,
        additional_special_tokens=[*TURNS, *RESERVED], chat_template=CHAT_TEMPLATE, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def _with_rules(model: models.BPE) -> Tokenizer:
    """A tokenizer that marks spaces and splits text as this module's head says."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), "isolated")
    return tokenizer


def every_merge(ranks: dict[str, int]) -> list[tuple[str, str]]:
    """Every way to make a token out of two others, earlier tokens first: what SentencePiece's algorithm may merge."""
    pieces = {token for token in ranks if token not in SPECIAL and token not in BYTES}
    splits = ((token[:at], token[at:]) for token in sorted(pieces, key=ranks.__getitem__) for at in range(1, len(token)))
    return [(left, right) for left, right in splits if left in pieces and right in pieces]
