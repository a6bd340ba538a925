from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest
from store_helpers import DIMENSION

from aios_db.disk.lock import WriteLock
from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, StorageConfig


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


@pytest.fixture
def table(tmp_path: Path) -> lance.LanceDataset:
    rows = pa.table({"id": ["a", "b", "c", "d"], "n": [1, 2, 3, 4]})
    return lance.write_dataset(rows, tmp_path / "t.lance", enable_stable_row_ids=True)


@pytest.fixture
def lock(tmp_path: Path) -> WriteLock:
    return WriteLock(tmp_path / "write.lock", 5)
