"""Examine the shipped models and write their card: `python -m data.recipes.card` (after data.recipes.ship).

Writes README.md and curve.png of the base model and a manifest.json a model. The tables of abilities and calibration
come from abilities.json and calibration.json when data.recipes.abilities and data.recipes.calibrate have been run.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from string import Template

from ftlib import artefact, data, evaluate, generate, model, plot, settings

from .calibrate import EPOCHS
from .corpus import Stream
from .genres.plain import nouns
from .grammar import groups
from .pen import Pen
from .pretrain import Recipe, copying_share
from .probe import PATTERN_TASKS, greedy, pattern_items, starts_right

HERE = Path(__file__).parent
PAIRS_A_GROUP = 60
SENTENCE = re.compile(r"[^.?!\n]+[.?!]")
OPENINGS = ("One morning", "The ferry", "Question:", "To repair", "Dear")


def minimal_pairs(seed: int = 0) -> list[tuple[str, str, str]]:
    """(kind, right sentence, wrong sentence): they differ in one place, marked ~right/wrong~ in the patterns."""
    found: dict[tuple[str, str, str], None] = {}
    for kind in groups("minimal_pairs"):
        pen = Pen("train", f"pairs-{kind}-{seed}")
        count = 0
        while count < PAIRS_A_GROUP:
            noun, plural = pen.pick(nouns())
            who, other = pen.some(pen.town.people, 2)
            marked = pen.say(f"minimal_pairs.{kind}", noun=noun, plural=plural, who=who, other=other)
            sides = [re.sub(r"~([^/~]*)/([^~]*)~", lambda mark, side=side: mark[side], marked) for side in (1, 2)]
            pair = (kind, *(side[0].upper() + side[1:] for side in sides))
            if pair not in found:
                found[pair] = None
                count += 1
    return list(found)


def grammar(network, tokenizer, seed: int = 0) -> dict[str, evaluate.Interval]:
    """Share of minimal pairs whose right sentence is the likelier one, over all and by kind."""
    items = minimal_pairs(seed)
    facts = [{"cloze": "", "options": [right, wrong], "answer": right} for _, right, wrong in items]
    scores = evaluate.cloze(network, tokenizer, facts)
    kinds = sorted({kind for kind, *_ in items})
    return {"all": evaluate.bootstrap_interval(scores)} | {
        kind: evaluate.bootstrap_interval([score for score, item in zip(scores, items, strict=True) if item[0] == kind]) for kind in kinds
    }


def in_context(network, tokenizer, shots: int) -> evaluate.Interval:
    """Accuracy on the pattern tasks with so many examples in the prompt."""
    items = pattern_items(shots, per_task=16)
    said = greedy(network, tokenizer, [prompt for _, prompt, _ in items], 10)
    return evaluate.bootstrap_interval([starts_right([text], [answer]) for text, (_, _, answer) in zip(said, items, strict=True)])


def novelty(network, tokenizer, seed: int, documents: list[int]) -> tuple[float, int]:
    """Share of generated sentences (sampled at temperature 1) that the training text does not contain, and how many there were."""
    said = generate.continue_text(network, tokenizer, [""] * 120, max_new_tokens=100, temperature=1.0, seed=0)
    sentences = {sentence.strip() for text in said for sentence in SENTENCE.findall(text) if len(sentence.split()) >= 4}
    left = set(sentences)
    mixes = (islice(Stream("train", seed, stage), count) for stage, count in enumerate(documents))
    for document in chain.from_iterable(mixes):
        left -= {sentence.strip() for sentence in SENTENCE.findall(document.text)} & left
    return len(left) / len(sentences), len(sentences)


def figure(points: list[dict], folder: Path) -> None:
    """The curves of pre-training: the probes in percent."""
    drawn, axes = plot.figure("Pre-training, probed on the way", width=7.2, height=4.2)
    millions = [point["tokens"] / 1e6 for point in points]
    labels = {"known_facts": "known facts, said freely", "four_shot": "four examples", "zero_shot": "no example", "lookup": "look-up"}
    for name, label in labels.items():
        plot.line(axes, millions, [100 * point[name] for point in points], label)
    axes.set(xlabel="tokens read (millions)", ylabel="right (%)", ylim=(-2, 102))
    drawn.savefig(folder / "curve.png", metadata={"Software": None})


def by_genre(network, tokenizer, rows: list[dict]) -> list[dict]:
    """Held-out loss of each genre of text, the lowest first."""
    texts: dict[str, list[str]] = {}
    for row in rows:
        texts.setdefault(row["genre"], []).append(row["text"])
    found = {
        genre: evaluate.loss(network, tokenizer, documents).nats_per_token for genre, documents in texts.items() if len(documents) > 1
    }
    ordered = sorted(found, key=lambda genre: found[genre].mean)
    return [{"genre": genre, "documents": len(texts[genre]), "loss": found[genre]} for genre in ordered]


def table(rows: list[dict]) -> str:
    """A Markdown table of rows with the same keys."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *[[plot.words(row[name]) for name in head] for row in rows]]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def calibration_table(folder: Path, weights: str) -> str:
    """The calibration of these weights as Markdown tables, or the sentence that says it is missing."""
    file = folder / "calibration.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"weights": None}
    if found["weights"] != weights or not found["sets"]:
        return f"Not calibrated yet: {', '.join(EPOCHS)}."
    scores = [{"set": name, **columns} for name, columns in found["sets"].items()]
    seconds = [{"set": name, **{what: column["seconds"] for what, column in columns.items()}} for name, columns in found["sets"].items()]
    forgetting = [{"set": name, **columns} for name, columns in found["forgetting"].items()]
    equal = [{"set": name, **columns} for name, columns in found["at_equal_scores"].items()]
    parts = [
        table(scores), "Seconds of training on one core:", table(seconds),
        "What is left of what it knew, at each method's best rate:", table(forgetting),
        "The same at equal scores: each method at the gentlest of its rates that reaches what both can reach (validation rows):",
        table(equal),
    ]  # fmt: skip
    parts.append(what_shows(found))
    if left := [name for name in EPOCHS if name not in found["sets"]]:
        parts.append(f"Not calibrated yet: {', '.join(left)}.")
    return "\n\n".join(parts)


