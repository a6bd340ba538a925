"""What a directory takes while memories are written one by one: no more than three times their content."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, StorageConfig
from aios_db.store import compaction
from aios_db.store.maintenance import Maintenance

DIMENSION = 384
WORDS = [f"word{number}" for number in range(2000)]


def rows(chance: np.random.Generator, count: int) -> pa.Table:
    vectors = chance.normal(size=(count, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [" ".join(chance.choice(WORDS, 24)) for _ in range(count)]
    return pa.table({"text": texts, "text_embedding": vectors.tolist()})


def content(table: pa.Table) -> int:
    return sum(len(text) + 4 * DIMENSION for text in table["text"].to_pylist())


def bytes_of(directory: Path) -> int:
    found = 0
    for root, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):  # maintenance has deleted it meanwhile
                found += os.stat(os.path.join(root, name)).st_size
    return found


def test_single_writes_never_take_three_times_their_content(
    open_store: Callable[..., MemoryStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "_least_age_s", lambda in_use: 0.0)  # a test is over in seconds
    storage = StorageConfig(dimension=DIMENSION, maintenance_delay_s=3600, durability="normal")
    store = open_store(config=Config(storage=storage))
    chance = np.random.default_rng(0)
    written, times = content(first := rows(chance, 400)), []
    store.remember(first)
    for _ in range(12):
        for _ in range(storage.compact_after_fragments):
            written += content(one := rows(chance, 1))
            store.remember(one)
            times.append(bytes_of(store.path) / written)
        store.maintain()
    store.optimize()  # saves the index
    times.append(bytes_of(store.path) / written)
    assert max(times) < 3


class Counting:
    def __init__(self) -> None:
        self.called = threading.Event()

    def hurry(self) -> None:
        pass

    def maintain(self) -> None:
        self.called.set()


def test_many_writes_are_not_left_waiting() -> None:
    subject = Counting()
    maintenance = Maintenance(subject, 3600, 3)
    for _ in range(2):
        maintenance.count_write()
        maintenance.notify()
    time.sleep(0.05)
    assert not subject.called.is_set()
    maintenance.count_write()
    maintenance.notify()
    assert subject.called.wait(100)
    maintenance.stop()
