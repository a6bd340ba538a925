from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from store_helpers import DIMENSION, HashEncoder, memory_rows, unit

from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config
from aios_db.schema.errors import DataError, OperationalError, ProgrammingError, ReadOnlyError
from aios_db.schema.vectors import as_numpy
from aios_db.search import source

Open = Callable[..., MemoryStore]


def stored(store: MemoryStore, *columns: str) -> list[dict[str, object]]:
    return store.memories.to_table(columns=list(columns)).to_pylist()


def test_ids_are_uuid7_one_a_row_in_order(store: MemoryStore) -> None:
    ids = store.remember(memory_rows([f"text {i}" for i in range(100)]))
    assert len(set(ids)) == 100
    assert ids == sorted(ids)
    assert {UUID(each).version for each in ids} == {7}
    assert [row["text"] for row in stored(store, "text")] == [f"text {i}" for i in range(100)]


def test_a_later_batch_has_later_ids(store: MemoryStore) -> None:
    assert store.remember(memory_rows(["one"])) < store.remember(memory_rows(["two"]))


def test_what_is_left_out_is_filled_in(store: MemoryStore) -> None:
    store.remember(memory_rows(["hello"]))
    (row,) = store.memories.to_table().to_pylist()
    assert row["kind"] == "message"
    assert row["tier"] == "short"
    assert row["modalities"] == ["text"]
    assert (row["importance"], row["trust"], row["access_count"]) == (0.5, 1.0, 0)
    assert row["created_at"] is not None
    assert row["last_access_at"] is None
    np.testing.assert_allclose(row["text_embedding"], unit("hello"), atol=1e-6)


def test_same_content_in_a_batch_is_one_memory(store: MemoryStore) -> None:
    ids = store.remember(memory_rows(["a", "b", "a", "a"]))
    assert ids[0] == ids[2] == ids[3] != ids[1]
    assert {row["text"]: row["access_count"] for row in stored(store, "text", "access_count")} == {
        "a": 2,
        "b": 0,
    }


def test_same_content_again_is_the_same_memory(store: MemoryStore) -> None:
    first = store.remember(memory_rows(["a", "b"]))
    again = store.remember(memory_rows(["c", "b", "b", "a"]))
    assert again[1:] == [first[1], first[1], first[0]]
    counts = {row["text"]: row["access_count"] for row in stored(store, "text", "access_count")}
    assert counts == {"a": 1, "b": 2, "c": 0}


@pytest.mark.parametrize("column", ["user_id", "agent_id", "session_id"])
def test_the_same_text_in_another_scope_is_another_memory(store: MemoryStore, column: str) -> None:
    ids = store.remember(memory_rows(["a", "a", "a"], **{column: ["x", "y", None]}))
    assert len(set(ids)) == 3


def test_scope_and_content_do_not_run_together(store: MemoryStore) -> None:
    ids = store.remember(
        memory_rows(["bc", "c", "c"], user_id=["a", "ab", None], agent_id=[None, None, "ab"])
    )
    assert len(set(ids)) == 3


def test_texts_without_a_vector_are_embedded_once_with_their_title(open_store: Open) -> None:
    encoder = HashEncoder()
    store = open_store(encoder=encoder)
    rows = pa.table({"text": ["alpha", "beta", "alpha"], "title": [None, "Greek", None]})
    store.remember(rows)
    assert encoder.texts == ["alpha", "Greek. beta"]
    store.remember(rows)
    assert encoder.texts == ["alpha", "Greek. beta"]
    found = store.memories.to_table(filter="title = 'Greek'")
    np.testing.assert_allclose(as_numpy(found["text_embedding"])[0], unit("Greek. beta"), atol=1e-6)
    assert found["text_weight_version"].to_pylist() == [encoder.version]


def test_given_vectors_are_kept_and_the_rest_embedded(open_store: Open) -> None:
    encoder = HashEncoder()
    store = open_store(encoder=encoder)
    vector = [3.0] + [0.0] * (DIMENSION - 1)
    store.remember(pa.table({"text": ["given", "made"], "text_embedding": [vector, None]}))
    found = store.memories.to_table(columns=["text_embedding", "text_weight_version"])
    np.testing.assert_allclose(
        as_numpy(found["text_embedding"]), [np.array(vector) / 3, unit("made")], atol=1e-6
    )
    assert found["text_weight_version"].to_pylist() == [None, encoder.version]


