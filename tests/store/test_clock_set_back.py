"""The clock went back between two changes: versions go by their order, what came twice is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import lance
import pyarrow as pa
import pytest
from store_helpers import memory_rows

from aios_db.memory_store import MemoryStore
from aios_db.schema.errors import OperationalError
from aios_db.store.history import History

Open = Callable[..., MemoryStore]


@dataclass
class Made:
    store: MemoryStore
    first: int
    """Version of the memories with which the one link was made."""
    second: int
    """The first version after the clock went back; a second link was made then."""
    back: timedelta


@pytest.fixture
def made(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Write, set the clock back to a moment when the database was there, and write on."""
    store = open_store()
    ids = store.remember(memory_rows(["alpha", "bravo", "charlie"]))
    begun, first = datetime.now(timezone.utc), store.memories.version
    _link(store, ids[0], ids[1])
    time.sleep(0.3)
    store.update(pa.table({"memory_id": ids[:1], "importance": [0.7]}))
    set_back = datetime.now(timezone.utc)
    store.forget([ids[2]])
    second = store.memories.version
    _link(store, ids[1], ids[0])
    store.remember(memory_rows(["delta"]))
    back = set_back - begun
    real = lance.LanceDataset.versions

    def versions(self: lance.LanceDataset) -> list[dict[str, Any]]:
        found = real(self)
        for each in found:
            each["timestamp"] -= back if each["timestamp"].astimezone() >= set_back else timedelta(0)
        return found

    monkeypatch.setattr(lance.LanceDataset, "versions", versions)
    return Made(store, first, second, back)


def _link(store: MemoryStore, one: str, other: str) -> None:
    store.link(pa.table({"source_id": [one], "target_id": [other]}))


def _texts(store: MemoryStore) -> list[str]:
    return sorted(store.memories.to_table(columns=["text"])["text"].to_pylist())


def _linked(store: MemoryStore) -> int:
    return int(store.links.count_rows("kind = 'user'"))


def _written_at(made: Made, version: int) -> int:
    times = {each["version"]: each["timestamp"] for each in made.store.memories.versions()}
    return round(times[version].timestamp() * 1e6)


def test_a_version_comes_back_with_the_links_that_it_had(made: Made) -> None:
    store = made.store
    store.restore(made.second, None)
    assert (_texts(store), _linked(store)) == (["alpha", "bravo"], 2)
    store.restore(made.first, None)
    assert (_texts(store), _linked(store)) == (["alpha", "bravo", "charlie"], 1)


def test_a_moment_that_came_twice_is_refused_with_the_versions(made: Made) -> None:
    before = _texts(made.store)
    for look in (made.store.restore, made.store.history.memories):
        with pytest.raises(
            OperationalError, match=rf"version \d as well as version {made.second} .*FROM chan"
        ):
            look(None, _written_at(made, made.second))
    with pytest.raises(OperationalError, match="the clock went back"):
        made.store.history.index(_written_at(made, made.second))
    assert _texts(made.store) == before


def test_a_moment_that_came_once_is_found(made: Made) -> None:
    history: History = made.store.history
    assert len(history.memories(None, _written_at(made, 1) - 1)) == 0
    assert len(history.memories(None, None)) == 3
    end = round(datetime.now(timezone.utc).timestamp() * 1e6)
    assert len(history.memories(None, end)) == 3
