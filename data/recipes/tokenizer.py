"""The tokenizer of the base model: byte-level BPE, one token a digit, chat tokens, chat template.

A lower-case word takes the space before it into its token, as in GPT-2; a word with a capital does not. So a name is the
same tokens at the head of a line, inside a sentence and between the quotes of a record, and can be copied from one to another.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from ftlib.data import CHAT_TEMPLATE

ENTRIES = 4096
PIECES = r"'(?:s|t|re|ve|m|ll|d)\b|\p{N}| ?\p{Ll}+|\p{Lu}+\p{Ll}*| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s"
PAD, BOS, EOS = "<|pad|>", "<|bos|>", "<|eos|>"
SPECIAL = [PAD, BOS, EOS, "<|system|>", "<|user|>", "<|assistant|>"]


def train(texts: Iterable[str], context: int) -> PreTrainedTokenizerFast:
    """Learn the merges from texts. Plain text is encoded as `<|bos|>` + text; nothing is added at the end."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PIECES), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=ENTRIES, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=EOS, model_max_length=context,
        additional_special_tokens=SPECIAL[3:], chat_template=CHAT_TEMPLATE, clean_up_tokenization_spaces=False,
    )  # fmt: skip
