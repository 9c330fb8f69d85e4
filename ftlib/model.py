"""Load a causal language model, measure it, and say which of its weights changed."""

from __future__ import annotations

import contextlib
import copy
import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ftlib import data
from ftlib.artefact import memory_gb as memory_gb  # peak memory of this process or GPU
from ftlib.settings import WorkbookError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel
    from transformers import PreTrainedTokenizerBase as Tokenizer


@contextlib.contextmanager
def quiet(downloads: bool = False) -> Iterator[None]:
    """Inside, transformers shows neither progress bars nor warnings, and no library a FutureWarning.

    downloads: leave the bars, without which a download looks like a standstill.
    """
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not downloads:
        logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def load(id_or_path: str, device: str, dtype: torch.dtype | None = None) -> tuple[PreTrainedModel, Tokenizer]:
    """Load a model and its tokenizer with the plain Auto classes, ready for evaluation.

    id_or_path: a folder, or the id of a model on the hub; of an adapter, whose model gets as many rows of
    embeddings as the adapter's tokenizer has tokens. device: "cpu", "cuda" or "mps".
    dtype: of the weights; None is float32, in which small updates are not lost to rounding.
    Raises WorkbookError when the model is not there or not whole, needs code of its own (which is never run),
    cannot be fetched because there is no network, or has no embedding for some token.
    """
    tokenizer = load_tokenizer(id_or_path)
    with _clear(id_or_path):
        model = _weights(id_or_path, tokenizer, dtype)
    rows, tokens = model.get_input_embeddings().weight.shape[0], max(tokenizer.get_vocab().values()) + 1
    if tokens > rows:
        what = f"{tokens} tokens, and the model embeddings for {rows}: resize these, and save it"
        raise WorkbookError(f"the tokenizer of {id_or_path!r} has {what}")
    return model.to(device).eval(), tokenizer


def load_tokenizer(id_or_path: str) -> Tokenizer:
    """Load the tokenizer of a model, with a chat template that marks the answers.

    A template that does not is replaced by TRL's training template for it, if there is one, else by
    `data.CHAT_TEMPLATE`, and this is said; a tokenizer without one gets the latter. One without a padding
    token pads with its end token (padding is masked, so the choice changes nothing).
    Raises WorkbookError as `load` does, and for a tokenizer without an end token, or with a broken template.
    """
    from transformers import AutoTokenizer

    with _clear(id_or_path):
        tokenizer = AutoTokenizer.from_pretrained(id_or_path, trust_remote_code=False)
    if tokenizer.eos_token_id is None:
        advice = "name one in tokenizer_config.json, as eos_token"
        raise WorkbookError(f"tokenizer of {id_or_path!r}: it has no end token, so no answer ends: {advice}")
    if tokenizer.chat_template is None:
        tokenizer.chat_template = data.CHAT_TEMPLATE
    elif not data.GENERATION.search(tokenizer.get_chat_template()):
        tokenizer.chat_template = _training_template(tokenizer)
    with _clear(id_or_path):
        data.turn_end(tokenizer)  # a template that cannot render a plain conversation is said now
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


@contextlib.contextmanager
def _clear(id_or_path: str) -> Iterator[None]:
    """Quiet inside, and whatever loading raises is one clear error: files and libraries fail in many ways."""
    from huggingface_hub import constants

    try:
        with quiet(downloads=not (Path(id_or_path).is_dir() or constants.HF_HUB_OFFLINE)):
            yield
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if "trust_remote_code" in str(error):
            reason = "it has code of its own, which the workbook does not run"
        advice = "name a whole model folder, or a model id that is stored here or can be downloaded now"
        raise WorkbookError(f"model {id_or_path!r} cannot be loaded ({reason}): {advice}") from error


