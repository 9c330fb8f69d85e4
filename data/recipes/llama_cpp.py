"""The base model as llama.cpp reads it: a GGUF file, and whether it finds the same tokens in a text."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np

from .tokenizer import BYTES, SHOWN, SPECIAL


def write(model, tokenizer, path: Path) -> None:
    """Write a Llama with tied embeddings and its tokenizer as GGUF, weights in float32."""
    from gguf import GGUFWriter, TokenType

    config = model.config
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    kinds = {**dict.fromkeys(SPECIAL, TokenType.CONTROL), **dict.fromkeys(BYTES, TokenType.BYTE)}
    kinds |= dict.fromkeys(SHOWN, TokenType.USER_DEFINED)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(rank) for rank in range(len(tokens))])   # earlier tokens are merged first
    writer.add_token_types([kinds.get(token, TokenType.NORMAL) for token in tokens])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)
    writer.add_chat_template(tokenizer.chat_template)
    for name, weight in model.state_dict().items():
        if name != "lm_head.weight":   # tied: llama.cpp takes the embeddings where there is no output layer
            writer.add_tensor(_gguf_name(name), _permuted(name, weight.float().numpy(), config.num_attention_heads))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "model.embed_tokens": "token_embd", "model.norm": "output_norm", "model.layers": "blk",
}  # fmt: skip


def _gguf_name(name: str) -> str:
    for ours, theirs in NAMES.items():
        name = name.replace(ours, theirs)
    return name


def _permuted(name: str, weight: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp turns neighbouring pairs of dimensions, transformers the two halves: rows of q and k change places."""
    if "q_proj" not in name and "k_proj" not in name:
        return weight
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def lines_differ(model, tokenizer, lines: Sequence[str]) -> int:
    """How many of the lines llama.cpp splits into other tokens than the tokenizer does."""
    import xllamacpp

    with tempfile.TemporaryDirectory() as folder:
        parameters = xllamacpp.CommonParams()
        parameters.model.path, parameters.n_ctx = f"{folder}/model.gguf", model.config.max_position_embeddings
        write(model, tokenizer, Path(parameters.model.path))
        server = xllamacpp.Server(parameters)   # in this process, on a free port of this machine
        found = [_tokens(server.listening_address, line) for line in lines]
    return sum(ids != tokenizer(line)["input_ids"] for ids, line in zip(found, lines, strict=True))


def _tokens(address: str, text: str) -> list[int]:
    body = json.dumps({"content": text, "add_special": True}).encode()
    with urlopen(Request(f"{address}/tokenize", body, {"Content-Type": "application/json"})) as reply:
        return json.load(reply)["tokens"]