def what_shows(found: dict) -> str:
    """What the calibration says in words: on which sets training shows, which method does better, which forgets less."""
    sets, equal = found["sets"], found["at_equal_scores"]
    best = {name: max((columns["full"], columns["lora"]), key=lambda one: one["mean"]) for name, columns in sets.items()}
    gain = {name: best[name]["low"] - columns["base"]["high"] for name, columns in sets.items()}
    apart = {name: columns["lora"]["mean"] - columns["full"]["mean"] for name, columns in sets.items()}
    kept = {name: one["known_facts_lora"] - one["known_facts_full"] for name, one in equal.items()}
    said = {
        "Training shows clearly, its interval at least 20 points above the base model's": [n for n in gain if gain[n] >= 0.2],
        "It shows, intervals apart": [n for n in gain if 0 < gain[n] < 0.2],
        "It does not show on": [n for n in gain if gain[n] <= 0],
        "LoRA of rank 8 is at most 5 points below full fine-tuning, or above it": [n for n in apart if apart[n] >= -0.05],
        "LoRA is further below": [n for n in apart if apart[n] < -0.05],
        "At equal scores LoRA keeps at least 5 points more of the known facts": [n for n in kept if kept[n] >= 0.05],
        "At equal scores full fine-tuning does": [n for n in kept if kept[n] <= -0.05],
    }  # fmt: skip
    return "What shows at this size:\n\n" + "\n".join(f"- {what}: {', '.join(names) or 'none'}." for what, names in said.items())


def members() -> list[dict]:
    """A row a model of the family: how large it is, what it has read, and what it can do."""
    rows = []
    for name, folder in settings.FAMILY.items():
        network, tokenizer = model.load(folder, "cpu")
        recipe = json.loads((Path(folder) / "recipe.json").read_text(encoding="utf-8"))
        size = {"parameters": model.parameters(network)["total"], "tokens read": f"{recipe['read'] / 1e6:.0f} million"}
        rows.append({"model": name, **size, **examined(network, tokenizer)})
    return rows