def _weights(id_or_path: str, tokenizer: Tokenizer, dtype: torch.dtype | None) -> PreTrainedModel:
    """The model of a folder or id; that of an adapter's folder is made to fit the adapter's tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    note = Path(id_or_path, "adapter_config.json")
    base = json.loads(note.read_text())["base_model_name_or_path"] if note.is_file() else id_or_path
    told = {"output_loading_info": True, "ignore_mismatched_sizes": True, "trust_remote_code": False}
    model, info = AutoModelForCausalLM.from_pretrained(base, dtype=dtype or torch.float32, **told)
    if wrong := [*info["missing_keys"], *info["mismatched_keys"]]:  # else these weights would be random
        raise ValueError(f"{len(wrong)} weights are missing or of another size than its config says")
    if note.is_file():
        if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        model.load_adapter(id_or_path)
    return model


def _training_template(tokenizer: Tokenizer) -> str:
    """A chat template that marks the answers, in place of one that does not."""
    from trl.chat_template_utils import get_training_chat_template

    try:
        return get_training_chat_template(tokenizer)
    except Exception:  # it renders the model's template, which may raise anything
        print("the model's chat template does not mark the answers: the workbook's own is used instead")
        return data.CHAT_TEMPLATE


def token_nats(model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Negative log-likelihood, in nats, of the labelled tokens of a batch: the one loss of the workbook.

    batch: what `data.collate` makes. Returns (rows, kept): the positions whose next token carries a label in
    at least one row; 0 where it does not in this one. Only for these are logits computed, which saves most of
    the output layer when answers are short. They are counted from the end, so that soft prompts, which peft
    puts in front, move none.
    """
    from torch.nn.functional import cross_entropy

    labels = batch["labels"]
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    kept = (labels[:, 1:] != -100).any(dim=0).nonzero()[:, 0]
    logits = model(**inputs, logits_to_keep=kept - labels.shape[1], use_cache=False).logits
    targets = labels[:, kept + 1]
    return cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)


def parameters(model: torch.nn.Module) -> dict[str, int]:
    """Count the weights: {"total", "trainable"} in numbers and "bytes" in memory; tied weights count once.

    >>> import torch
    >>> parameters(torch.nn.Linear(3, 2))
    {'total': 8, 'trainable': 8, 'bytes': 32}
    """
    weights = list(model.parameters())
    return {
        "total": sum(weight.numel() for weight in weights),
        "trainable": sum(weight.numel() for weight in weights if weight.requires_grad),
        "bytes": sum(weight.numel() * weight.element_size() for weight in weights),
    }


def snapshot(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copy every weight, by name, for a later `changed(model, before)`."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def changed(model: torch.nn.Module, before: Mapping[str, torch.Tensor]) -> list[str]:
    """Name the tensors of `model` that differ from `before` in any bit, in the model's order, tied ones once.

    before: name -> tensor, from an earlier `snapshot(model)`. A peft wrapper renames the tensors of its base
    model: they are compared under their old names. A tensor that `before` lacks, as those of an adapter added
    since then, counts as changed.

    >>> import torch
    >>> layer = torch.nn.Linear(2, 2)
    >>> before = snapshot(layer)
    >>> _ = layer.bias.data.add_(1)
    >>> changed(layer, before)
    ['bias']
    """
    import torch

    names, seen = [], set()
    for name, tensor in model.state_dict().items():
        old = next((before[known] for known in _names_before_peft(name) if known in before), None)
        if tensor.data_ptr() not in seen and (old is None or not torch.equal(old, tensor.to(old.device))):
            names.append(name)
        seen.add(tensor.data_ptr())
    return names


def _names_before_peft(name: str) -> tuple[str, ...]:
    """The names that a tensor may have had before peft wrapped the model (adapter; soft prompt)."""
    plain = name.replace(".base_layer.", ".")
    return name, plain.removeprefix("base_model.model."), plain.removeprefix("base_model.")


def clone(model: PreTrainedModel) -> PreTrainedModel:
    """Copy a model in memory, so that every repetition of an experiment starts from the same weights."""
    return copy.deepcopy(model)
