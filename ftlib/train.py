"""One training entry: supervised fine-tuning over `transformers.Trainer`, seeded, resumable and fast."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlib import artefact, data, evaluate, plot
from ftlib.model import memory_gb, quiet, token_nats
from ftlib.settings import WorkbookError, number_format, seed_everything

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

Messages = Sequence[dict[str, str]]
WARM_UP = 0.03  # share of the steps in which the learning rate rises


@dataclass(frozen=True)
class Result:
    """What a training run made and what it cost.

    model: the model that was passed in, trained in place, or its peft wrapper when there is an adapter.
    history: one dict a step: step (from 1), epoch, tokens (so far), loss (nats a token, of this step's
    batch before its update), learning_rate, and held_out_loss where it was measured.
    seconds: training time of this call, without encoding, saving, held-out loss and `on_checkpoint`.
    tokens: all non-padding tokens processed in this call, prompts included. tokens_per_second: their ratio.
    peak_memory_gb: see `model.memory_gb`. manifest: seed, versions, arguments, digest of the examples.
    """

    model: PreTrainedModel
    history: list[dict[str, float]]
    seconds: float
    tokens: int
    tokens_per_second: float
    peak_memory_gb: float
    manifest: dict[str, Any]


class LengthGroupedBatches:
    """Row numbers in batches of similar length, so that little is padded; another order each epoch.

    Rows are sorted by length times a random factor of 0.9 to 1.1, cut into batches, and the batches are
    shuffled (a short one comes last). The order follows from (seed, epoch) alone, not from what ran before:
    that makes a resumed run equal to an uninterrupted one. A batch is yielded in parts of `part` rows.

    >>> sorted(sorted(batch) for batch in LengthGroupedBatches([3, 9, 3, 9], rows=2, part=2, seed=0))
    [[0, 2], [1, 3]]
    """

    drop_last = False  # this and batch_size are what accelerate asks of a batch sampler

    def __init__(self, lengths: Sequence[int], rows: int, part: int, seed: int):
        self.lengths, self.rows, self.batch_size, self.seed, self.epoch = lengths, rows, part, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        full, rest = divmod(len(self.lengths), self.rows)
        return full * (self.rows // self.batch_size) + math.ceil(rest / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        rng = random.Random(f"{self.seed}/{self.epoch}")
        keys = [length * rng.uniform(0.9, 1.1) for length in self.lengths]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        short = len(order) % self.rows
        start = rng.randrange(0, len(order) - short + 1, self.rows)
        last, order[start : start + short] = order[start : start + short], []
        batches = [order[start : start + self.rows] for start in range(0, len(order), self.rows)]
        rng.shuffle(batches)
        for batch in [*batches, last]:
            for start in range(0, len(batch), self.batch_size):
                yield batch[start : start + self.batch_size]


def sft(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Messages],
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int = 16,
    seed: int = 0,
    adapter: PeftConfig | None = None,
    held_out: Sequence[Messages] | None = None,
    response_only: bool = True,
    max_length: int = 512,
    folder: str | Path | None = None,
    resume: bool = False,
    checkpoints: int = 0,
    on_checkpoint: Callable[[int, PreTrainedModel], None] | None = None,
    micro_batch_size: int | None = None,
    progress: bool = True,
) -> Result:
    """Fine-tune `model` on conversations; the same arguments give the same weights, to the bit on a CPU.

    Loss: mean negative log-likelihood over a batch's loss-bearing tokens, the assistant's (`response_only`)
    or all. AdamW (Loshchilov and Hutter, 2019) with betas 0.9 and 0.999 and no weight decay; gradient norm
    clipped at 1; the learning rate rises over the first 3 % of the steps, then falls to 0 along a cosine.
    Weights keep their dtype, on a CPU the arithmetic has it too, and on a GPU the arithmetic is 16-bit.

    adapter: a peft config; it is trained and the model's own weights are not. max_length: tokens of an
    example. held_out: conversations whose loss is measured at every checkpoint. Checkpoints are `checkpoints`
    evenly spaced steps, or with 0 the end of each epoch. Each is kept as `folder`/checkpoint-STEP (with 0
    only the newest); without a folder nothing is written. on_checkpoint(step, model) is called at each, once
    it is saved. resume: go on from the newest checkpoint in `folder`, or start when there is none.
    micro_batch_size: rows of a batch that are in memory at a time, a divisor of batch_size; their gradients
    add up to those of the whole batch, up to rounding.

    Raises WorkbookError: no example, an example without a token to learn from, no trainable weight, a loss
    that is not finite, a folder that holds another run.
    """
    seed_everything(seed)
    arguments = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size}
    arguments |= {"response_only": response_only, "max_length": max_length, "checkpoints": checkpoints}
    arguments |= {"micro_batch_size": micro_batch_size or batch_size, "adapter": adapter}
    _check(arguments)
    encoded = _encode(tokenizer, examples, max_length, response_only)
    if held_out is not None:
        evaluate.loss(model, tokenizer, held_out[:2], response_only)  # what cannot be measured is said now
    manifest = _manifest(seed, arguments, examples)
    manifest |= {"model": _weights(model)} if folder else {}  # a large model takes its time
    model = _trainable(model, adapter)
    lengths = [len(row.ids) for row in encoded]
    steps, spots = math.ceil(len(encoded) / batch_size) * epochs, checkpoints or epochs

    def held_out_loss() -> float | None:
        found = evaluate.loss(model, tokenizer, held_out, response_only) if held_out else None
        return found and found.nats_per_token.mean

    claim = artefact.claimed(Path(folder).absolute()) if folder else contextlib.nullcontext()
    with quiet(), claim:
        newest = _open_folder(Path(folder), manifest, resume) if folder else None
        trainer = _trainer_class()(
            batches=LengthGroupedBatches(lengths, batch_size, arguments["micro_batch_size"], seed),
            checkpoint_steps={round(steps * spot / spots) for spot in range(1, spots + 1)},
            saved_tokenizer=tokenizer if folder else None,
            held_out_loss=held_out_loss,
            on_checkpoint=on_checkpoint,
            bar=plot.bar(steps, "training", "step", progress),
            model=model,
            args=_training_arguments(model, arguments, seed, int(WARM_UP * steps), folder),
            train_dataset=encoded,
            data_collator=lambda rows: data.collate(rows, tokenizer.pad_token_id),
        )
        return trainer.run(newest, manifest)


def trial(
    base_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Messages],
    tests: Sequence[Messages],
    metric: evaluate.Metric | str | None,
    **arguments: Any,
) -> dict[str, float]:
    """One run of an experiment: trains a copy of the model, and says how good its answers to `tests` are.

    metric: as `evaluate.quality` takes it. arguments: those of `sft`. Returns score, and, where there is a
    metric, answers_that_end: the share of answers that end by themselves.
    """
    tuned = sft(copy.deepcopy(base_model), tokenizer, examples, **arguments).model
    if metric is None:
        return {"score": evaluate.quality(tuned, tokenizer, tests, None).mean}
    found = evaluate.score(tuned, tokenizer, [{"messages": turns} for turns in tests], metric)
    return {"score": found.interval.mean, "answers_that_end": found.ended}


def row_gradients(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Messages]
) -> torch.Tensor:
    """The gradient of each conversation's loss, of the matrix before the last: (conversations, its numbers).

    One matrix stands for all, so that many gradients fit into memory at the same time.
    """
    import torch

    matrix = [weight for weight in model.parameters() if weight.dim() == 2][-2]
    found = []
    for row in _encode(tokenizer, conversations, 512, True):
        batch = data.collate([row], tokenizer.pad_token_id).to(model.device)
        loss = token_nats(model, batch).sum() / sum(row.response_mask)
        found.append(torch.autograd.grad(loss, matrix)[0].flatten())
    return torch.stack(found)


def _check(chosen: dict[str, Any]) -> None:
    """WorkbookError for numbers that no training can have."""
    for name in ("epochs", "batch_size", "learning_rate"):
        if not 0 < chosen[name] < math.inf:
            raise WorkbookError(f"{name} is {chosen[name]}: it must be above 0")
    rows, part = chosen["batch_size"], chosen["micro_batch_size"]
    if rows % part:
        raise WorkbookError(f"micro_batch_size {part} does not divide batch_size {rows}")


def _weights(model: PreTrainedModel) -> str:
    """The digest of a model's weights."""
    import torch

    total = hashlib.sha256()
    for weight in model.parameters():
        total.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return total.hexdigest()


