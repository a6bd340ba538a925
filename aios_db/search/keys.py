"""From a unique string (a memory's id, a content hash) to a row id: sorted digests and a dictionary."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.retrieval import RowIds

Keys: TypeAlias = "Sequence[str] | pa.StringArray"
_BYTES = 16
_TYPE = f"S{_BYTES}"
_FEW = 256
_HEX = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64}")
_DASHES = [8, 13, 18, 23]  # in a UUID
_HEX_VALUES = np.full(256, 255, np.uint8)
_HEX_VALUES[list(b"0123456789abcdef")] = np.arange(16)


class KeyTable:
    """Look-up of row ids by string; later additions win over earlier ones.

    Parameters
    ----------
    digests
        Sorted 16-byte digests, dtype ``S16``, see `digests_of`; may be mapped from a file.
    rows
        int64 row ids beside them.
    """

    def __init__(self, digests: NDArray[np.bytes_] | None = None, rows: RowIds | None = None) -> None:
        self._digests = np.empty(0, _TYPE) if digests is None else digests
        self._rows = np.empty(0, np.int64) if rows is None else rows
        self._recent: dict[bytes, int] = {}

    def add(self, keys: Keys, rows: Iterable[int]) -> None:
        """Map each key to its row id."""
        self._recent.update(zip(digests_of(keys).tolist(), rows, strict=True))

    def find(self, keys: Keys) -> RowIds:
        """Return int64 ``(len(keys),)``: the row id last added for each key, or -1."""
        return self.find_digests(digests_of(keys))

    def find_digests(self, wanted: NDArray[np.bytes_]) -> RowIds:
        """Return what `find` returns for the keys of these digests."""
        found = np.full(len(wanted), -1, np.int64)
        if len(self._digests) and len(wanted):
            at = np.minimum(np.searchsorted(self._digests, wanted), len(self._digests) - 1)
            found = np.where(self._digests[at] == wanted, self._rows[at], -1)
        if self._recent:
            rows = np.fromiter(map(self._recent.get, wanted.tolist(), repeat(-1)), np.int64, len(wanted))
            found = np.where(rows >= 0, rows, found)
        return found

    def copy(self) -> KeyTable:
        """Return a table that later additions to this one do not change."""
        copied = KeyTable(self._digests, self._rows)
        copied._recent = dict(self._recent)
        return copied

    def packed(self) -> tuple[NDArray[np.bytes_], RowIds]:
        """Return all keys as the two arrays that `__init__` takes."""
        recent = np.array(list(self._recent), _TYPE)
        order = np.argsort(recent)
        recent, rows = recent[order], np.fromiter(self._recent.values(), np.int64, len(recent))[order]
        kept = np.ones(len(self._digests), np.bool_)
        if len(kept):
            at = np.minimum(np.searchsorted(self._digests, recent), len(kept) - 1)
            kept[at[self._digests[at] == recent]] = False
        digests = self._digests[kept]
        at = np.searchsorted(digests, recent)
        return np.insert(digests, at, recent), np.insert(self._rows[kept], at, rows)


def heads(digests: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    """Return the first eight bytes of each digest."""
    return np.ascontiguousarray(digests).view(np.uint64)[::2]


def digests_of(keys: Keys) -> NDArray[np.bytes_]:
    """Return 16 bytes for each key, as ``S16``.

    They are the bytes of a UUID, the first half of a SHA-256 in hex, and the BLAKE2b digest of anything else.
    """
    if len(keys) >= _FEW:
        column = keys if isinstance(keys, pa.Array) else _column(keys)
        if column is not None:
            decoded = _decoded(column)
            if decoded is not None:
                return decoded
    strings = keys.to_pylist() if isinstance(keys, pa.Array) else keys
    return np.array([_digest(each) for each in strings], _TYPE)


def _column(keys: Sequence[str]) -> pa.StringArray | None:
    try:
        return pa.array(keys, pa.string())
    except UnicodeEncodeError:  # a lone surrogate
        return None


def _decoded(column: pa.StringArray) -> NDArray[np.bytes_] | None:
    """Return the digests of a column of UUIDs or of SHA-256 digests in hex; None for any other."""
    _, offsets_, data = column.buffers()
    offsets = np.frombuffer(offsets_, np.int32)[column.offset : column.offset + len(column) + 1]
    width = int(offsets[1] - offsets[0])
    if width not in (36, 64) or column.null_count or (np.diff(offsets) != width).any():
        return None
    text = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]].reshape(-1, width)
    if width == 36:
        if (text[:, _DASHES] != ord("-")).any():
            return None
        text = np.delete(text, _DASHES, axis=1)
    values = _HEX_VALUES[text]
    if values.max() > 15:
        return None
    values = values[:, : 2 * _BYTES]
    digests = np.ascontiguousarray(values[:, ::2] << 4 | values[:, 1::2])
    return digests.view(_TYPE)[:, 0]


def _digest(key: str) -> bytes:
    if _HEX.fullmatch(key):
        return bytes.fromhex(key.replace("-", "")[: 2 * _BYTES])
    return hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=_BYTES).digest()
