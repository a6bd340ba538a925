"""The bytes of int2 tensors: four values a byte, and bit planes that refine some rows.

A value q in -2..1 is stored as q + 2, four to a byte, the first in the highest bits; the last byte is padded
with zero bits. After these the bytes may go on. A reader that trims to the element count has the tensor in 2
bits; one that reads on gets the rest of the rows that were given more:

- how many planes refine each row, 0 to 6: two digits to the base 4, the higher one first, packed as above,
  less 2;
- plane by plane, one bit f for every weight of the rows that have it, in order, eight to a byte, the first in
  the highest bit, each plane padded with zero bits.

Plane k adds ``(f - 1/2) / 2**k`` to q. So a row of p planes stands on a grid of ``2**p`` times as many steps,
and without its planes each of its weights is in the middle of what it may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.errors import WeightsError

MAX_PLANES = 6
"""Of a row, which then has 8 bits."""

_SHIFTS = np.array([6, 4, 2, 0], dtype=np.uint8)


@dataclass(frozen=True)
class Plane:
    """A bit more for some rows."""

    rows: NDArray[np.intp]
    """Which rows."""
    part: slice
    """Where in the tensor's bytes theirs are, eight weights a byte."""


def packed_size(count: int) -> int:
    """Return how many bytes ``count`` values take without planes."""
    return -(-count // 4)


def refined_size(planes: Sequence[int], columns: int) -> int:
    """Return how many bytes planes take, when each row has as many as ``planes`` says."""
    counts = (sum(each >= number for each in planes) for number in range(1, max(planes, default=0) + 1))
    return packed_size(2 * len(planes)) + sum(-(-count * columns // 8) for count in counts)


def pack_int2(values: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Pack int8 values in -2..1 (any shape, row-major) into ``ceil(n / 4)`` bytes.

    Raises
    ------
    WeightsError
        A value is outside -2..1.
    """
    flat = np.ascontiguousarray(values, dtype=np.int8).reshape(-1)
    if flat.size and (flat.min() < -2 or flat.max() > 1):
        raise WeightsError(f"int2 holds -2..1, not {flat.min()}..{flat.max()}: clip before packing")
    codes = np.zeros(packed_size(flat.size) * 4, dtype=np.uint8)
    codes[: flat.size] = (flat + 2).view(np.uint8)
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(codes.reshape(-1, 4) << _SHIFTS, axis=1)
    return packed


def unpack_int2(packed: NDArray[np.uint8], count: int) -> NDArray[np.int8]:
    """Return the first ``count`` values, int8 in -2..1, of bytes made by `pack_int2`.

    Raises
    ------
    WeightsError
        There are not exactly ``ceil(count / 4)`` bytes.
    """
    packed = np.asarray(packed, dtype=np.uint8).reshape(-1)
    if packed.size != packed_size(count):
        raise WeightsError(f"{count} int2 values take {packed_size(count)} bytes, not {packed.size}")
    codes = (packed[:, None] >> _SHIFTS) & 3
    return codes.reshape(-1)[:count].view(np.int8) - np.int8(2)


def pack_refined(codes: NDArray[np.int16], planes: Sequence[int]) -> NDArray[np.uint8]:
    """Pack rows of which some have more than 2 bits.

    Parameters
    ----------
    codes
        (rows, columns), those of a row of p planes in ``-2 * 2**p .. 2 * 2**p - 1``.
    planes
        0 to 6 for each row.

    Raises
    ------
    WeightsError
        A code is outside its row's range.
    """
    count = np.asarray(planes, dtype=np.int8)
    digits = np.stack([count >> 2, count & 3], 1) - np.int8(2)
    parts = [pack_int2((codes >> count[:, None]).astype(np.int8)), pack_int2(digits)]
    for number in range(1, int(count.max(initial=0)) + 1):
        has = count >= number
        parts.append(np.packbits(codes[has] >> (count[has, None] - number) & 1))
    return np.concatenate(parts)


def planes_of(raw: NDArray[np.uint8], rows: int, columns: int) -> tuple[Plane, ...]:
    """Return the planes in the bytes of a (rows, columns) int2 tensor, the coarsest first.

    Raises
    ------
    WeightsError
        There are more or fewer bytes than there should be.
    """
    size, header = packed_size(rows * columns), packed_size(2 * rows)
    if raw.size == size:
        return ()
    if raw.size < size + header:
        raise WeightsError(f"{rows * columns} int2 values take {size} bytes, not {raw.size}")
    digits = unpack_int2(raw[size : size + header], 2 * rows).reshape(rows, 2) + np.int8(2)
    count = 4 * digits[:, 0] + digits[:, 1]
    planes, end = [], size + header
    for number in range(1, int(count.max(initial=0)) + 1):
        chosen = np.flatnonzero(count >= number)
        start, end = end, end - (-chosen.size * columns // 8)
        planes.append(Plane(chosen, slice(start, end)))
    if raw.size != end:
        raise WeightsError(f"{rows} int2 rows with {count.sum()} planes take {end} bytes, not {raw.size}")
    return tuple(planes)


def int2_values(raw: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.float32]:
    """Return the values q of a tensor, planes included, as float32 of (rows, columns).

    Raises
    ------
    WeightsError
        As `planes_of`.
    """
    planes, size = planes_of(raw, rows, columns), packed_size(rows * columns)
    values = unpack_int2(raw[:size], rows * columns).reshape(rows, columns).astype(np.float32)
    for number, plane in enumerate(planes, 1):
        bits = np.unpackbits(raw[plane.part], count=plane.rows.size * columns).reshape(-1, columns)
        values[plane.rows] += (bits - np.float32(0.5)) * np.float32(0.5**number)
    return values