def test_without_a_model_a_text_needs_its_vector(store: MemoryStore) -> None:
    with pytest.raises(OperationalError, match="no text model"):
        store.remember(pa.table({"text": ["hello"]}))
    assert store.memories.count_rows() == 0


def test_forget_deletes_memories_and_their_links(store: MemoryStore) -> None:
    ids = store.remember(memory_rows(["a", "b", "c", "d"]))
    store.link(pa.table({"source_id": ids[:3], "target_id": ids[1:], "kind": ["user"] * 3}))
    assert store.forget([ids[1], ids[1], "no such memory"]) == 1
    assert [row["text"] for row in stored(store, "text")] == ["a", "c", "d"]
    left = store.links.to_table(filter="kind = 'user'").to_pylist()
    assert [(row["source_id"], row["target_id"]) for row in left] == [(ids[2], ids[3])]
    assert store.forget([ids[1]]) == 0
    assert store.forget([]) == 0


def test_what_was_forgotten_can_be_remembered_again(store: MemoryStore) -> None:
    (first,) = store.remember(memory_rows(["a"]))
    store.forget([first])
    (second,) = store.remember(memory_rows(["a"]))
    assert second != first
    assert store.memories.count_rows() == 1


def test_the_index_returns_rows_in_the_order_asked(store: MemoryStore) -> None:
    ids = store.remember(memory_rows(["a", "b", "c"]))
    asked = [ids[2], ids[0], ids[2]]
    assert store.index.memories(asked)[1]["text"].to_pylist() == ["c", "a", "c"]
    store.forget([ids[0]])
    known, rows = store.index.memories(asked)
    assert known.tolist() == [True, False, True]
    assert rows["text"].to_pylist() == ["c", "c"]
    assert store.index.memories([])[1].num_rows == 0


def test_a_snapshot_stays_until_refresh(open_store: Open) -> None:
    writer, reader = open_store(), open_store(read_only=True)
    writer.remember(memory_rows(["a"]))
    assert reader.memories.count_rows() == 0
    reader.refresh()
    assert reader.memories.count_rows() == 1


def test_no_rows_are_no_memories(store: MemoryStore) -> None:
    version = store.memories.version
    assert store.remember(memory_rows([]).slice(0, 0)) == []
    assert store.memories.version == version


def test_a_read_only_store_refuses_writes(open_store: Open) -> None:
    open_store().remember(memory_rows(["a"]))
    reader = open_store(read_only=True)
    for write in (
        lambda: reader.remember(memory_rows(["b"])),
        lambda: reader.forget(["x"]),
        lambda: reader.link(pa.table({"source_id": ["x"], "target_id": ["y"]})),
        reader.optimize,
    ):
        with pytest.raises(ReadOnlyError):
            write()


def test_bad_rows_leave_nothing_behind(store: MemoryStore) -> None:
    with pytest.raises(DataError, match="row 1"):
        store.remember(memory_rows(["a", "  "]))
    with pytest.raises(ProgrammingError, match="colour"):
        store.remember(memory_rows(["a"], colour="red"))
    assert store.memories.count_rows() == 0


def test_what_was_just_written_is_not_read_again(
    open_store: Open, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Maintenance writes, too, a moment later.
    store = open_store(config=replace(config, storage=replace(config.storage, maintenance_delay_s=600)))
    store.remember(memory_rows(["tea", "coffee"], session_id="s"))
    reads: list[tuple[str, ...]] = []
    changed = source.changed

    def counted(dataset: Any, since: int, columns: tuple[str, ...]) -> Any:
        reads.append(columns)
        return changed(dataset, since, columns)

    monkeypatch.setattr(source, "changed", counted)
    for number in range(5):
        store.remember(memory_rows([f"green tea {number}", f"milk {number}"], session_id="s"))
    assert reads == []
    store.remember(memory_rows(["tea", "water"], session_id="s"))  # one is known: its count changes
    assert reads == [source.MEMORY_COLUMNS]
    monkeypatch.undo()
    reader = open_store(read_only=True)
    ids = reader.index.memory_ids(np.sort(reader.index.keyword_search("tea milk water", 50).row_ids))
    assert len(ids) == 12
    rows = store.index.find_ids(ids)
    assert rows.tolist() == reader.index.find_ids(ids).tolist()
    assert store.index.memories(ids)[1].equals(reader.index.memories(ids)[1])
    for row in rows.tolist():
        for mine, theirs in zip(store.index.neighbors(row, 2), reader.index.neighbors(row, 2), strict=True):
            np.testing.assert_array_equal(mine, theirs)
            assert len(mine) > 1
