"""The bytes of int2 tensors: four values a byte, and planes of bits that refine some rows.

A value q in -2..1 is stored as q + 2, four to a byte, the first in the highest bits; the last byte is padded
with zero bits. After these the bytes may go on. A reader that trims to the element count has the tensor in 2
bits; one that reads on gets the rest of the rows that were given more:

- how many planes refine each row, 0 to 3, packed as above, less 2;
- plane by plane, two bits f for every weight of the rows that have it, in order, packed as above, less 2.

Plane k adds ``(f - 1.5) / 4**k`` to q. So a row of p planes stands on a grid of ``4**p`` times as many steps,
and without its planes each of its weights is in the middle of what it may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.errors import WeightsError

MAX_PLANES = 3
"""Of a row: 2 + 2 * 3 bits."""

_SHIFTS = np.array([6, 4, 2, 0], dtype=np.uint8)


@dataclass(frozen=True)
class Plane:
    """Two bits more for some rows."""

    rows: NDArray[np.intp]
    """Which rows."""
    part: slice
    """Where in the tensor's bytes theirs are, to be read by `unpack_int2`: f - 2 for each weight."""


def packed_size(count: int) -> int:
    """Return how many bytes ``count`` values take without planes."""
    return -(-count // 4)


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
        (rows, columns), those of a row of p planes in ``-2 * 4**p .. 2 * 4**p - 1``.
    planes
        0 to 3 for each row.

    Raises
    ------
    WeightsError
        A code is outside its row's range.
    """
    count = np.asarray(planes, dtype=np.int8)
    parts = [pack_int2((codes >> (2 * count[:, None])).astype(np.int8)), pack_int2(count - np.int8(2))]
    for plane in range(1, int(count.max(initial=0)) + 1):
        has = count >= plane
        fine = codes[has] >> (2 * (count[has, None] - plane)) & 3
        parts.append(pack_int2((fine - 2).astype(np.int8)))
    return np.concatenate(parts)


def planes_of(raw: NDArray[np.uint8], rows: int, columns: int) -> tuple[Plane, ...]:
    """Return the planes in the bytes of a (rows, columns) int2 tensor, the coarsest first.

    Raises
    ------
    WeightsError
        There are more or fewer bytes than there should be.
    """
    size, header = packed_size(rows * columns), packed_size(rows)
    if raw.size == size:
        return ()
    if raw.size < size + header:
        raise WeightsError(f"{rows * columns} int2 values take {size} bytes, not {raw.size}")
    count = unpack_int2(raw[size : size + header], rows) + np.int8(2)
    planes, end = [], size + header
    for number in range(1, int(count.max(initial=0)) + 1):
        chosen = np.flatnonzero(count >= number)
        start, end = end, end + packed_size(chosen.size * columns)
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
        fine = unpack_int2(raw[plane.part], plane.rows.size * columns).reshape(-1, columns)
        values[plane.rows] += (fine + np.float32(0.5)) * np.float32(0.25**number)
    return values
