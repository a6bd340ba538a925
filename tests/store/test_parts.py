"""A store is made of parts: each stands on what it is handed, and none knows the store."""

from __future__ import annotations

import ast
import inspect
import sys
from typing import Any

from store_helpers import memory_rows

from aios_db.memory_store import MemoryStore


def parts_of(store: MemoryStore) -> dict[str, Any]:
    return {**vars(store.parts), "parts": store.parts, "database": store.database}


def test_no_part_is_built_on_another_by_inheritance(store: MemoryStore) -> None:
    assert len(vars(store.parts)) > 15
    for name, part in {**parts_of(store), "store": store}.items():
        assert type(part).__bases__ == (object,), name


def test_no_part_knows_the_store(store: MemoryStore) -> None:
    for name, part in parts_of(store).items():
        source = inspect.getsource(sys.modules[type(part).__module__])
        named = {each.id for each in ast.walk(ast.parse(source)) if isinstance(each, ast.Name)}
        imported = {
            alias.name
            for each in ast.walk(ast.parse(source))
            if isinstance(each, ast.ImportFrom)
            for alias in each.names
        }
        assert "MemoryStore" not in named | imported, name


def test_a_snapshot_stays_what_it_is_while_others_write(store: MemoryStore) -> None:
    store.remember(memory_rows(["The kettle is in the blue crate."]))
    before = store.database.snapshot
    versions = before.versions
    store.remember(memory_rows(["The lamp is in the red crate."]))
    assert before.versions == versions and before.memories.count_rows() == 1
    assert store.database.snapshot is not before and store.memories.count_rows() == 2


def test_a_snapshot_that_moves_nowhere_is_itself(store: MemoryStore) -> None:
    now = store.refresh()
    assert store.refresh() is now and now.moved(*now.tables) is now
