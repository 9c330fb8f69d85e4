"""Pre-train the base model from nothing: `python -m data.recipes.pretrain` (make base-model).

One model, one stream of Brightwater text, next-token loss on every token. Matrices inside the blocks are trained with
Muon (Jordan et al., 2024; `torch.optim.Muon`), embeddings and norms with AdamW; the learning rate is constant and falls
linearly to zero over the last third (warm-up, stable, decay). Late stages then read more of what the model is weak in
(corpus.STAGES), above all passages with questions, each at a rate that falls to zero once more. The first tokens are read in
rows of 256, the rest in rows of 512, because short rows cost less. State is saved every few minutes; the same command
takes it up again. The weights at each probe are kept beside it (at-4M, at-8M ...). Where that state is gone, a stage can
begin from weights that ended with the one before (`--weights`), with optimisers that begin anew; recipe.json tells it.

Copying from the context needs heads that look back and a later head that uses them (Olsson et al., 2022). In a model
this small on a corpus this small the pair was not found in 13 million tokens, so it is helped three times. Three heads
of the first block start out looking one, two and three tokens back. The first 1.8 million tokens are random stretches
and tables said again and again, which nothing but copying can predict; some such rows stay to the end. And embeddings
start three times as large as usual: otherwise tokens of like use, such as pieces of names, soon look alike, and what
looks alike cannot be found again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from transformers import AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

from ftlib.settings import in_place_of_bfloat16, number_format

from . import tokenizer as tokenizers
from .corpus import STAGES, Stream, digest
from .probe import probe
from .tokenizer import SPECIAL

CONTEXT = 512
TOKENIZER_DOCUMENTS = 40_000


@dataclass(frozen=True)
class Recipe:
    """What may be varied. Lengths are in tokens."""

    seed: int = 0
    tokens: int = 48_000_000
    late_stages: int = len(STAGES) - 1
    late_tokens: int = 8_000_000   # of each
    late_rate: float = 0.6
    batch_tokens: int = 4_096
    short_row: int = 256
    short_share: float = 0.6
    warm_up_steps: int = 100
    decay_share: float = 0.35
    muon_learning_rate: float = 3e-3
    adam_learning_rate: float = 2e-3
    copying_tokens: int = 1_800_000
    probe_every: int = 4_000_000
    embedding_deviation: float = 0.06
    hidden_size: int = 256
    layers: int = 4
    heads: int = 4
    intermediate_size: int = 512


def build(recipe: Recipe, tokenizer) -> LlamaForCausalLM:
    """A Llama with fresh weights and tied embeddings, in float32."""
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=recipe.hidden_size, num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads, num_key_value_heads=recipe.heads, intermediate_size=recipe.intermediate_size,
        max_position_embeddings=CONTEXT, tie_word_embeddings=True, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=recipe.embedding_deviation)
    look_back(model)
    model.generation_config = GenerationConfig(
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id
    )
    return model


@torch.no_grad()
def look_back(model: LlamaForCausalLM) -> None:
    """Let heads 0, 1 and 2 of the first block attend one, two and three tokens back: a start, trained on like the rest.

    It is added to the random weights: a row of zeros in both query and key would never get a gradient.

    A direction that all embeddings share gives queries and keys a part that does not depend on the token (a Llama has no
    biases for it); turning that part of the query by `back` positions makes its product with the keys largest there,
    under the rotary encoding (Su et al., 2021, section 3.2.2). With tied embeddings it adds the same to every logit.
    """
    embeddings, attention = model.model.embed_tokens.weight, model.model.layers[0].self_attn
    shared = embeddings.std() * torch.randn(model.config.hidden_size)
    embeddings += shared
    half = model.config.head_dim // 2
    turn = model.config.rope_parameters["rope_theta"] ** (-torch.arange(half) / half)   # radians a position, each pair of dimensions
    strength = 0.5 * (torch.arange(half) < half // 4)   # the fast pairs tell neighbours apart
    for head, back in enumerate((1, 2, 3)):
        rows = slice(head * 2 * half, (head + 1) * 2 * half)
        query = torch.cat([strength * torch.cos(back * turn), -strength * torch.sin(back * turn)])
        key = torch.cat([strength, torch.zeros(half)])
        attention.q_proj.weight[rows] += torch.outer(query, shared / shared.norm())
        attention.k_proj.weight[rows] += torch.outer(key, shared / shared.norm())


def copying_share(recipe: Recipe, tokens: int) -> float:
    """Share of the rows after `tokens` tokens that are there to be copied: all, then 10 %, from the decay on 5 %."""
    if tokens < recipe.copying_tokens:
        return 1.0
    return 0.1 if rate(recipe, tokens) >= 1 else 0.05


def copying_row(rng: Random, length: int, vocabulary: int, easy: bool) -> list[int]:
    """A row of random ids whose second part can be read off its first: a stretch said again, or a table asked again.

    easy: any ids, short stretches, so that the last token alone tells the next. Else mostly few different ids, so that
    several tokens must be compared.
    """
    alphabet: Sequence[int] = range(len(SPECIAL), vocabulary)
    if not easy and rng.random() < 0.6:
        alphabet = rng.sample(alphabet, rng.choice((12, 25, 50, 100, 400)))
    if easy or rng.random() < 0.5:
        stretch = rng.choices(alphabet, k=rng.randint(4, 64 if easy else length // 2))
        return (stretch * (length // len(stretch) + 1))[:length]
    between, end = rng.sample(range(len(SPECIAL), vocabulary), 2)
    key_length, value_length = rng.randint(1, 4), rng.randint(1, 5)
    drawn = {tuple(rng.choices(alphabet, k=key_length)): rng.choices(alphabet, k=value_length) for _ in range(rng.randint(2, 8))}
    keys, row = list(drawn), []
    while len(row) < length:
        for key in keys:
            row += [*key, between, *drawn[key], end]
        rng.shuffle(keys)
    return row[:length]


def put_copying(batch: torch.Tensor, recipe: Recipe, tokens: int, vocabulary: int) -> torch.Tensor:
    """The batch with `copying_share` of its rows replaced by copying rows, easy ones in the first 80 % of the copying stage."""
    rng, share = Random(f"copying-{recipe.seed}-{tokens}"), copying_share(recipe, tokens)
    for index in range(len(batch)):
        if rng.random() < share:
            batch[index] = torch.tensor(copying_row(rng, batch.shape[1], vocabulary, easy=tokens < 0.8 * recipe.copying_tokens))
    return batch


class Rows:
    """Documents, one after another, cut into rows: `<|bos|>` text `<|eos|>` `<|bos|>` ... Resumable from its state."""

    def __init__(self, tokenizer, seed: int):
        self.tokenizer = tokenizer
        self.stream = Stream("train", seed)
        self.read: list[int] = []   # documents of the stages before this one
        self.left: list[int] = []

    def batch(self, tokens: int, row: int) -> torch.Tensor:
        """The next (tokens / row) rows of `row` + 1 ids: inputs and, one to the right, targets."""
        rows = tokens // row
        needed = rows * (row + 1)
        while len(self.left) < needed:
            texts = [next(self.stream).text for _ in range(512)]
            for ids in self.tokenizer(texts)["input_ids"]:
                self.left += [*ids, self.tokenizer.eos_token_id]
        taken, self.left = self.left[:needed], self.left[needed:]
        return torch.tensor(taken).view(rows, row + 1)

    def go_on(self, stage: int) -> None:
        """From here on the documents are those of `stage`."""
        while self.stream.stage < stage:
            self.read.append(self.stream.position)
            self.stream.stage, self.stream.position = self.stream.stage + 1, 0

    def state(self) -> dict:
        seen = np.fromiter(self.stream.seen, dtype=np.uint64, count=len(self.stream.seen))
        return {
            "read": self.read, "stage": self.stream.stage, "position": self.stream.position, "repeated": self.stream.repeated,
            "seen": seen, "left": np.array(self.left, np.uint16),
        }  # fmt: skip

    def load(self, state: dict) -> None:
        self.read, self.stream.stage = state["read"], state["stage"]
        self.stream.position, self.stream.repeated = state["position"], state["repeated"]
        self.stream.seen = set(state["seen"].tolist())
        self.left = state["left"].tolist()


def optimisers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    matrices = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and "embed" not in name]
    others = [weight for name, weight in model.named_parameters() if weight.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=recipe.muon_learning_rate, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=recipe.adam_learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def stage(recipe: Recipe, tokens: int) -> int:
    """The stage after `tokens` tokens: 0, then the late ones from 1 on."""
    return 0 if tokens < recipe.tokens else 1 + (tokens - recipe.tokens) // recipe.late_tokens


def rate(recipe: Recipe, tokens: int) -> float:
    """Share of the peak learning rate after `tokens` tokens: warm-up, stable, linear decay; each late stage decays again."""
    if tokens >= recipe.tokens:
        return recipe.late_rate * (1 - (tokens - recipe.tokens) % recipe.late_tokens / recipe.late_tokens)
    warm = (tokens + recipe.batch_tokens) / (recipe.warm_up_steps * recipe.batch_tokens)
    decay = (recipe.tokens - tokens) / (recipe.decay_share * recipe.tokens)
    return max(0.0, min(1.0, warm, decay))


def texts(seed: int, count: int) -> Iterator[str]:
    stream = Stream("train", seed)
    for _ in range(count):
        yield next(stream).text


def train(recipe: Recipe, folder: Path, device: str, minutes: float, weights: Path | None = None) -> None:
    """Train until all tokens are read, or stop (resumable) when `minutes` have passed.

    weights: a model folder of this recipe to begin from, where it ended, if `folder` holds no state yet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "tokenizer.json").exists():
        tokenizers.train(texts(recipe.seed, TOKENIZER_DOCUMENTS), CONTEXT).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True   # rows are cut later
    model = build(recipe, tokenizer).to(device)
    rows, optimisers_ = Rows(tokenizer, recipe.seed), optimisers(model, recipe)
    tokens, seconds, began_anew = 0, 0.0, []   # began_anew: after how many tokens the optimisers did
    state_file = folder / "state.pt"
    if state_file.exists():
        state = torch.load(state_file, weights_only=False, map_location=device)
        if state["recipe"] != asdict(recipe):
            raise SystemExit(f"{state_file} belongs to another recipe; remove it or use another folder")
        tokens, seconds = state["tokens"], state["seconds"]
        model.load_state_dict(state["model"])
        rows.load(state["rows"])
        began_anew = state["began_anew"]
        for optimiser, saved in zip(optimisers_, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
    elif weights:
        made = json.loads((weights / "recipe.json").read_text(encoding="utf-8"))
        tokens, seconds, began_anew = made["read"], made["seconds"], [*made["began_anew"], made["read"]]
        *rows.read, rows.stream.position = made["documents"]
        rows.stream.stage, rows.stream.repeated = len(rows.read), made["repeated"]
        model.load_state_dict(LlamaForCausalLM.from_pretrained(weights, dtype=torch.float32).state_dict())

    dtype = torch.bfloat16 if number_format(device) is torch.bfloat16 else torch.float32   # float16 would want its loss scaled

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device, dtype, enabled=dtype is torch.bfloat16):
            logits = model(batch[:, :-1], use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())

    compiled = torch.compile(loss_of)
    began, saved_at, losses = time.perf_counter(), time.perf_counter(), []
    total = recipe.tokens + recipe.late_stages * recipe.late_tokens
    while tokens < total and time.perf_counter() - began < 60 * minutes:
        rows.go_on(stage(recipe, tokens))
        row = recipe.short_row if tokens < recipe.short_share * recipe.tokens else CONTEXT
        batch = put_copying(rows.batch(recipe.batch_tokens, row), recipe, tokens, len(tokenizer)).to(device)
        share = rate(recipe, tokens)
        loss = compiled(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser, peak in zip(optimisers_, (recipe.muon_learning_rate, recipe.adam_learning_rate), strict=True):
            optimiser.param_groups[0]["lr"] = share * peak
            with in_place_of_bfloat16(dtype):
                optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        losses.append(loss.item())
        before, tokens = tokens, tokens + recipe.batch_tokens
        done = tokens >= total
        if tokens // recipe.probe_every > before // recipe.probe_every or done:
            elapsed = seconds + time.perf_counter() - began
            point = {"tokens": tokens, "seconds": round(elapsed), "loss": round(sum(losses) / len(losses), 4), **probe(model, tokenizer)}
            losses = []
            with (folder / "curve.jsonl").open("a") as file:
                file.write(json.dumps(point) + "\n")
            print(json.dumps(point), flush=True)
            model.save_pretrained(folder / f"at-{tokens // 1_000_000}M")
        if done or time.perf_counter() - saved_at > 300 or time.perf_counter() - began > 60 * minutes:
            saved_at = time.perf_counter()
            _save(state_file, {
                "recipe": asdict(recipe), "tokens": tokens, "seconds": seconds + saved_at - began, "model": model.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in optimisers_], "rows": rows.state(), "began_anew": began_anew,
            })  # fmt: skip
            model.save_pretrained(folder)
            made = {
                **asdict(recipe), "read": tokens, "seconds": round(seconds + saved_at - began), "device": machine(device),
                "documents": [*rows.read, rows.stream.position], "repeated": rows.stream.repeated, "began_anew": began_anew,
                "stream": digest("train", recipe.seed),
            }  # fmt: skip
            (folder / "recipe.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


def machine(device: str) -> str:
    """What the training ran on, in words."""
    return torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU cores"


def _save(path: Path, state: dict) -> None:
    """Write beside and move, so that an interruption leaves the old state whole."""
    torch.save(state, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("build/base-model"))
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this long; run again to go on")
    parser.add_argument("--weights", type=Path, help="a model of this recipe, at the end of a stage, to begin from")
    for name, value in asdict(Recipe()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    arguments = vars(parser.parse_args())
    folder, minutes, weights = (arguments.pop(name) for name in ("folder", "minutes", "weights"))
    train(Recipe(**arguments), folder, "cuda" if torch.cuda.is_available() else "cpu", minutes, weights)


if __name__ == "__main__":
    main()
