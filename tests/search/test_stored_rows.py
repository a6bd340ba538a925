"""The rows that a search returns: as in the table, whatever was written since the index was saved."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_db.schema.memories import returned_schema
from aios_db.search import stored_rows
from aios_db.search.index import SearchIndex
from aios_db.search.stored_rows import StoredRows

SCHEMA = returned_schema()
NOW = dt.datetime(2024, 5, 1, tzinfo=dt.timezone.utc)


def batch(rows: dict[int, str]) -> pa.RecordBatch:
    """Return rows as the index reads them from the table; only the text tells them apart."""
    values = {
        "memory_id": [f"m{row}" for row in rows], "text": [*rows.values()], "kind": ["message"] * len(rows),
        "modalities": [["text"]] * len(rows), "created_at": [NOW] * len(rows), "tier": ["short"] * len(rows),
        "access_count": [0] * len(rows), "importance": [0.5] * len(rows), "trust": [1.0] * len(rows),
    }  # fmt: skip
    nothing = [None] * len(rows)
    columns = [pa.array(values.get(each.name, nothing), each.type) for each in SCHEMA]
    names = [*SCHEMA.names, "_rowid"]
    return pa.RecordBatch.from_arrays([*columns, pa.array(list(rows), pa.uint64())], names=names)


def in_segment(rows: dict[int, str]) -> StoredRows:
    """Return stored rows whose segment holds ``rows``, in two batches, the highest row id first."""
    order = sorted(rows, reverse=True)
    whole = batch({row: rows[row] for row in order}).select(SCHEMA.names)
    middle = len(order) // 2
    documents = {row: document for document, row in enumerate(order)}
    return StoredRows(
        [whole.slice(0, middle), whole.slice(middle)],
        lambda wanted: np.array([documents.get(row, -1) for row in wanted.tolist()], np.int64),
    )


TEXTS = st.dictionaries(st.integers(0, 40), st.text(max_size=5), max_size=8)


@given(TEXTS, st.lists(TEXTS, max_size=6), st.integers(1, 3), st.randoms(use_true_random=False))
def test_rows_are_a_dictionary(first, changes, most, random):
    rows, expected = in_segment(first), dict(first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_rows, "_MOST_RECENT", most)
        for change in changes:
            rows.put(batch(change))
            expected |= change
    wanted = random.sample(sorted(expected), len(expected))
    found = rows.take(np.array(wanted, np.int64))
    assert found.schema == SCHEMA
    assert found["text"].to_pylist() == [expected[row] for row in wanted]
    assert found["memory_id"].to_pylist() == [f"m{row}" for row in wanted]


def test_a_copy_stays_what_it_was():
    rows = in_segment({0: "a", 1: "b"})
    rows.put(batch({1: "c"}))
    copy = rows.copy()
    rows.put(batch({0: "d", 1: "e"}))
    assert copy.take(np.array([0, 1]))["text"].to_pylist() == ["a", "c"]
    assert rows.take(np.array([0, 1]))["text"].to_pylist() == ["d", "e"]
    assert (copy.recent, rows.recent) == (1, 3)


def test_blocks_are_cut_where_an_array_of_strings_would_end(monkeypatch):
    rows = in_segment(dict.fromkeys(range(64), "x" * 100))
    monkeypatch.setattr(stored_rows, "_BLOCK_ROWS", 16)
    monkeypatch.setattr(stored_rows, "_BATCH_BYTES", 5000)
    blocks = rows.blocks(np.arange(64))
    assert [len(each) for each in blocks] == [16] * 4
    monkeypatch.setattr(stored_rows, "_BATCH_BYTES", 1 << 30)
    assert [len(each) for each in rows.blocks(np.arange(64))] == [64]
    take = rows.take

    def overflowing(row_ids):
        if len(row_ids) > 5:
            raise pa.ArrowInvalid("offset overflow while concatenating arrays")
        return take(row_ids)

    monkeypatch.setattr(rows, "take", overflowing)
    (whole,) = rows.blocks(np.arange(64))
    assert whole["memory_id"].to_pylist() == [f"m{row}" for row in range(64)]


@pytest.mark.parametrize("state", ["tail", "saved", "reopened", "changed"])
def test_the_index_returns_what_the_table_holds(tables, unit, state):
    texts = {f"m{i}": f"text {i}" for i in range(30)}
    tables.remember(
        *({"memory_id": name, "text": text, "text_embedding": unit(1)} for name, text in texts.items())
    )
    if state != "tail":
        tables.index.save()
        assert tables.index.needs_save is False
    if state == "reopened":
        tables.index = SearchIndex.open(tables.path / "index", 8)
        tables.sync()
    if state == "changed":
        tables.replace({"memory_id": "m3", "text": "text 3", "text_embedding": unit(1), "access_count": 7,
                        "metadata": json.dumps({"seen": True})})  # fmt: skip
        tables.replace({"memory_id": "m4", "text": "another", "text_embedding": unit(1)})
    tables.forget("m5")
    known, found = tables.index.memories(["m4", "nobody", "m3", "m5", "m29"])
    assert known.tolist() == [True, False, True, False, True]
    stored = {row["memory_id"]: row for row in tables.memories.to_table(columns=SCHEMA.names).to_pylist()}
    assert found.to_pylist() == [stored[name] for name in ("m4", "m3", "m29")]


def test_a_segment_whose_rows_are_cut_off_is_not_used(tables, unit, caplog):
    tables.remember({"memory_id": "m0", "text": "x", "text_embedding": unit(1)})
    tables.index.save()
    (path,) = Path(tables.path / "index").glob("segment-*/rows.arrow")
    path.write_bytes(path.read_bytes()[:-20])
    tables.index = SearchIndex.open(tables.path / "index", 8)
    assert len(tables.index) == 0
    assert "search index unusable" in caplog.text
    tables.sync()
    assert tables.index.memories(["m0"])[1]["text"].to_pylist() == ["x"]
