"""A tokenizer and a Llama of the shape of the workbook's base model, small enough to be made in a second."""

from pathlib import Path

from ftlib import data

SPECIAL = ["<|pad|>", "<|bos|>", "<|eos|>", "<|system|>", "<|user|>", "<|assistant|>"]
SPECIAL += ["<|tool|>", "<|call|>", "<|think|>", "<|/think|>"]
TEXTS = [
    "The ferry leaves the harbour at noon and the baker opens at seven.",
    "Bread costs two pounds; the blue cup from the market costs five.",
    "Ada asked: when does the last ferry leave? It leaves at nine, said Tom.",
    "A storm came, so the boats stayed in the harbour until the morning.",
]


def make_tokenizer():
    """A byte-level BPE tokenizer of 400 entries with the workbook's special tokens and template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[0],
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        additional_special_tokens=SPECIAL[3:],
        chat_template=data.CHAT_TEMPLATE,
        model_max_length=512,
    )


def make_model(tokenizer):
    """A Llama of two layers with random weights, always the same."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config)


def save(folder: Path) -> Path:
    """Both of them in a folder, as the base model is."""
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    make_model(tokenizer).save_pretrained(folder)
    return folder
