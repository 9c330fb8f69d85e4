"""Small fixed examinations taken during pre-training, and in full for the model card."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch

from .corpus import Stream
from .facts import cloze, facts
from .genres.lookups import PAIRS, rule_items
from .pen import Pen
from .world import world

# Rules whose output cannot be guessed from the input alone, so that only examples in the prompt can tell what is wanted.
PATTERN_TASKS = (*PAIRS, "surname", "first name", "surname first", "capitals", "next", "double", "code letter", "reversed", "last word")
HELD_OUT_DOCUMENTS = 160


@torch.no_grad()
def greedy(model, tokenizer, prompts: Sequence[str], new_tokens: int) -> list[str]:
    """Greedy continuations of plain-text prompts, left-padded in one batch."""
    tokenizer.padding_side = "left"
    batch = tokenizer(list(prompts), return_tensors="pt", padding=True).to(model.device)
    out = model.generate(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], max_new_tokens=new_tokens, do_sample=False
    )
    return tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


@cache
def lookup_items(count: int = 100) -> tuple[tuple[str, str], ...]:
    """(prompt, answer): three to six names with codes, then one of the names again."""
    pen, items = Pen("test", "lookup", open_names=True), []   # names as pre-training makes them
    for _ in range(count):
        rows = {str(pen.visitor()): pen.code() for _ in range(pen.number(3, 6))}
        key = pen.pick(list(rows))
        items.append(("\n".join(f"{name}: {code}" for name, code in rows.items()) + f"\n{key}:", rows[key]))
    return tuple(items)


@cache
def pattern_items(shots: int, per_task: int = 8, seed: int = 0) -> tuple[tuple[str, str, str], ...]:
    """(task, prompt, answer): `shots` examples of a rule, then one more input."""
    items = []
    for task in PATTERN_TASKS:
        pen = Pen("test", f"pattern-{task}-{seed}")
        for _ in range(per_task):
            *examples, (given, wanted) = rule_items(pen, task, 9)
            lines = [f"{item} -> {result}" for item, result in examples[len(examples) - shots :]]
            items.append((task, "\n".join([*lines, f"{given} ->"]), wanted))
    return tuple(items)


@cache
def cloze_items(count: int = 200) -> tuple[tuple[str, str], ...]:
    """(prompt, answer) for facts about the known town."""
    pen = Pen("train", "cloze")
    return tuple((cloze(pen, fact, index), fact.value) for index, fact in enumerate(pen.some(facts(world().known), count)))


@cache
def held_out_texts(count: int = HELD_OUT_DOCUMENTS) -> tuple[str, ...]:
    stream = Stream("test")
    return tuple(next(stream).text for _ in range(count))


def starts_right(texts: Sequence[str], answers: Sequence[str]) -> float:
    """Share of continuations that begin with the answer and then stop or go on with another word."""
    right = 0
    for text, answer in zip(texts, answers, strict=True):
        text = text.strip()
        right += text.startswith(answer) and not text[len(answer) : len(answer) + 1].isalnum()
    return right / len(answers)


@torch.no_grad()
def held_out_loss(model, tokenizer, texts: Sequence[str]) -> float:
    """Mean next-token loss in nats, over all tokens of the texts, each text on its own."""
    total = tokens = 0.0
    ordered = sorted(([*tokenizer(text)["input_ids"][:511], tokenizer.eos_token_id] for text in texts), key=len)
    for start in range(0, len(ordered), 16):
        rows = ordered[start : start + 16]
        width = max(map(len, rows))
        ids = torch.tensor([[*row, *[tokenizer.pad_token_id] * (width - len(row))] for row in rows], device=model.device)
        targets = torch.tensor([[*row, *[-100] * (width - len(row))] for row in rows], device=model.device)[:, 1:]
        logits = model(ids[:, :-1]).logits.float()   # right padding: real tokens never see it
        total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum").item()
        tokens += (targets != -100).sum().item()
    return total / tokens


def probe(model, tokenizer) -> dict[str, float]:
    """The numbers of the training curve: look-up in context, zero and four examples, cloze, held-out loss."""
    model.eval()
    lookups, zero, four, known = lookup_items(), pattern_items(0), pattern_items(4), cloze_items()
    result = {
        "held_out_loss": held_out_loss(model, tokenizer, held_out_texts()),
        "lookup": starts_right(greedy(model, tokenizer, [item[0] for item in lookups], 10), [item[1] for item in lookups]),
        "zero_shot": starts_right(greedy(model, tokenizer, [item[1] for item in zero], 10), [item[2] for item in zero]),
        "four_shot": starts_right(greedy(model, tokenizer, [item[1] for item in four], 10), [item[2] for item in four]),
        "known_facts": starts_right(greedy(model, tokenizer, [item[0] for item in known], 10), [item[1] for item in known]),
    }
    model.train()
    return {name: round(value, 4) for name, value in result.items()}
