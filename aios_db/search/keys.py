"""From a unique string (a memory's id, a content hash) to a row id: sorted digests and a dictionary."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import Rows

_BYTES = 16


class KeyTable:
    """Look-up of row ids by string; later additions win over earlier ones.

    Parameters
    ----------
    digests
        Sorted 16-byte BLAKE2b digests, dtype ``S16``; may be mapped from a file.
    rows
        int64 row ids beside them.
    """

    def __init__(self, digests: NDArray[np.bytes_] | None = None, rows: Rows | None = None) -> None:
        self._digests = np.empty(0, f"S{_BYTES}") if digests is None else digests
        self._rows = np.empty(0, np.int64) if rows is None else rows
        self._recent: dict[bytes, int] = {}

    def add(self, keys: Sequence[str], rows: Sequence[int]) -> None:
        """Map each key to its row id."""
        self._recent.update(zip(map(_digest, keys), rows, strict=True))

    def find(self, keys: Sequence[str]) -> Rows:
        """Return int64 ``(len(keys),)``: the row id last added for each key, or -1."""
        digests = [_digest(key) for key in keys]
        found = np.full(len(keys), -1, np.int64)
        if len(self._digests) and len(keys):
            wanted = np.array(digests, f"S{_BYTES}")
            at = np.minimum(np.searchsorted(self._digests, wanted), len(self._digests) - 1)
            found = np.where(self._digests[at] == wanted, self._rows[at], -1)
        if self._recent:
            for i, digest in enumerate(digests):
                row = self._recent.get(digest)
                if row is not None:
                    found[i] = row
        return found

    def copy(self) -> KeyTable:
        """Return a table that later additions to this one do not change."""
        copied = KeyTable(self._digests, self._rows)
        copied._recent = dict(self._recent)
        return copied

    def packed(self) -> tuple[NDArray[np.bytes_], Rows]:
        """Return all keys as the two arrays that `__init__` takes."""
        digests = np.concatenate([np.array(list(self._recent), f"S{_BYTES}"), self._digests])
        rows = np.concatenate([np.fromiter(self._recent.values(), np.int64), self._rows])
        digests, first = np.unique(digests, return_index=True)  # recent ones come first, so they win
        return digests, rows[first]


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=_BYTES).digest()
