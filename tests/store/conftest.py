from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from aios_db.schema.config import Config, StorageConfig
from aios_db.store import MemoryStore

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
    """Rows with vectors; a scalar column value holds for every row."""
    given = {
        name: value if isinstance(value, list) else [value] * len(texts) for name, value in columns.items()
    }
    return pa.table({"text": list(texts), "text_embedding": [unit(text) for text in texts], **given})


@pytest.fixture
def config() -> Config:
    return Config(storage=StorageConfig(dimension=DIMENSION))


@pytest.fixture
def open_store(tmp_path: Path, config: Config) -> Iterator[Callable[..., MemoryStore]]:
    opened: list[MemoryStore] = []

    def open_(name: str = "agent.aios", **options: Any) -> MemoryStore:
        opened.append(MemoryStore.open(tmp_path / name, **{"config": config, **options}))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., MemoryStore]) -> MemoryStore:
    return open_store()
