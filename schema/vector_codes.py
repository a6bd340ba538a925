"""Vectors in fewer bytes than float32: what a memory of a compressed tier keeps of its vector.

A code is the bytes of one vector, and its length says which: ``float16`` has two bytes a number, ``int8`` one
(a grid of 127 steps to the vector's greatest number), ``bits`` one bit, its sign (Charikar, 2002). Codes are
decoded so that inner products are on average those of the vector: to unit length, and those of ``bits`` to a
length of sqrt(pi / 2), since a direction's product with its signs, of unit length, is sqrt(2 / pi) in many
dimensions. Otherwise what is known by its signs would come behind all that is known exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.config import VectorPrecision
from aios_db.schema.directions import directions
from aios_db.schema.errors import DataError

PRECISIONS: tuple[VectorPrecision, ...] = ("float32", "float16", "int8", "bits", "none")
"""From the finest to the coarsest."""
_STEPS = 127
_OF_SIGNS = np.float32(np.sqrt(np.pi / 2))


def code_bytes(precision: VectorPrecision, dimension: int) -> int:
    """Return the length of a code; 0 where there is none."""
    return {"float16": 2 * dimension, "int8": dimension, "bits": -(-dimension // 8)}.get(precision, 0)


def encode(vectors: NDArray[np.float32], precision: VectorPrecision) -> pa.BinaryArray:
    """Return the codes of float32 ``(n, dimension)`` unit rows; empty ones for ``none``."""
    size = code_bytes(precision, vectors.shape[1])
    if precision == "none":
        codes: NDArray[Any] = np.empty((len(vectors), 0), np.uint8)
    elif precision == "bits":
        codes = np.packbits(vectors > 0, axis=1)
    elif precision == "int8":
        greatest = np.abs(vectors).max(axis=1, keepdims=True)
        codes = np.rint(vectors * (_STEPS / np.maximum(greatest, np.finfo(np.float32).tiny))).astype(np.int8)
    else:
        codes = vectors.astype("<f2")
    data = pa.py_buffer(np.ascontiguousarray(codes).tobytes())
    ends = pa.py_buffer((np.arange(len(vectors) + 1) * size).astype(np.int32).tobytes())
    return pa.BinaryArray.from_buffers(pa.binary(), len(vectors), [None, ends, data])


def decode(codes: pa.BinaryArray, dimension: int) -> NDArray[np.float32]:
    """Return the vectors of codes, float32 ``(n, dimension)``; zeros for NULL and ``none``.

    Raises
    ------
    DataError
        A code has a length that no precision has.
    """
    vectors = np.zeros((len(codes), dimension), np.float32)
    found = codes.to_pylist()
    lengths = np.array([0 if each is None else len(each) for each in found])
    for size in np.unique(lengths[lengths > 0]).tolist():
        rows = np.flatnonzero(lengths == size)
        data = np.frombuffer(b"".join(found[row] for row in rows.tolist()), np.uint8).reshape(-1, size)
        vectors[rows] = directions(_numbers(data, dimension))[0]
        if precision_of(size, dimension) == "bits":
            vectors[rows] *= _OF_SIGNS
    return vectors


def precision_of(size: int, dimension: int) -> VectorPrecision:
    """Return the precision whose codes have this many bytes.

    Raises
    ------
    DataError
        There is none.
    """
    for precision in PRECISIONS:
        if precision != "float32" and code_bytes(precision, dimension) == size:
            return precision
    raise DataError(f"a vector's code has {size} bytes; none of {dimension} numbers has")


def _numbers(data: NDArray[np.uint8], dimension: int) -> NDArray[np.float32]:
    precision = precision_of(data.shape[1], dimension)
    if precision == "bits":
        return np.unpackbits(data, axis=1, count=dimension).astype(np.float32) * 2 - 1
    return data.view(np.int8 if precision == "int8" else "<f2").astype(np.float32)