def _encode(tokenizer, examples: Sequence[Messages], max_length: int, response_only: bool) -> list:
    """Encode every example once; without `response_only` every token but the first carries loss."""
    encoded, reported = data.encode_all(tokenizer, examples, max_length)
    if reported:
        index, reason = reported[0].row - 1, reported[0].reason
        raise WorkbookError(f"example {index} cannot be trained on: {reason}. Leave it out or mend it")
    if not encoded:
        raise WorkbookError("there is no example to train on")
    everything = [data.Encoded(row.ids, [0] + [1] * (len(row.ids) - 1)) for row in encoded]
    return encoded if response_only else everything


def _manifest(seed: int, arguments: dict[str, Any], examples: Sequence[Messages]) -> dict[str, Any]:
    """What a run follows from, in JSON terms."""

    def plain(value: Any) -> Any:
        return sorted(value) if isinstance(value, set) else getattr(value, "to_dict", value.__str__)()

    return {
        "seed": seed,
        "data": hashlib.sha256(json.dumps(list(examples), sort_keys=True).encode()).hexdigest(),
        "arguments": json.loads(json.dumps(arguments, default=plain)),
        "versions": artefact.versions(),
    }


def _open_folder(folder: Path, manifest: dict[str, Any], resume: bool) -> Path | None:
    """Claim `folder` for this run; the newest complete checkpoint in it, if there is one of the same run."""
    note = folder / "training.json"
    # trainer_state.json is written last, so a checkpoint that has one is whole
    found = folder.glob("checkpoint-*/trainer_state.json")
    whole = sorted(found, key=lambda path: int(path.parent.name.removeprefix("checkpoint-")))
    if whole and not resume:
        raise WorkbookError(f"{folder} holds a run already: say resume=True or name another folder")
    if whole:
        earlier, now = ({**kept["arguments"], **kept} for kept in (json.loads(note.read_text()), manifest))
        names = sorted(now.keys() - {"arguments", "versions"})
        if differing := ", ".join(name for name in names if earlier.get(name) != now[name]):
            raise WorkbookError(f"{folder} holds a run with another {differing}: resume it with the same")
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(manifest, indent=2) + "\n")
    return whole[-1].parent if whole else None


