from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import lance
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.memory_store import MemoryStore
from aios_db.schema.retrieval import RowIds

DIMENSION = 16


class HashEncoder:
    """A deterministic stand-in where speed demands it: words hashed to directions, summed."""

    dimension = DIMENSION
    version = "hash@000000000000"

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts.extend(texts)
        return np.stack([unit(text) for text in texts])


def unit(text: str) -> NDArray[np.float32]:
    total = np.zeros(DIMENSION)
    for word in text.split() or [text]:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little")
        total += np.random.default_rng(seed).normal(size=DIMENSION)
    return (total / np.linalg.norm(total)).astype(np.float32)


def memory_rows(texts: Sequence[str], **columns: Any) -> pa.Table:
    """RowIds with vectors; a scalar column value holds for every row."""
    given = {
        name: value if isinstance(value, list) else [value] * len(texts) for name, value in columns.items()
    }
    return pa.table({"text": list(texts), "text_embedding": [unit(text) for text in texts], **given})


def ids_in_table(store: MemoryStore, row_ids: RowIds) -> list[str]:
    """Return the memory_ids that the table holds under these row ids."""
    rows = store.memories._take_rows(row_ids.tolist(), columns=["memory_id"])
    ids: list[str] = rows["memory_id"].to_pylist()
    return ids


def counts(store: MemoryStore) -> dict[str, int]:
    """Return how often each memory was accessed, as SQL shows it."""
    table = store.memories.to_table(columns=["memory_id", "access_count"]).combine_chunks()
    rows = [row for batch in table.to_batches() for row in store.recalls.with_counts(batch).to_pylist()]
    return {row["memory_id"]: row["access_count"] for row in rows}


def values(dataset: lance.LanceDataset) -> dict[str, tuple[int | None, int]]:
    rows = dataset.to_table(with_row_id=True).to_pylist()
    return {row["id"]: (row["n"], row["_rowid"]) for row in rows}


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
