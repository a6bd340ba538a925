"""The difference between two versions of a card, as bytes that name both by their hashes.

Either exact, or sparse: then the version that it leads to is the one that the receiver gets, and what is
missing from the version that was meant stays with the sender (`feedback`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from aios_db.federation import lossless, sparse
from aios_db.federation.card import Array, LoraCard
from aios_db.federation.sparse import Sparsity, Values
from aios_db.schema.errors import DataError, NotSupportedError

LOSSLESS, SPARSE = "lossless", "sparse"
KINDS = (LOSSLESS, SPARSE)
_PLAIN, _ZSTD = b"\0", b"\1"
_ZSTD_LEVEL = 9


@dataclass(frozen=True)
class Delta:
    """What makes one version of a card of another.

    Attributes
    ----------
    kind
        ``lossless`` or ``sparse``.
    base, result
        The hashes of the two versions.
    body
        The difference, compressed.
    """

    kind: str
    base: str
    result: str
    body: bytes


def exact_delta(base: LoraCard, card: LoraCard) -> Delta:
    """Return the difference of two versions of a card, bit for bit.

    Raises
    ------
    NotSupportedError
        They are not versions of one card: other ranks, shapes or modules. Send the card itself.
    """
    _require_alike(base, card)
    old, new = _by_type(base), _by_type(card)
    moved = b"".join(lossless.difference(old[dtype], new[dtype]) for dtype in old)
    return Delta(LOSSLESS, base.sha256, card.sha256, _compressed(moved))


def sparse_delta(base: LoraCard, change: Values, sparsity: Sparsity) -> tuple[Delta, LoraCard, Values]:
    """Return the largest part of a change of a card, the version that it leads to, and what was sent of it.

    Parameters
    ----------
    change
        float32 (base.parameters,), in the order of `vector`.
    """
    body, sent = sparse.encode(change, sparsity)
    result = moved(base, sent)
    return Delta(SPARSE, base.sha256, result.sha256, _compressed(body)), result, sent


def apply_delta(delta: Delta, base: LoraCard) -> LoraCard:
    """Return the version that a delta leads to.

    Raises
    ------
    DataError
        ``base`` is another version than the delta's, the body is damaged, or it leads to another version
        than the delta says.
    """
    if delta.kind not in KINDS:
        raise DataError(f"a delta of the kind {delta.kind!r} is unknown here")
    if delta.base != base.sha256:
        raise DataError(f"the delta is of version {delta.base[:12]}, not of {base.version}")
    if delta.kind == SPARSE:
        most = 64 + 8 * base.parameters
        result = moved(base, sparse.decode(_decompressed(delta.body, most), base.parameters))
    else:
        result = _exactly(base, _decompressed(delta.body, base.nbytes))
    if result.sha256 != delta.result:
        raise DataError(f"the delta leads to {result.sha256[:12]} and not to {delta.result[:12]}")
    return result


def vector(card: LoraCard) -> Values:
    """Return all numbers of a card, float32 (parameters,): those of the factors A, then those of B."""
    return np.concatenate([array.ravel().astype(np.float32) for _, array in _a_first(card)])


def moved(card: LoraCard, change: Values) -> LoraCard:
    """Return a card with a change in the order of `vector` added to it.

    Raises
    ------
    DataError
        The change has another length, or makes numbers that are not finite.
    """
    if change.shape != (card.parameters,):
        raise DataError(f"a change of {change.shape} numbers is not of {card.parameters}")
    start = 0

    def added(array: Array) -> Array:
        nonlocal start
        part = change[start : start + array.size].reshape(array.shape)
        start += array.size
        return (array.astype(np.float32) + part).astype(array.dtype) if part.any() else array

    return _mapped(card, added)


def _exactly(base: LoraCard, body: bytes) -> LoraCard:
    if len(body) != base.nbytes:
        raise DataError(f"a difference of {len(body)} bytes is not of a card of {base.nbytes}")
    arrays, start = {}, 0
    for dtype, array in _by_type(base).items():
        arrays[dtype] = lossless.changed(array, body[start : start + array.nbytes])
        start += array.nbytes
    places = dict.fromkeys(arrays, 0)

    def taken(array: Array) -> Array:
        dtype, begin = str(array.dtype), places[str(array.dtype)]
        places[dtype] += array.size
        return arrays[dtype][begin : begin + array.size].reshape(array.shape)

    return _mapped(base, taken)


def _mapped(card: LoraCard, change: Callable[[Array], Array]) -> LoraCard:
    """Return a card of what ``change`` makes of each array, in the order of `vector`."""
    with np.errstate(over="ignore", invalid="ignore"):  # the card refuses what is not finite
        return card.with_arrays({name: change(array) for name, array in _a_first(card)})


def _a_first(card: LoraCard) -> list[tuple[str, Array]]:
    return sorted(card.arrays(), key=lambda named: (named[0].rpartition(".")[2], named[0]))


def _by_type(card: LoraCard) -> dict[str, Array]:
    """Return the numbers of each type in one array, in the order of `vector`."""
    arrays: dict[str, list[Array]] = {}
    for _, array in _a_first(card):
        arrays.setdefault(str(array.dtype), []).append(array.ravel())
    return {dtype: np.concatenate(each) for dtype, each in sorted(arrays.items())}


def _require_alike(base: LoraCard, card: LoraCard) -> None:
    if (reason := base.mismatch(card)) is not None:
        raise NotSupportedError(f"{base.version} and {card.version} are not versions of one card: {reason}")


def _compressed(body: bytes) -> bytes:
    """Return the body after a byte that says how: Zstandard's where that is smaller."""
    packed: bytes = pa.Codec("zstd", compression_level=_ZSTD_LEVEL).compress(body, asbytes=True)
    if len(packed) + 4 >= len(body):
        return _PLAIN + body
    return _ZSTD + len(body).to_bytes(4, "little") + packed


def _decompressed(content: bytes, most: int) -> bytes:
    if content[:1] == _PLAIN:
        body = content[1:]
        if len(body) > most:
            raise DataError(f"a difference of {len(body)} bytes, of a card where it has at most {most}")
        return body
    size = int.from_bytes(content[1:5], "little")
    if content[:1] != _ZSTD or size > most:
        raise DataError(f"a difference that is not compressed as ours, or has more than {most} bytes")
    try:
        body = pa.Codec("zstd").decompress(content[5:], decompressed_size=size, asbytes=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"a difference that cannot be decompressed: {error}") from error
    if len(body) != size:
        raise DataError(f"a difference of {len(body)} bytes, not {size}")
    return bytes(body)
