"""Tensors as weight files hold them, and what their bytes tell: digest, checksum, whether they are finite."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from aios_db.engine.weights.format import BINARY_COLUMNS
from aios_db.engine.weights.layer import ITEM_BYTES, LayerInfo
from aios_db.schema.errors import WeightsError


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a weight file: its description and buffers (bytes, NumPy array or Arrow buffer)."""

    info: LayerInfo
    data: Any
    scales: Any = None
    zero_points: Any = None

    @property
    def nbytes(self) -> int:
        """Bytes of values, scales and zero points."""
        return sum(as_buffer(getattr(self, column)).size for column in BINARY_COLUMNS)


class ContentHash:
    """SHA-256 over the layers of a file, independent of how the file stores them.

    Floats count the same in V1 and V2: rewriting a file keeps the identity of its weights.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, layer: StoredTensor) -> None:
        """Add the next layer."""
        info = layer.info
        if not info.is_quantized:  # what the bytes are, where the label lies
            stored = f"torch.{info.stored_dtype(as_buffer(layer.data).size)}"
            info = replace(info, dtype=stored, quant_type="", quant_axis=-1, group_size=0)
        self._hash.update(json.dumps(asdict(info), sort_keys=True).encode())
        for column in BINARY_COLUMNS:
            self._hash.update(memoryview(as_buffer(getattr(layer, column))))

    def hexdigest(self) -> str:
        """Return the digest of the layers so far."""
        return self._hash.hexdigest()


def checksum(layer: StoredTensor) -> int:
    """Return the CRC-32 of a layer's buffers."""
    crc = 0
    for column in BINARY_COLUMNS:
        crc = zlib.crc32(as_buffer(getattr(layer, column)), crc)
    return crc


def check_finite(layer: StoredTensor) -> None:
    """Raise `WeightsError`, naming the layer, when a float in it is NaN or infinite."""
    dtype = layer.info.stored_dtype(as_buffer(layer.data).size)
    arrays = {
        "data": (layer.data, dtype),
        "scales": (layer.scales, "float32"),
        "zero_points": (layer.zero_points, "float32"),
    }
    for what, (buffer, kind) in arrays.items():
        raw = memoryview(as_buffer(buffer))
        if "float" in kind and len(raw) % ITEM_BYTES[kind]:
            raise WeightsError(f"layer {layer.info.name!r}: {what} are {len(raw)} bytes of {kind}")
        if kind == "bfloat16":  # an exponent of all ones
            finite = ((np.frombuffer(raw, dtype=np.uint16) & 0x7F80) != 0x7F80).all()
        elif "float" in kind:
            finite = np.isfinite(np.frombuffer(raw, dtype=kind)).all()
        else:
            finite = np.True_
        if not finite:
            raise WeightsError(f"layer {layer.info.name!r}: {what} hold NaN or infinity")


def as_buffer(value: Any) -> pa.Buffer:
    """Return bytes, a NumPy array or an Arrow buffer as an Arrow buffer; None as an empty one."""
    if value is None:
        return pa.py_buffer(b"")
    if isinstance(value, pa.Buffer):
        return value
    return pa.py_buffer(np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value)
