"""How fast is train.sft beside a bare PyTorch loop? Both in one run, alternating, on the same batches.

    python benchmarks/train_overhead.py [--repeats 5] [--examples 800] [--no-trl]

All start from the same weights and take the same steps: same batches in the same order, float32, fused
AdamW, cosine schedule, clipping, loss of the answers only. The bare loop finds its batches collated;
train.sft and trl collate theirs. trl.SFTTrainer runs as it comes, with its own loss and metrics, but
without bfloat16 and activation checkpointing, which cost time on a CPU. The ratio is the median over the
repeats of train.sft / bare loop, in non-padding tokens a second. Exit status 1: it is below 0.75, or the
losses of the two differ.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    get_cosine_schedule_with_warmup,
)

from ftlib import data, model, settings, train

FLOOR = 0.75
LEARNING_RATE = 1e-3
BATCH_SIZE = 16
WORDS = [
    "the",
    "ferry",
    "leaves",
    "at",
    "noon",
    "and",
    "baker",
    "sells",
    "bread",
    "in",
    "harbour",
    "town",
    "when",
]
Measured = tuple[float, list[float]]  # seconds of training, loss of each step


def main() -> int:
    options = arguments()
    settings.offline()
    network, tokenizer = base_model()
    examples = conversations(options.examples)
    rows = [data.encode(tokenizer, messages, max_length=512) for messages in examples]
    order = train.LengthGroupedBatches([len(row.ids) for row in rows], BATCH_SIZE, BATCH_SIZE, seed=0)
    runs = {
        "bare loop": lambda: bare(model.clone(network), tokenizer, rows, order),
        "train.sft": lambda: through_sft(model.clone(network), tokenizer, examples),
        "trl.SFTTrainer": lambda: through_trl(model.clone(network), tokenizer, rows, order),
    }
    if options.no_trl:
        del runs["trl.SFTTrainer"]
    found: dict[str, list[Measured]] = {name: [] for name in runs}
    for repeat in range(options.repeats + 1):
        for name, run in runs.items():
            measured = run()
            if repeat:  # the first round warms up
                found[name].append(measured)
    tokens = sum(len(row.ids) for row in rows)
    size = model.parameters(network)["total"] / 1e6
    print(f"{size:.1f} million parameters, {torch.get_num_threads()} threads")
    print(f"a run: {len(order)} steps, {tokens} tokens")
    return report(found, tokens)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--examples", type=int, default=800)
    parser.add_argument("--no-trl", action="store_true", help="leave out trl.SFTTrainer")
    return parser.parse_args()


def report(found: dict[str, list[Measured]], tokens: int) -> int:
    bare_seconds = [seconds for seconds, _ in found["bare loop"]]
    ratios = {}
    for name, measured in found.items():
        rates = [tokens / seconds for seconds, _ in measured]
        shares = [bare / seconds for bare, (seconds, _) in zip(bare_seconds, measured, strict=True)]
        ratios[name] = statistics.median(shares)
        print(
            f"{name:15} {statistics.median(rates):7.0f} tokens/s [{min(rates):.0f}, {max(rates):.0f}]"
            f"   of the bare loop: {ratios[name]:.2f} [{min(shares):.2f}, {max(shares):.2f}]"
        )
    losses = [found[name][0][1] for name in ("bare loop", "train.sft")]
    difference = max(abs(first - second) for first, second in zip(*losses, strict=True))
    print(f"largest difference between the losses of bare loop and train.sft: {difference:.1e} nats")
    print(f"ratio: {ratios['train.sft']:.2f}")
    return int(ratios["train.sft"] < FLOOR or difference > 0.01)


def bare(network, tokenizer, rows: Sequence[data.Encoded], order: train.LengthGroupedBatches) -> Measured:
    """The loop that one would write by hand for speed: nothing in it but the arithmetic."""
    batches = []
    for batch in order:
        inputs = data.collate([rows[row] for row in batch], tokenizer.pad_token_id)
        kept = (
            (inputs["labels"][:, 1:] != -100).any(0).nonzero()[:, 0]
        )  # logits are needed at these positions only
        batches.append(
            (inputs["input_ids"], inputs["attention_mask"], kept, inputs["labels"][:, kept + 1].flatten())
        )
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)
    schedule = get_cosine_schedule_with_warmup(optimiser, int(train.WARM_UP * len(batches)), len(batches))
    network.train()
    losses = []
    began = time.perf_counter()
    for ids, attention_mask, kept, targets in batches:
        logits = network(ids, attention_mask=attention_mask, logits_to_keep=kept, use_cache=False).logits
        loss = cross_entropy(logits.flatten(0, 1), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    return time.perf_counter() - began, losses


def through_sft(network, tokenizer, examples: list) -> Measured:
    result = train.sft(
        network,
        tokenizer,
        examples,
        epochs=1,
        learning_rate=LEARNING_RATE,
        batch_size=BATCH_SIZE,
        progress=False,
    )
    return result.seconds, [entry["loss"] for entry in result.history]


def through_trl(
    network, tokenizer, rows: Sequence[data.Encoded], order: train.LengthGroupedBatches
) -> Measured:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    class SameBatches(SFTTrainer):
        def get_train_dataloader(self):
            loader = torch.utils.data.DataLoader(
                self.train_dataset, batch_sampler=order, collate_fn=self.data_collator
            )
            return self.accelerator.prepare(loader)

    labels = [
        [token if bit else -100 for token, bit in zip(row.ids, row.response_mask, strict=True)]
        for row in rows
    ]
    with tempfile.TemporaryDirectory() as folder, model.quiet():
        config = SFTConfig(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH_SIZE,
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="cosine",
            warmup_steps=int(train.WARM_UP * len(order)),
            max_length=None,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            dataset_kwargs={"skip_prepare_dataset": True},
        )
        trainer = SameBatches(
            model=network,
            args=config,
            train_dataset=Dataset.from_dict({"input_ids": [row.ids for row in rows], "labels": labels}),
            processing_class=tokenizer,
        )
        trainer.callback_handler.callbacks = [
            callback
            for callback in trainer.callback_handler.callbacks
            if type(callback).__name__ != "PrinterCallback"
        ]
        began = time.perf_counter()
        trainer.train()
        return time.perf_counter() - began, [
            entry["loss"] for entry in trainer.state.log_history if "loss" in entry
        ]


def base_model() -> tuple:
    """The shipped base model, or, in a checkout without one, a Llama of its size with random weights."""
    folder = settings.DATA / "base-model"
    if folder.exists():
        return model.load(str(folder), "cpu")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    special = ["<|pad|>", "<|bos|>", "<|eos|>", "<|system|>", "<|user|>", "<|assistant|>"]
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words.train_from_iterator(
        [" " + word for word in WORDS] * 9,
        trainers.BpeTrainer(
            vocab_size=4096, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<|bos|>", eos_token="<|eos|>", pad_token="<|pad|>"
    )
    tokenizer.chat_template = data.CHAT_TEMPLATE
    settings.seed_everything(0)
    config = LlamaConfig(
        hidden_size=192, num_hidden_layers=5, num_attention_heads=6, intermediate_size=512, vocab_size=4096,
        max_position_embeddings=512, tie_word_embeddings=True, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return LlamaForCausalLM(config), tokenizer


def conversations(count: int) -> list[list[dict[str, str]]]:
    """Tickets of the triage set; in a checkout without it 25 to 80 random words, answered by another."""
    if (settings.DATA / "triage" / "train.jsonl").exists():
        return [row["messages"] for row in data.load("triage", "train")][:count]
    rng = random.Random(0)
    return [
        [
            {"role": "user", "content": " ".join(rng.choices(WORDS, k=rng.randint(25, 80)))},
            {"role": "assistant", "content": rng.choice(WORDS)},
        ]
        for _ in range(count)
    ]


if __name__ == "__main__":
    sys.exit(main())
