"""Chapters on models of other shapes, and on a real file where one lies beside the clone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch

ROOT = Path(__file__).parents[1]
# What is tested is the way through the chapter, not how much is learnt.
SMALL = {"examples": 16, "test_examples": 20, "epochs": 1, "seeds": 2}
OWN = {"4.01": {"batch_size": 8}, "1.02": {}}  # what only one of them has
ROWS = 40
INSTRUCTIONS = ROOT.parent / "shared" / "data" / "real" / "alpaca_teaching" / "instruction-data.json"
SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% if message.role == 'assistant' %}"
    "{% generation %}{{ message.content }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ message.content }}<|im_end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEADERS = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{% if message.role == 'assistant' %}{% generation %}{{ message.content }}<|eot_id|>{% endgeneration %}"
    "{% else %}{{ message.content }}<|eot_id|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def run(folder: Path, chapter: str = "4.01", **parameters: object) -> dict[str, dict]:
    """The metrics of a run of a chapter."""
    command = [sys.executable, "-m", "ftlib", "run", chapter, "--out", str(folder)]
    for name, value in {**SMALL, **OWN[chapter], **parameters}.items():
        command += ["-p", name, str(value)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [manifest] = folder.glob(f"{chapter.replace('.', '_')}-*/manifest.json")
    return json.loads(manifest.read_text())["metrics"]


def qwen3(tokenizer):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer.add_special_tokens({"eos_token": "<|im_end|>", "additional_special_tokens": ["<|im_start|>"]})
    tokenizer.chat_template, tokenizer.bos_token = CHATML, None
    return Qwen3ForCausalLM(
        Qwen3Config(vocab_size=len(tokenizer), num_key_value_heads=2, head_dim=16, **SHAPE)
    )


def llama3(tokenizer):
    from transformers import LlamaConfig, LlamaForCausalLM

    marks = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.chat_template = HEADERS
    network = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), num_key_value_heads=2, **SHAPE))
    ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|eot_id|>")]
    network.generation_config.eos_token_id = (
        ends  # such models end a turn with one token and a text with another
    )
    return network


@pytest.mark.parametrize("shape", [qwen3, llama3])
def test_the_chapter_runs_on_a_model_of_another_shape_template_and_end_token(shape, tmp_path):
    torch.manual_seed(0)
    tokenizer = tiny.make_tokenizer()
    network = shape(tokenizer)
    network.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    metrics = run(tmp_path, model_id=tmp_path / "model", learning_rate=1e-2)
    assert metrics["loss"]["mean"] < metrics["loss of the base model"]["mean"]


def test_cleaning_runs_on_a_model_of_another_shape_and_hands_over_all_rows_of_a_file(tmp_path):
    """Rows of another table, and a model with another template: as many rows come out as the ledger says."""
    torch.manual_seed(0)
    tokenizer = tiny.make_tokenizer()
    qwen3(tokenizer).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    pairs = [{"prompt": f"Say the number {n} twice.", "completion": f"{n} {n}"} for n in range(ROWS)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    own = {"model_id": tmp_path / "model", "data_path": tmp_path / "rows.jsonl"}
    metrics = run(tmp_path, "1.02", **own)
    assert 0 < metrics["cleaned tickets"] <= 0.8 * ROWS and metrics["score"]["mean"] < 0


if INSTRUCTIONS.exists():

    def test_the_chapter_trains_on_rows_of_a_real_instruction_file(tmp_path):
        rows = json.loads(INSTRUCTIONS.read_text(encoding="utf-8"))[:ROWS]
        (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
        metrics = run(tmp_path, data_path=tmp_path / "rows.json")
        assert metrics["loss"]["mean"] < metrics["loss of the base model"]["mean"]
