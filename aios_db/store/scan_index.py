"""Exact look-ups over all memories, kept in memory by reading the deltas of the tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lance
import numpy as np
from numpy.typing import NDArray

from aios_db.store.vectors import as_numpy


class ScanIndex:
    """The part of the search index that writing needs."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._version = 0
        self._by_hash: dict[str, int] = {}
        self._by_id: dict[str, int] = {}
        self._vectors: NDArray[np.float32] = np.empty((0, dimension), np.float32)
        self._vector_rows: NDArray[np.uint64] = np.empty(0, np.uint64)

    @classmethod
    def open(cls, directory: Path, dimension: int) -> ScanIndex:
        """Return an empty index."""
        return cls(dimension)

    def sync(self, memories: lance.LanceDataset, links: lance.LanceDataset) -> None:
        """Catch up with the tables."""
        if memories.version == self._version:
            return
        self._version = memories.version
        rows = memories.to_table(columns=["memory_id", "content_hash"], with_row_id=True)
        row_ids = rows["_rowid"].to_pylist()
        self._by_id = dict(zip(rows["memory_id"].to_pylist(), row_ids, strict=True))
        self._by_hash = dict(zip(rows["content_hash"].to_pylist(), row_ids, strict=True))
        found = memories.to_table(
            columns=["text_embedding"], with_row_id=True, filter="text_embedding is not null"
        )
        self._vectors = as_numpy(found["text_embedding"])
        self._vector_rows = found["_rowid"].to_numpy()

    def nearest(self, vectors: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return row ids and cosines ``(n, k)``; -1 where there are fewer."""
        scores = vectors @ self._vectors.T
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        row_ids = np.full((len(vectors), k), -1, np.int64)
        cosines = np.zeros((len(vectors), k), np.float32)
        row_ids[:, : order.shape[1]] = self._vector_rows[order]
        cosines[:, : order.shape[1]] = np.take_along_axis(scores, order, axis=1)
        return row_ids, cosines

    def find_content(self, hashes: Sequence[str]) -> NDArray[np.int64]:
        """Return row ids or -1."""
        return np.array([self._by_hash.get(each, -1) for each in hashes], np.int64)

    def find_ids(self, memory_ids: Sequence[str]) -> NDArray[np.int64]:
        """Return row ids or -1."""
        return np.array([self._by_id.get(each, -1) for each in memory_ids], np.int64)

    def save(self) -> None:
        """Do nothing: there is no segment."""
