from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from store_helpers import DIMENSION

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
