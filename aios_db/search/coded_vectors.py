"""Vectors of a segment in the bytes of their codes: those that are decoded ones, without a loss."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.vector_codes import PRECISIONS, code_bytes, decode, encode
from aios_db.search.ranking import digest64

_CODED = ("none", "bits", "int8", "float16")
_BLOCK = 8192
_SAMPLE = 1024
_COLD = 0.9


def is_cold(vectors: NDArray[np.float32], tiers: NDArray[np.uint64]) -> bool:
    """Tell whether nearly all memories, by a sample, are compressed: decoded vectors, none in the short tier.

    Parameters
    ----------
    tiers
        uint64 ``(n,)``, the tiers' digests.
    """
    step = max(len(vectors) // _SAMPLE, 1)
    cold = (_precisions(vectors[::step]) != _number("float32")) & (tiers[::step] != digest64("short"))
    return len(cold) > 0 and float(cold.mean()) >= _COLD


def coded(vectors: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return each vector's precision, uint8 ``(n,)``, and the bytes of all, those of a precision together."""
    kinds = np.concatenate([np.empty(0, np.uint8), *(_precisions(each) for each in _blocks(vectors))])
    parts = [np.empty(0, np.uint8)]
    for kind in np.unique(kinds).tolist():
        rows = vectors[kinds == kind]
        if PRECISIONS[kind] == "float32":
            parts.append(np.ascontiguousarray(rows, "<f4").view(np.uint8).ravel())
        else:
            parts.append(np.frombuffer(encode(rows, PRECISIONS[kind]).buffers()[2] or b"", np.uint8))
    return kinds, np.concatenate(parts)


def decoded(kinds: NDArray[np.uint8], data: NDArray[np.uint8], dimension: int) -> NDArray[np.float32]:
    """Return the vectors, float32 ``(n, dimension)``."""
    vectors = np.zeros((len(kinds), dimension), np.float32)
    start = 0
    for kind in np.unique(kinds).tolist():
        rows = np.flatnonzero(kinds == kind)
        size = 4 * dimension if PRECISIONS[kind] == "float32" else code_bytes(PRECISIONS[kind], dimension)
        some = data[start : start + len(rows) * size].reshape(len(rows), size)
        start += len(rows) * size
        if PRECISIONS[kind] == "float32":
            vectors[rows] = some.copy().view("<f4")
        elif size:
            for first in range(0, len(rows), _BLOCK):
                block = some[first : first + _BLOCK]
                vectors[rows[first : first + _BLOCK]] = decode(_as_arrow(block), dimension)
    return vectors


def _precisions(vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the coarsest precision of each vector of which it is a decoded one."""
    found = np.full(len(vectors), _number("float32"), np.uint8)
    for precision in _CODED:
        left = np.flatnonzero(found == _number("float32"))
        if not len(left):
            break
        again = decode(encode(vectors[left], precision), vectors.shape[1])  # type: ignore[arg-type]
        found[left[(again == vectors[left]).all(axis=1)]] = _number(precision)
    return found


def _number(precision: str) -> int:
    return PRECISIONS.index(precision)


def _blocks(vectors: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(vectors), _BLOCK):
        yield vectors[start : start + _BLOCK]


def _as_arrow(codes: NDArray[np.uint8]) -> pa.BinaryArray:
    ends = pa.py_buffer((np.arange(len(codes) + 1) * codes.shape[1]).astype(np.int32).tobytes())
    data = pa.py_buffer(np.ascontiguousarray(codes).tobytes())
    return pa.BinaryArray.from_buffers(pa.binary(), len(codes), [None, ends, data])
