"""Put pre-trained models where the workbook finds them: `python -m data.recipes.ship` (after data.recipes.pretrain).

Each model of the family becomes a folder in data: 16-bit weights, half the size, with float32 as the number format that
its config tells, since not every CPU is fast with 16-bit numbers; the tokenizer; and what made it (recipe.json).
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from ftlib import settings

COPIED = ("generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def ship(weights: Path, source: Path, made: dict, out: Path) -> None:
    """Write the model folder `out`: the weights of folder `weights`, all else of the pre-training folder `source`."""
    out.mkdir(exist_ok=True)
    LlamaForCausalLM.from_pretrained(weights, dtype=torch.float32).save_pretrained(out)
    tensors = {name: tensor.to(torch.float16) for name, tensor in load_file(out / "model.safetensors").items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    for name in COPIED:
        shutil.copyfile(source / name, out / name)
    (out / "recipe.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=Path("build/base-model"))
    parser.add_argument("--sister", type=Path, default=Path("build/sister-model"))
    arguments = parser.parse_args()
    for name, folder in settings.FAMILY.items():
        source = arguments.sister if name.startswith("sister") else arguments.source
        made = json.loads((source / "recipe.json").read_text(encoding="utf-8"))
        on_the_way = name.partition("base-model-")[2]   # "4M"
        weights = source / f"at-{on_the_way}" if on_the_way else source
        if on_the_way:
            points = [json.loads(line) for line in (source / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
            [point] = [point for point in points if f"{point['tokens'] // 1_000_000}M" == on_the_way]
            # What was counted only at the end is left out.
            made = {key: value for key, value in made.items() if key not in ("documents", "repeated")}
            made |= {"read": point["tokens"], "seconds": point["seconds"]}
        ship(weights, source, made, Path(folder))
    shutil.copyfile(arguments.source / "curve.jsonl", Path(settings.FAMILY["base-model"]) / "curve.jsonl")


if __name__ == "__main__":
    main()
