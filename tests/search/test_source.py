"""What the index takes for changed: read from the tables, or handed over by whoever has just written it."""

from __future__ import annotations

import datetime as dt

import lance
import pyarrow as pa
import pytest

from aios_db.search import source

NOW = dt.datetime(2024, 5, 1, tzinfo=dt.timezone.utc)


def read(dataset, since, columns, appended=None):
    deleted, changed = source.delta(dataset, since, columns, lambda: None, appended)
    return deleted.tolist(), pa.Table.from_batches(changed)


@pytest.fixture
def rows(tables, unit):
    tables.remember({"memory_id": "before", "text": "one", "text_embedding": unit(0)})
    return tables.rows(
        [
            {"memory_id": f"m{i}", "text": f"text {i}", **({"text_embedding": unit(i)} if i % 3 else {}),
             "title": None if i % 2 else f"title {i}", "occurred_at": None if i % 4 else NOW}
            for i in range(7)
        ]
    )  # fmt: skip


def test_appended_rows_equal_what_the_table_says_of_them(tables, rows):
    since = tables.memories.version
    lance.write_dataset(rows, tables.memories, mode="append", max_rows_per_file=3)  # three fragments
    dataset = tables.memories
    handed = read(dataset, since, source.MEMORY_COLUMNS, rows)
    from_table = read(dataset, since, source.MEMORY_COLUMNS)
    assert handed[0] == from_table[0] == []
    assert handed[1].sort_by("_rowid").equals(from_table[1].sort_by("_rowid"))
    assert handed[1]["memory_id"].to_pylist() == [f"m{i}" for i in range(7)]


def test_another_commit_since_is_read(tables, rows):
    since = tables.memories.version
    lance.write_dataset(rows, tables.memories, mode="append")
    tables.memories.delete("memory_id = 'before'")
    deleted, changed = read(tables.memories, since, source.MEMORY_COLUMNS, rows)
    assert len(deleted) == 1
    assert len(changed) == 7
    lance.write_dataset(tables.rows([{"memory_id": "other", "text": "x"}]), tables.memories, mode="append")
    _, changed = read(tables.memories, since, source.MEMORY_COLUMNS, rows)
    assert sorted(changed["memory_id"].to_pylist()) == [*(f"m{i}" for i in range(7)), "other"]


def test_rows_appended_after_a_compaction_have_their_own_ids(tables, rows):
    for i in range(5):
        tables.remember({"memory_id": f"small {i}", "text": "small"})
    tables.memories.optimize.compact_files(num_threads=1)
    since = tables.memories.version
    lance.write_dataset(rows, tables.memories, mode="append")
    handed = read(tables.memories, since, source.MEMORY_COLUMNS, rows)[1]
    stored = tables.memories.to_table(columns=["memory_id"], with_row_id=True)
    row_of = dict(zip(stored["memory_id"].to_pylist(), stored["_rowid"].to_pylist(), strict=True))
    assert handed["_rowid"].to_pylist() == [row_of[f"m{i}"] for i in range(7)]