def examined(network, tokenizer) -> dict[str, evaluate.Interval]:
    """The figures of the card, with 95 % bootstrap intervals over their items."""
    facts = data.load("facts", "facts")
    held_out = evaluate.loss(network, tokenizer, [row["text"] for row in data.load("corpus", "held_out")[:400]])
    cloze = {
        known: evaluate.bootstrap_interval(evaluate.cloze(network, tokenizer, [fact for fact in facts if fact["known"] is known]))
        for known in (True, False)
    }
    return {
        "held-out loss": held_out.nats_per_token, "bits per byte": held_out.bits_per_byte, "known facts": cloze[True],
        "new facts": cloze[False], "grammar": grammar(network, tokenizer)["all"], "zero-shot": in_context(network, tokenizer, 0),
        "four-shot": in_context(network, tokenizer, 4),
    }  # fmt: skip


def abilities_table(folder: Path) -> str:
    """The abilities of the base model as a Markdown table, or the sentence that says they are missing."""
    file = folder / "abilities.json"
    if not file.exists():
        return "Not measured yet: run `python -m data.recipes.abilities`."
    found = json.loads(file.read_text(encoding="utf-8"))
    differ, lines = found.pop("gguf_lines_differ")
    rows = [{"ability": name.replace("_", " "), "share": value, "seeds": value["seeds"]} for name, value in found.items()]
    return f"{table(rows)}\n\nLines of held-out text that llama.cpp splits into other tokens: {differ} of {lines:,}."


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    settings.offline()
    out = Path(settings.FAMILY["base-model"])
    network, tokenizer = model.load(str(out), "cpu")
    recipe = json.loads((out / "recipe.json").read_text(encoding="utf-8"))
    figure([json.loads(line) for line in (out / "curve.jsonl").read_text(encoding="utf-8").splitlines()], out)
    facts = data.load("facts", "facts")
    chance = sum(1 / len(fact["options"]) for fact in facts if not fact["known"]) / sum(not fact["known"] for fact in facts)
    new_share, sentences = novelty(network, tokenizer, recipe["seed"], recipe["documents"])
    samples = generate.continue_text(network, tokenizer, OPENINGS, max_new_tokens=70, temperature=0.8, seed=0)
    family = members()
    for row, folder in zip(family, map(Path, settings.FAMILY.values()), strict=True):
        manifest = {
            **json.loads((folder / "recipe.json").read_text(encoding="utf-8")), "versions": artefact.versions(),
            "weights": artefact.digest(folder / "model.safetensors"), "tokenizer": artefact.digest(folder / "tokenizer.json"),
            "metrics": {name: asdict(value) for name, value in row.items() if isinstance(value, evaluate.Interval)},
        }  # fmt: skip
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    planned = Recipe(**{name: recipe[name] for name in asdict(Recipe())})
    copying = sum(copying_share(planned, tokens) * planned.batch_tokens for tokens in range(0, recipe["read"], planned.batch_tokens))
    pairs_right = grammar(network, tokenizer)
    places = " and ".join(f"{tokens:,}" for tokens in recipe["began_anew"])
    text = Template((HERE / "cards" / "base-model.md").read_text(encoding="utf-8")).substitute(
        parameters=f"{family[0]['parameters']:,}", tokens=f"{recipe['read']:,}", minutes=round(recipe["seconds"] / 60),
        measures=table([{"measure": name, "value": value} for name, value in family[0].items() if isinstance(value, evaluate.Interval)]),
        family=table([{name: value for name, value in row.items() if name not in ("bits per byte", "grammar")} for row in family]),
        pairs=table([{"pairs": name, "right": value} for name, value in pairs_right.items() if name != "all"]),
        genres=table(by_genre(network, tokenizer, data.load("corpus", "held_out")[:400])), abilities=abilities_table(out),
        tasks=", ".join(PATTERN_TASKS), chance=f"{chance:.2f}", new_share=f"{100 * new_share:.0f}", sentences=sentences,
        samples="\n\n".join(f"> **{opening}**{said}".replace("\n", "  \n> ") for opening, said in zip(OPENINGS, samples, strict=True)),
        calibration=calibration_table(out, artefact.digest(out / "model.safetensors")), layers=recipe["layers"],
        hidden=recipe["hidden_size"], device=recipe["device"],
        late=f"{recipe['late_stages'] * recipe['late_tokens'] / 1e6:.0f}", stages=recipe["late_stages"],
        anew=f"; after {places} tokens it went on from saved weights, with optimisers that began anew" if places else "",
        copying=f"{100 * copying / recipe['read']:.0f}",
    )  # fmt: skip
    (out / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
