"""Vectors as directions: unit length, computed so that no scale of the numbers loses any."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1024  # rows that stay in the processor's cache


def directions(vectors: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return rows of unit length, and which rows have a direction.

    A row has none when it holds NaN or infinity, when all its numbers are zero, or so small that their digits
    are lost (subnormal); it comes back as zeros.

    Parameters
    ----------
    vectors
        Numbers ``(n, dimension)`` of any type and scale.

    Returns
    -------
    unit, has_direction
        float32 ``(n, dimension)`` and bool ``(n,)``.
    """
    least = np.finfo(vectors.dtype if vectors.dtype.kind == "f" else np.float64).tiny
    unit = np.zeros(vectors.shape, np.float32)
    has_direction = np.zeros(len(vectors), np.bool_)
    for start in range(0, len(vectors), _BLOCK):
        rows = vectors[start : start + _BLOCK].astype(np.float64)
        largest = np.abs(rows).max(axis=1, initial=0.0)
        good = np.isfinite(largest) & (largest >= least)
        rows = rows[good] / largest[good, np.newaxis]  # its square is neither 0 nor infinite
        rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, np.newaxis]
        unit[start : start + _BLOCK][good] = rows
        has_direction[start : start + _BLOCK] = good
    return unit, has_direction


def why_not(vector: NDArray[Any]) -> str:
    """Say why a vector has no direction."""
    if not np.isfinite(vector.astype(np.float64)).all():
        return "holds NaN, infinity or NULL"
    if not vector.any():
        return "is a vector of zeros, which has no direction"
    return "is too small to have a direction: its numbers are subnormal"
