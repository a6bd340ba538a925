"""Convert a checkpoint of llama2.c (Karpathy, 2023) to a model directory.

The format is the repository's version 0: seven int32 sizes, then float32 tensors without names. Its rotary
positions turn neighbouring pairs of a head; the rows of the query and key projections are reordered so that
they become the half-split pairs of Hugging Face's Llama.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.convert.llama2c_tokenizer import BOS, read_tokenizer
from aios_db.engine.convert.model_writer import FloatType, write_model
from aios_db.engine.weights.format import Compression
from aios_db.schema.errors import ModelNotFoundError, WeightsError

if TYPE_CHECKING:
    import torch

EOS = 2
_HEADER = struct.Struct("<7i")


@dataclass(frozen=True)
class _Sizes:
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int
    positions: int
    tied: bool

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads


def convert_llama2c(
    weights: str | Path,
    tokenizer: str | Path,
    target: str | Path,
    *,
    dtype: FloatType = "float32",
    compression: Compression = "none",
    name: str | None = None,
) -> Path:
    """Write the llama2.c checkpoint ``weights`` to the new model directory ``target``.

    Raises
    ------
    ModelNotFoundError
        A file is missing.
    WeightsError
        A file is not of the format, or its length contradicts its header.
    OperationalError
        ``target`` exists.
    """
    weights, target = Path(weights), Path(target)
    sizes = _read_sizes(weights)
    write_model(
        target,
        name or weights.stem,
        _describe(sizes),
        _tensors(weights, sizes),
        tokenizer=read_tokenizer(Path(tokenizer), sizes.vocabulary),
        dtype=dtype,
        compression=compression,
    )
    return target


def _describe(sizes: _Sizes) -> dict[str, Any]:
    return {
        "model_type": "causallm",
        "model_info": {
            "architecture": "LlamaForCausalLM",
            "embedding_dimension": sizes.hidden,
            "hidden_size": sizes.hidden,
            "num_attention_heads": sizes.heads,
            "num_key_value_heads": sizes.key_value_heads,
            "head_dim": sizes.head_dim,
            "intermediate_size": sizes.intermediate,
            "num_hidden_layers": sizes.layers,
            "vocab_size": sizes.vocabulary,
            "max_position_embeddings": sizes.positions,
            "rms_norm_eps": 1e-5,  # fixed in llama2.c
            "rope_theta": 10000.0,
            "bos_token_id": BOS,
            "eos_token_ids": [BOS, EOS],  # its stories are separated by BOS alone
        },
    }


def _read_sizes(path: Path) -> _Sizes:
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            length = path.stat().st_size
    except FileNotFoundError:
        raise ModelNotFoundError(f"no llama2.c checkpoint at {path}") from None
    if len(header) < _HEADER.size:
        raise WeightsError(f"{path} is no llama2.c checkpoint: it has {len(header)} bytes")
    numbers = _HEADER.unpack(header)
    *first, vocabulary, positions = numbers
    hidden, intermediate, layers, heads, key_value_heads = first
    # A negative vocabulary size says that the output layer has weights of its own.
    tied = vocabulary > 0
    sizes = _Sizes(hidden, intermediate, layers, heads, key_value_heads, abs(vocabulary), positions, tied)
    if min(first) <= 0 or sizes.hidden % sizes.heads or sizes.heads % sizes.key_value_heads:
        raise WeightsError(f"{path} is no llama2.c checkpoint: its header says {numbers}")
    expected = _HEADER.size + 4 * sum(int(np.prod(shape)) for _, shape in _layout(sizes))
    if length != expected:
        raise WeightsError(f"{path} has {length} bytes, but its header {numbers} asks for {expected}")
    return sizes


def _layout(sizes: _Sizes) -> list[tuple[str, tuple[int, ...]]]:
    """Return llama2.c's tensors in file order; those of the layers lie together, layer first."""
    count, hidden, inner = sizes.layers, sizes.hidden, sizes.intermediate
    keys = sizes.key_value_heads * sizes.head_dim
    layout: list[tuple[str, tuple[int, ...]]] = [
        ("model.embed_tokens", (sizes.vocabulary, hidden)),
        ("input_layernorm", (count, hidden)),
        ("self_attn.q_proj", (count, hidden, hidden)),
        ("self_attn.k_proj", (count, keys, hidden)),
        ("self_attn.v_proj", (count, keys, hidden)),
        ("self_attn.o_proj", (count, hidden, hidden)),
        ("post_attention_layernorm", (count, hidden)),
        ("mlp.gate_proj", (count, inner, hidden)),
        ("mlp.down_proj", (count, hidden, inner)),
        ("mlp.up_proj", (count, inner, hidden)),
        ("model.norm", (hidden,)),
        ("", (2, sizes.positions, sizes.head_dim // 2)),  # tables of cosines and sines, no weights
    ]
    return layout if sizes.tied else [*layout, ("lm_head", (sizes.vocabulary, hidden))]


def _tensors(path: Path, sizes: _Sizes) -> Iterator[tuple[str, torch.Tensor]]:
    import torch

    arrays: dict[str, NDArray[np.float32]] = {}
    offset = _HEADER.size
    for name, shape in _layout(sizes):
        arrays[name] = np.memmap(path, "<f4", "r", offset, shape)
        offset += arrays[name].nbytes

    def tensor(array: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(np.array(array, np.float32))

    yield "model.embed_tokens.weight", tensor(arrays["model.embed_tokens"])
    per_layer = [name for name in arrays if name and not name.startswith(("model.", "lm_head"))]
    for layer in range(sizes.layers):
        for name in per_layer:
            array = arrays[name][layer]
            if name in {"self_attn.q_proj", "self_attn.k_proj"}:
                array = _half_split(array, sizes.head_dim)
            yield f"model.layers.{layer}.{name}.weight", tensor(array)
    yield "model.norm.weight", tensor(arrays["model.norm"])
    yield "lm_head.weight", tensor(arrays["model.embed_tokens" if sizes.tied else "lm_head"])


def _half_split(weight: NDArray[np.float32], head_dim: int) -> NDArray[np.float32]:
    """Move the even rows of each head before its odd ones."""
    rows, columns = weight.shape
    return weight.reshape(-1, head_dim // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
