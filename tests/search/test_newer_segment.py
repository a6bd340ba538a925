"""A segment that another process has saved is used where it is not newer than the tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lance
import numpy as np
import pytest

from aios_db.search.index import SearchIndex


def names(index: SearchIndex) -> list[str]:
    found: list[str] = index.memory_ids(np.sort(index.rows())).to_pylist()
    return sorted(found)


def test_tables_older_than_a_saved_segment_are_shown_as_they_are(
    tables: Any, unit: Callable[[int], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(name: str, text: str) -> None:
        row = {"memory_id": name, "text": text, "text_embedding": unit(2)}
        lance.write_dataset(tables.rows([row]), tables.memories, mode="append")

    tables.remember(*({"memory_id": name, "text": "tea", "text_embedding": unit(1)} for name in "abc"))
    mine = tables.index
    add("d", "rain")
    behind, links = tables.memories, tables.links
    add("e", "chess")
    tables.memories.delete("memory_id = 'a'")
    other = SearchIndex.open(mine.directory, 8)
    other.sync(tables.memories, tables.links)
    other.save()
    monkeypatch.setattr("aios_db.search.keeping_up._FEW_GROWING", 0)
    assert mine.needs_save
    mine.sync(behind, links)
    assert names(mine) == ["a", "b", "c", "d"] and mine.version.memories == behind.version
    tables.sync()
    assert names(mine) == ["b", "c", "d", "e"]
