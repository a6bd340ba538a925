"""Golomb-Rice codes (Rice 1971) of gaps, near their entropy where positions are spread at random.

Each number is a quotient in unary, zeros ended by a one, and a remainder of fixed width. The unary parts of
all numbers come first, so that both parts are read without a loop.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.errors import DataError

Positions = NDArray[np.int64]
_WIDEST = 30


def encode_positions(positions: Positions, width: int) -> NDArray[np.uint8]:
    """Return growing positions as bits, one per element; ``width`` is that of the remainders."""
    gaps = np.diff(positions, prepend=-1) - 1
    quotients = gaps >> width
    ends = np.cumsum(quotients + 1) - 1
    unary = np.zeros(int(ends[-1]) + 1 if len(ends) else 0, np.uint8)
    unary[ends] = 1
    return np.concatenate([unary, to_bits(gaps & ((1 << width) - 1), width)])


def decode_positions(bits: NDArray[np.uint8], count: int, width: int, size: int) -> tuple[Positions, int]:
    """Return ``count`` positions below ``size`` from the beginning of ``bits``, and how many bits they took.

    Raises
    ------
    DataError
        The bits are no such positions.
    """
    if not 0 <= width <= _WIDEST or count > size:
        raise DataError(f"{count} positions below {size} with remainders of {width} bits")
    # A quotient is at most size >> width, and all of them together are, too.
    unary = np.flatnonzero(bits[: count + (size >> width)])[:count]
    if len(unary) < count:
        raise DataError("the positions end too early")
    used = int(unary[-1]) + 1 if count else 0
    rest = bits[used : used + count * width]
    if len(rest) < count * width:
        raise DataError("the positions end too early")
    gaps = ((np.diff(unary, prepend=-1) - 1) << width) + from_bits(rest, width, count)
    positions = np.cumsum(gaps + 1) - 1
    if count and int(positions[-1]) >= size:
        raise DataError(f"position {int(positions[-1])} of {size}")
    return positions.astype(np.int64), used + count * width


def best_width(count: int, size: int) -> int:
    """Return the width of remainders that suits ``count`` random positions below ``size``."""
    if not count:
        return 0
    mean = size / count  # of the gaps; the best is near log2(mean * ln 2)
    return max(0, min(_WIDEST, int(np.ceil(np.log2(max(1.0, mean * np.log(2)))))))


def to_bits(values: NDArray[np.integer], width: int) -> NDArray[np.uint8]:
    """Return numbers below 2^``width`` as bits, the highest first."""
    places = np.arange(width - 1, -1, -1)
    return ((values[:, None] >> places) & 1).astype(np.uint8).ravel()


def from_bits(bits: NDArray[np.uint8], width: int, count: int) -> NDArray[np.int64]:
    """Return the ``count`` numbers that `to_bits` was given."""
    if width == 0:
        return np.zeros(count, np.int64)
    places = np.int64(1) << np.arange(width - 1, -1, -1, dtype=np.int64)
    return bits.reshape(count, width).astype(np.int64) @ places