def _trainable(model: PreTrainedModel, adapter: PeftConfig | None) -> PreTrainedModel:
    """The model, or its peft wrapper, once it is sure that something in it can learn."""
    if adapter is not None:
        import peft

        if hasattr(model, "peft_config"):
            raise WorkbookError("the model has an adapter already: unload it, or load the model anew")
        with quiet():
            model = peft.get_peft_model(model, copy.deepcopy(adapter))  # it fills in the config it is given
    if not any(weight.requires_grad for weight in model.parameters()):
        raise WorkbookError("no weight of the model is trainable: use requires_grad_(True) on some")
    return model


def _training_arguments(
    model: PreTrainedModel, chosen: dict[str, Any], seed: int, warm_up: int, folder: str | Path | None
) -> TrainingArguments:
    """Arguments for the device that the model is on; when to save is left to `_Trainer`."""
    import torch
    from transformers import TrainingArguments

    on_gpu = model.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()  # so that the result tells the peak of this run
    # On a CPU the weights' own format: a result must not depend on what kind of CPU it is.
    fast = number_format("cuda") if on_gpu else None
    arguments = TrainingArguments(
        output_dir=str(folder or "."),  # "." exists, so nothing is made; nothing is saved there either
        num_train_epochs=chosen["epochs"],
        learning_rate=chosen["learning_rate"],
        per_device_train_batch_size=chosen["micro_batch_size"],
        gradient_accumulation_steps=chosen["batch_size"] // chosen["micro_batch_size"],
        lr_scheduler_type="cosine",
        warmup_steps=warm_up,
        seed=seed,
        bf16=fast is torch.bfloat16,
        fp16=fast is torch.float16 and model.dtype == torch.float32,
        use_cpu=model.device.type == "cpu",
        use_cache=model.config.use_cache,
        dataloader_pin_memory=on_gpu,
        include_num_input_tokens_seen="non_padding",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        save_total_limit=None if chosen["checkpoints"] else 1,
        report_to="none",
        disable_tqdm=True,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several visible GPUs would mean nn.DataParallel
    # Without either, what `accelerate launch` left in the environment would decide.
    arguments.mixed_precision = "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "no"
    return arguments


def _trainer_class() -> Any:
    """`_Trainer` on top of `transformers.Trainer`, which must not be imported before it is needed."""
    from transformers import Trainer

    return type("Trainer", (_Trainer, Trainer), {})


class _Trainer:
    """What differs from `transformers.Trainer`: our batches, loss and checkpoints; no work for nobody."""

    loss_is_scaled_for_ga = True  # compute_loss divides by the tokens of the whole batch

    def __init__(self, *, model, args, train_dataset, data_collator, **ours: Any):
        from transformers import PrinterCallback

        super().__init__(model=model, args=args, train_dataset=train_dataset, data_collator=data_collator)
        self.remove_callback(PrinterCallback)
        self.model_accepts_loss_kwargs = True  # so that num_items_in_batch is counted for every model
        self.seconds = 0.0
        vars(self).update(ours)

    def run(self, checkpoint: Path | None, manifest: dict[str, Any]) -> Result:
        """Train, from `checkpoint` if there is one, and leave a plain model in evaluation mode."""
        forward, began = vars(self.model).get("forward"), time.perf_counter()
        try:
            self.train(resume_from_checkpoint=checkpoint and str(checkpoint))
        finally:
            self.seconds += time.perf_counter() - began
            self.bar.close()
            for name in ("forward", "_original_forward"):  # accelerate put autocast in the place of forward
                vars(self.model).pop(name, None)
            if forward is not None:
                self.model.forward = forward
            self.model.eval().zero_grad()
        logged = [entry for entry in self.state.log_history if "loss" in entry]
        names = ("step", "epoch", "tokens", "loss", "learning_rate", "held_out_loss")
        history = [{name: entry[name] for name in names if name in entry} for entry in logged]
        tokens = self.state.num_input_tokens_seen - self._initial_num_input_tokens_seen
        rate = tokens / self.seconds
        return Result(self.model, history, self.seconds, tokens, rate, memory_gb(), manifest)

    def get_train_dataloader(self):
        from torch.utils.data import DataLoader

        loader = DataLoader(self.train_dataset, batch_sampler=self.batches, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        return token_nats(model, inputs).sum() / num_items_in_batch * self.accelerator.num_processes

    def training_step(self, model, inputs, num_items_in_batch=None):
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not math.isfinite(loss):
            raise WorkbookError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}: training has diverged. "
                f"Load the model anew and lower learning_rate (it is {self.args.learning_rate:g})"
            )
        return loss

    def floating_point_ops(self, inputs):
        return 0  # counting the parameters at every step costs more than it tells

    def log(self, logs, start_time=None):
        super().log(logs, start_time)
        if "loss" not in logs:
            return
        step = self.state.global_step
        self.state.log_history[-1]["tokens"] = self.state.num_input_tokens_seen
        self.bar.set_postfix_str(f"loss {logs['loss']:.3f}", refresh=False)
        self.bar.update(step - self.bar.n)
        if step in self.checkpoint_steps:
            self.checkpoint(step)

    def checkpoint(self, step: int) -> None:
        """Measure, save, tell the caller: off the clock, and apart from the stream of random numbers."""
        import torch

        began = time.perf_counter()
        if (loss := self.held_out_loss()) is not None:
            self.state.log_history[-1]["held_out_loss"] = loss
        if self.saved_tokenizer:
            self.saved_tokenizer.save_pretrained(f"{self.args.output_dir}/checkpoint-{step}")
            self._save_checkpoint(self.model, trial=None)
        if self.on_checkpoint:
            self.model.eval()
            with torch.random.fork_rng():
                self.on_checkpoint(step, self.model)
        self.seconds -= time.perf_counter() - began
