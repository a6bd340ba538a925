"""The state of an unfinished quantization, so that it continues after a kill."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from aios_db.engine.quantization.rounding import Grid, Quantized
from aios_db.engine.weights.files import atomic_write

log = logging.getLogger("aios_db.engine.quantization")


class Checkpoint:
    """One file, replaced as a whole, that belongs to one task: a source, texts and a recipe."""

    def __init__(self, path: Path, task: Mapping[str, Any]) -> None:
        self.path = path
        self._task = hashlib.sha256(json.dumps(task, sort_keys=True).encode()).hexdigest()

    def load(self) -> dict[str, Any]:
        """Return what `save` got last; empty when there is nothing, or it is of another task."""
        try:
            state = torch.load(self.path, weights_only=True, map_location="cpu")
        except FileNotFoundError:
            return {}
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            log.warning("%s cannot be read, so the quantization starts over: %s", self.path, error)
            return {}
        if not isinstance(state, dict) or state.get("task") != self._task:
            log.warning("%s is of another source, recipe or calibration: it is started over", self.path)
            return {}
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the file with ``state`` (tensors, numbers, strings, lists and dictionaries)."""
        with atomic_write(self.path, alone=True) as part:
            torch.save({**state, "task": self._task}, part)


def pack_quantized(layers: Mapping[str, Quantized]) -> dict[str, Any]:
    """Return quantized layers as values a checkpoint can hold."""
    return {
        name: {
            "grid": [layer.grid.bits, layer.grid.group_size, layer.grid.symmetric, list(layer.grid.planes)],
            "shape": list(layer.shape),
            "codes": layer.codes.to(torch.int8),
            "scale": layer.scale,
            "zero_point": layer.zero_point,
        }
        for name, layer in layers.items()
    }


def unpack_quantized(stored: Mapping[str, Any]) -> dict[str, Quantized]:
    """Undo `pack_quantized`."""
    layers = {}
    for name, layer in stored.items():
        bits, group_size, symmetric, planes = layer["grid"]
        grid = Grid(bits, group_size, symmetric, tuple(planes))
        codes = layer["codes"]
        layers[name] = Quantized(grid, tuple(layer["shape"]), codes, layer["scale"], layer["zero_point"])
    return layers


def texts_sha256(texts: Sequence[str]) -> str:
    """Return the SHA-256 (hex) of calibration texts, order included."""
    digest = hashlib.sha256()
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()
