"""The largest part of a change, in few bits: what is sent of each factor instead of all of it.

Of each chunk of numbers the largest are kept (top-k), as a sign and a level. The levels of a chunk lie evenly
between its least and its largest magnitude; with 2 bits they are two, the means of the lower and the upper
half, with 1 bit one, the mean (as in SparseLoCo, Sarfi et al. 2025). Positions are gaps in Rice codes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aios_db.federation.rice import best_width, decode_positions, encode_positions, from_bits, to_bits
from aios_db.schema.errors import DataError, ProgrammingError

Values = NDArray[np.float32]

BITS = (1, 2, 4, 8)
CHUNK = 4096
_HEADER = struct.Struct("<IIBB")  # numbers, chunks with any, bits of a remainder, bits of a number


@dataclass(frozen=True)
class Sparsity:
    """How much of a change is kept."""

    density: float = 0.03
    """Share of the numbers of each chunk of 4,096."""
    bits: int = 2
    """For each of them, its sign included: 8, 4, 2 or 1."""

    def __post_init__(self) -> None:
        """Refuse what cannot be sent."""
        if not 0 < self.density <= 1:
            raise ProgrammingError(f"a density of {self.density} is not above 0 and at most 1")
        if self.bits not in BITS:
            raise ProgrammingError(f"{self.bits} bits are not one of {', '.join(map(str, BITS))}")


def encode(change: Values, sparsity: Sparsity) -> tuple[bytes, Values]:
    """Return a change as bytes, and what `decode` makes of them: what is really sent.

    Parameters
    ----------
    change
        float32 (n,), finite.
    """
    positions = _largest(change, sparsity.density)
    chunks, places = np.unique(positions // CHUNK, return_inverse=True)
    values = change[positions]
    levels = 1 << (sparsity.bits - 1)
    scales = _rounded(_scales(np.abs(values), places, len(chunks), levels))
    codes = _codes(values, scales, places, levels)
    width = best_width(len(positions), len(change))
    bits = np.concatenate([encode_positions(positions, width), to_bits(codes, sparsity.bits)])
    body = (
        _HEADER.pack(len(positions), len(chunks), width, sparsity.bits)
        + (scales.view(np.uint32) >> 16).astype("<u2").tobytes()
        + np.packbits(bits).tobytes()
    )
    sent = np.zeros_like(change)
    sent[positions] = _values(codes, scales, places, levels)
    return body, sent


def decode(body: bytes, size: int) -> Values:
    """Return a change of ``size`` numbers, float32 (size,).

    Raises
    ------
    DataError
        The bytes are no change of that many numbers. They are looked at before anything is allocated.
    """
    if len(body) < _HEADER.size:
        raise DataError(f"a change of {len(body)} bytes is none")
    count, chunks, width, bits_each = _HEADER.unpack_from(body)
    if bits_each not in BITS or count > size or chunks > min(count, -(-size // CHUNK)):
        raise DataError(f"{count} of {size} numbers in {chunks} chunks, {bits_each} bits each")
    levels = 1 << (bits_each - 1)
    columns = 1 if levels == 1 else 2
    end = _HEADER.size + 2 * chunks * columns
    if len(body) < end or len(body) - end > (2 * size + count * (31 + bits_each)) // 8 + 1:
        raise DataError(f"a change of {len(body)} bytes is not of {count} numbers")
    halves = np.frombuffer(body[_HEADER.size : end], "<u2").astype(np.uint32)
    scales = (halves << 16).view(np.float32).reshape(chunks, columns)
    if not (np.isfinite(scales).all() and (scales >= 0).all()):
        raise DataError("a scale is not a finite magnitude")
    bits = np.unpackbits(np.frombuffer(body, np.uint8, offset=end))
    positions, used = decode_positions(bits, count, width, size)
    rest = bits[used : used + count * bits_each]
    if len(rest) < count * bits_each or len(bits) - used - len(rest) >= 8:
        raise DataError("the change has too few or too many bytes")
    found, places = np.unique(positions // CHUNK, return_inverse=True)
    if len(found) != chunks:
        raise DataError(f"{chunks} scales for {len(found)} chunks")
    change = np.zeros(size, np.float32)
    change[positions] = _values(from_bits(rest, bits_each, count), scales, places, levels)
    return change


def _largest(change: Values, density: float) -> NDArray[np.int64]:
    """Return the positions of the largest numbers of each chunk, growing; zeros are left out."""
    found = []
    for start in range(0, len(change), CHUNK):
        magnitudes = np.abs(change[start : start + CHUNK])
        kept = max(1, round(density * len(magnitudes)))
        if kept < len(magnitudes):
            chosen = np.sort(np.argpartition(magnitudes, -kept)[-kept:])
        else:
            chosen = np.arange(len(magnitudes))
        found.append(start + chosen[magnitudes[chosen] > 0])
    return np.concatenate(found).astype(np.int64) if found else np.zeros(0, np.int64)


def _scales(magnitudes: Values, places: NDArray[np.int64], chunks: int, levels: int) -> Values:
    """Return the mean, (chunks, 1), or the least and the largest level of each chunk, (chunks, 2)."""

    def means(of: NDArray[np.bool_]) -> Values:
        counts = np.bincount(places[of], minlength=chunks)
        sums = np.bincount(places[of], magnitudes[of], minlength=chunks)
        return (sums / np.maximum(counts, 1)).astype(np.float32)

    middle = means(np.ones(len(places), np.bool_))
    if levels == 1:
        return middle[:, None]
    if levels > 2:
        low, high = np.full(chunks, np.inf, np.float32), np.zeros(chunks, np.float32)
        np.minimum.at(low, places, magnitudes)
        np.maximum.at(high, places, magnitudes)
        return np.stack([low, high], axis=1)
    for _ in range(3):  # the means of both halves (Lloyd); their middle parts them
        upper = magnitudes > middle[places]
        low, high = means(~upper), means(upper)
        high = np.maximum(low, high)  # where no magnitude is above the middle
        middle = ((low + high) / 2).astype(np.float32)
    return np.stack([low, high], axis=1)


def _rounded(scales: Values) -> Values:
    """Return positive numbers rounded to bfloat16, as which they are sent, and not up to infinity."""
    most = np.array([0x7F7F0000], np.uint32).view(np.float32)
    bits = np.minimum(scales, most).astype(np.float32).view(np.uint32)
    return np.minimum(((bits + 0x8000) & 0xFFFF0000).astype(np.uint32).view(np.float32), most)


def _codes(values: Values, scales: Values, places: NDArray[np.int64], levels: int) -> NDArray[np.int64]:
    codes = np.zeros(len(values), np.int64)
    if levels > 1:
        low, high = scales[places, 0], scales[places, 1]
        steps = np.where(high > low, high - low, 1).astype(np.float32)
        codes = np.clip(np.rint((np.abs(values) - low) / steps * (levels - 1)), 0, levels - 1).astype(
            np.int64
        )
    return np.where(values < 0, codes + levels, codes)


def _values(codes: NDArray[np.int64], scales: Values, places: NDArray[np.int64], levels: int) -> Values:
    low, high = scales[places, 0], scales[places, -1]
    shares = ((codes % levels) / max(1, levels - 1)).astype(np.float32)
    magnitudes = low + shares * (high - low)
    signed: Values = np.where(codes >= levels, -magnitudes, magnitudes).astype(np.float32)
    return signed
