"""BERT's forward pass in NumPy, for the first vectors of a process.

Importing torch takes over a second, the forward pass of a short text milliseconds. A program that embeds one
question and ends, like a command line, need not pay for torch at all.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.errors import WeightsError

Floats = NDArray[np.float32]


def can_run(architecture: str, config: Mapping[str, Any]) -> bool:
    """Whether a model is one that `NumpyBert` computes."""
    return (
        architecture == "BertModel"
        and config.get("hidden_act", "gelu") == "gelu"
        and config.get("pooling", "mean") == "mean"
    )


class NumpyBert:
    """`BertTextEncoder` over the arrays of a weight file; safe to use from several threads."""

    def __init__(self, file: WeightFile, config: Mapping[str, Any]) -> None:
        """Check that ``file`` has BERT's layers; reads none.

        Raises
        ------
        WeightsError
            A layer is missing or has another shape.
        """
        self._file = file
        self._layers = int(config["num_hidden_layers"])
        self._heads = int(config["num_attention_heads"])
        self._eps = np.float32(config.get("layer_norm_eps", 1e-12))
        self._lock = threading.Lock()
        self._checked: set[str] = set()
        for name, shape in _expected(config).items():
            info = file.layers.get(name)
            if info is None:
                raise WeightsError(f"{file.path}: layer {name!r} is missing")
            if info.shape != shape:
                raise WeightsError(
                    f"{file.path}: layer {name!r} has shape {list(info.shape)}, not {list(shape)}"
                )

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> Floats:
        """Return the mean-pooled vectors, float32 (batch, hidden), not yet of unit length.

        Parameters
        ----------
        input_ids, attention_mask
            (batch, length) token ids, and 1 where there is a token, 0 where there is padding.
        """
        length = input_ids.shape[1]
        table = self._file.array("embeddings.word_embeddings.weight")
        hidden = table[input_ids].astype(np.float32)
        hidden += self._array("embeddings.position_embeddings.weight")[:length]
        hidden += self._array("embeddings.token_type_embeddings.weight")[0]
        hidden = self._norm(hidden, "embeddings.LayerNorm")
        bias = np.where(attention_mask[:, None, None, :] > 0, np.float32(0), np.float32(-np.inf))
        for number in range(self._layers):
            hidden = self._layer(hidden, bias, f"encoder.layer.{number}")
        self._file.drop_cache()
        weights = attention_mask[:, :, None].astype(np.float32)
        pooled: Floats = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        return pooled

    def _layer(self, hidden: Floats, bias: Floats, name: str) -> Floats:
        batch, length, size = hidden.shape
        split = (batch, length, self._heads, size // self._heads)
        query, key, value = (
            self._linear(hidden, f"{name}.attention.self.{part}").reshape(split).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32(np.sqrt(split[-1])) + bias
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        attended = (weights @ value).transpose(0, 2, 1, 3).reshape(batch, length, size)
        attended = self._linear(attended, f"{name}.attention.output.dense")
        hidden = self._norm(hidden + attended, f"{name}.attention.output.LayerNorm")
        inner = gelu(self._linear(hidden, f"{name}.intermediate.dense"))
        return self._norm(hidden + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def _linear(self, x: Floats, name: str) -> Floats:
        flat: Floats = x.reshape(-1, x.shape[-1]) @ self._array(f"{name}.weight").T
        return (flat + self._array(f"{name}.bias")).reshape(*x.shape[:-1], -1)

    def _norm(self, x: Floats, name: str) -> Floats:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        scaled: Floats = centred / np.sqrt(variance + self._eps) * self._array(f"{name}.weight")
        return scaled + self._array(f"{name}.bias")

    def _array(self, name: str) -> Floats:
        with self._lock:
            if name not in self._checked:
                self._file.check(name)
                self._checked.add(name)
        array: Floats = self._file.array(name).astype(np.float32, copy=False)
        return array


def gelu(x: Floats) -> Floats:
    """Return ``x * (1 + erf(x / sqrt 2)) / 2``; erf by Abramowitz and Stegun 7.1.26, error under 1.5e-7."""
    z: Floats = np.abs(x) * np.float32(np.sqrt(0.5))
    t: Floats = np.reciprocal(1 + np.float32(0.3275911) * z)
    series: Floats = np.zeros_like(x)
    for coefficient in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + np.float32(coefficient)) * t
    erf = np.copysign(1 - series * np.exp(-z * z), x)
    activated: Floats = x * (1 + erf) * np.float32(0.5)
    return activated


def _expected(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    tables = {
        "word_embeddings": int(config["vocab_size"]),
        "position_embeddings": int(config["max_position_embeddings"]),
        "token_type_embeddings": int(config.get("type_vocab_size", 2)),
    }
    expected: dict[str, tuple[int, ...]] = {
        f"embeddings.{table}.weight": (rows, hidden) for table, rows in tables.items()
    }
    vectors = {"embeddings.LayerNorm": hidden}
    for number in range(int(config["num_hidden_layers"])):
        layer = f"encoder.layer.{number}"
        linears = {
            **{f"attention.self.{part}": (hidden, hidden) for part in ("query", "key", "value")},
            "attention.output.dense": (hidden, hidden),
            "intermediate.dense": (inner, hidden),
            "output.dense": (hidden, inner),
        }
        for part, shape in linears.items():
            expected |= {f"{layer}.{part}.weight": shape, f"{layer}.{part}.bias": shape[:1]}
        vectors |= {f"{layer}.attention.output.LayerNorm": hidden, f"{layer}.output.LayerNorm": hidden}
    for name, size in vectors.items():
        expected |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    return expected
