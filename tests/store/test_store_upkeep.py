from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_helpers import ids_in_table, memory_rows, values, wait_for

from aios_db.disk.lock import WriteLock
from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, StorageConfig
from aios_db.schema.errors import InterfaceError
from aios_db.search import source
from aios_db.search.keeping_up import KeepingUp
from aios_db.store import compaction, upkeep
from aios_db.store.commit import commit, delete, patch
from aios_db.store.compaction import clean_up, compact
from aios_db.store.repair import RepairReport
from aios_db.store.snapshot import newest

Open = Callable[..., MemoryStore]


def test_one_commit_inserts_and_changes_and_rows_keep_their_ids(table: lance.LanceDataset) -> None:
    new = pa.table({"id": ["e"], "n": [5]})
    written = commit(table, new, np.array([2, 0]), {"n": pa.array([30, 10])})
    assert written.version == table.version + 1
    assert values(written) == {"a": (10, 0), "b": (2, 1), "c": (30, 2), "d": (4, 3), "e": (5, 4)}
    assert values(table)["a"] == (1, 0), "a reader keeps the snapshot it has"
    delta = written.delta(compared_against=table.version)
    assert delta.get_inserted_rows().read_all()["id"].to_pylist() == ["e"]
    assert sorted(delta.get_updated_rows().read_all()["id"].to_pylist()) == ["a", "c"]
    written.validate()


def test_changing_every_row_of_a_fragment_removes_it(table: lance.LanceDataset) -> None:
    written = commit(table, None, np.arange(4), {"n": pa.array([9, 8, 7, 6])})
    assert values(written) == {"a": (9, 0), "b": (8, 1), "c": (7, 2), "d": (6, 3)}
    assert len(written.get_fragments()) == 1


def test_a_column_without_a_value_takes_no_bytes(table: lance.LanceDataset, lock: WriteLock) -> None:
    nothing = pa.array([None], pa.int64())
    written = commit(table, pa.table({"id": ["e"], "n": nothing}), np.array([0]), {"n": nothing})
    assert [len(each.metadata.files[0].fields) for each in written.get_fragments()] == [2, 1, 1]
    assert values(written) == {"a": (None, 0), "b": (2, 1), "c": (3, 2), "d": (4, 3), "e": (None, 4)}
    changed = commit(written, None, np.array([4]), {"n": pa.array([50])})
    patched = patch(changed, np.array([0]), "n", pa.array([10]))
    merged = compact(patched, lock, everything=True)
    assert len(merged.get_fragments()) == 1
    assert values(merged) == {"a": (10, 0), "b": (2, 1), "c": (3, 2), "d": (4, 3), "e": (50, 4)}


def test_nothing_to_do_is_no_commit(table: lance.LanceDataset) -> None:
    assert commit(table, pa.table({"id": pa.array([], pa.string()), "n": pa.array([], pa.int64())})) is table
    assert commit(table, None, np.empty(0, np.int64), {"n": pa.array([], pa.int64())}) is table
    assert delete(table, np.empty(0, np.int64)).version == table.version


def test_a_patched_column_moves_no_row(table: lance.LanceDataset) -> None:
    written = patch(table, np.array([3, 1]), "n", pa.array([40, 20]))
    assert values(written) == {"a": (1, 0), "b": (20, 1), "c": (3, 2), "d": (40, 3)}
    assert written.get_fragments()[0].fragment_id == table.get_fragments()[0].fragment_id


def test_the_newest_version_is_found(table: lance.LanceDataset) -> None:
    writer = lance.dataset(table.uri)
    assert newest(table) is table
    for _ in range(3):
        writer.insert(pa.table({"id": ["x"], "n": [0]}))
    assert newest(table).version == writer.version == table.version + 3


def test_the_newest_version_is_found_when_ones_own_was_cleaned_up(table: lance.LanceDataset) -> None:
    writer = lance.dataset(table.uri)
    for _ in range(3):
        writer.insert(pa.table({"id": ["x"], "n": [0]}))
    clean_up([writer], StorageConfig(keep_versions_s=0))
    assert not list(Path(table.uri, "_versions").glob(f"*{2**64 - 1 - table.version}.manifest"))
    assert newest(table).version == writer.version


def test_forgetting_alone_is_compacted_and_cleaned_up_too(
    open_store: Open, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "_LEAST_AGE_S", 0.0)
    monkeypatch.setattr(compaction, "_MANY_DELETED", 20)
    storage = replace(
        config.storage, compact_after_fragments=8, maintenance_delay_s=1000.0, keep_versions_bytes=100_000
    )
    store = open_store(config=replace(config, storage=storage))
    ids = store.remember(memory_rows([f"text {i}" for i in range(100)]))
    versions = []
    for memory_id in ids[:60]:
        store.forget([memory_id])
        store.maintain()
        versions.append(len(store.memories.versions()))
    assert max(versions) < 50
    assert sum(each.num_deletions for each in store.memories.get_fragments()) < 40
    assert len(store.index) == store.memories.count_rows() == 40


def test_closing_gives_back_what_the_store_held(store: MemoryStore) -> None:
    store.remember(memory_rows(["a", "b"]))
    store.close()
    assert len(store.index) == 0
    with pytest.raises(InterfaceError):
        store.refresh()


@settings(max_examples=40)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(1, 4)),
            st.tuples(st.just("change"), st.integers(0, 20)),
            st.tuples(st.just("delete"), st.integers(0, 20)),
            st.just(("compact", 0)),
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(0, 12),
)
def test_what_changed_since_a_version_is_found_across_compactions(
    steps: list[tuple[str, int]], reader: int
) -> None:
    with TemporaryDirectory() as directory:
        lock = WriteLock(Path(directory, "write.lock"), 5)
        rows = pa.table({"id": ["a", "b", "c"], "n": [0, 0, 0]})
        dataset = lance.write_dataset(rows, Path(directory, "t.lance"), enable_stable_row_ids=True)
        known, since = dict(values(dataset)), dataset.version
        for number, (step, value) in enumerate(steps):
            if number == reader:
                known, since = dict(values(dataset)), dataset.version
            count = dataset.count_rows()
            if step == "add":
                new = pa.table({"id": [f"{number}.{each}" for each in range(value)], "n": [number] * value})
                dataset = commit(dataset, new, np.empty(0, np.int64), {})
            elif step == "change" and count:
                row_id = sorted(row for _, row in values(dataset).values())[value % count]
                dataset = commit(dataset, None, np.array([row_id]), {"n": pa.array([100 + number])})
            elif step == "delete" and count:
                row_id = sorted(row for _, row in values(dataset).values())[value % count]
                dataset = delete(dataset, np.array([row_id]))
            elif step == "compact":
                dataset = compact(dataset, lock, everything=bool(number % 2))
        gone, batches = source.delta(dataset, since, ("id", "n"), lambda: np.array([], np.int64))
        found = {name: each for name, each in known.items() if each[1] not in set(gone.tolist())}
        for batch in batches:
            found |= {row["id"]: (row["n"], row["_rowid"]) for row in batch.to_pylist()}
        assert found == values(dataset)
        dataset.validate()


def test_a_store_compacts_itself_in_the_background(open_store: Open, config: Config) -> None:
    storage = replace(
        config.storage, compact_after_fragments=8, maintenance_delay_s=0.05, keep_versions_s=0.0
    )
    store = open_store(config=replace(config, storage=storage))
    ids = [store.remember(memory_rows([f"text {i}"], session_id="s"))[0] for i in range(40)]
    deadline = time.monotonic() + 20
    while store.stats().fragments > 16 and time.monotonic() < deadline:
        time.sleep(0.05)
        store.refresh()
    assert store.stats().fragments <= 16
    assert store.memories.to_table(columns=["memory_id"]).num_rows == 40
    assert ids_in_table(store, store.index.find_ids(ids)) == ids


@pytest.mark.parametrize("work", ["maintain", "optimize"])
def test_memory_is_given_back_while_tables_are_compacted(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    """And not only afterwards, when the C library keeps the ends of its heaps."""
    told: list[str] = []

    @contextmanager
    def cut_short() -> Iterator[None]:
        told.append("short")
        yield
        told.append("long")

    monkeypatch.setattr(upkeep, "cut_short", cut_short)
    monkeypatch.setattr(upkeep, "give_back_freed", lambda: told.append("given back"))
    monkeypatch.setattr(KeepingUp, "needs_save", True)
    store.remember(memory_rows(["a"]))
    getattr(store, work)()
    assert told == ["short", "given back", "long"]


def test_optimize_leaves_one_fragment_a_table_and_the_same_memories(store: MemoryStore) -> None:
    ids = [store.remember(memory_rows([f"text {i}"], session_id="s"))[0] for i in range(12)]
    links = store.links.count_rows()
    store.optimize()
    stats = store.stats()
    assert (stats.memories, stats.links, stats.fragments) == (12, links, 2)
    assert stats.bytes > 0
    assert ids_in_table(store, store.index.find_ids(ids)) == ids
    statistics = store.memories.stats.index_stats("memory_id_idx")
    assert statistics["num_unindexed_rows"] == 0


def bulk(first: int, count: int = 4_200) -> pa.Table:
    """Return so many rows that they are written in bulk, in sessions of ten."""
    vectors = np.random.default_rng(first).standard_normal((count, 16))
    numbers = range(first, first + count)
    return pa.table(
        {
            "text": [f"row {number}" for number in numbers],
            "session_id": [f"s{number // 10}" for number in numbers],
            "text_embedding": list(vectors),
        }
    )


def test_the_index_is_saved_after_a_bulk_load_and_not_during_it(open_store: Open, config: Config) -> None:
    patient = replace(config, storage=replace(config.storage, maintenance_delay_s=1000.0))
    store = open_store(config=patient)
    store.remember(bulk(0))
    assert store.index.needs_save
    store.maintain()
    assert store.index.growing_rows == 4_200
    store.close()
    assert open_store(config=patient).index.growing_rows == 0


def test_maintenance_saves_the_index_when_the_load_has_ended(open_store: Open, config: Config) -> None:
    store = open_store(config=replace(config, storage=replace(config.storage, maintenance_delay_s=0.1)))
    store.remember(bulk(0))
    wait_for(lambda: store.index.growing_rows == 0)
    assert len(store.index) == 4_200


def test_a_bulk_writer_saves_the_index_itself_before_the_tail_outgrows_it(
    open_store: Open, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aios_db.search.keeping_up._MANY_GROWING", 6_000)
    patient = replace(config, storage=replace(config.storage, maintenance_delay_s=1000.0))
    store = open_store(config=patient)
    tails = []
    for first in range(0, 6 * 4_200, 4_200):
        store.remember(bulk(first))
        tails.append(store.index.growing_rows)
    assert tails == [4_200, 0, 4_200, 0, 4_200, 8_400], "it may grow to half the segment"
    assert len(store.index) == 6 * 4_200


def test_the_link_column_of_a_bulk_write_says_what_the_table_says(store: MemoryStore) -> None:
    for first in (0, 4_200):
        store.remember(bulk(first))
    first, second = store.remember(memory_rows(["one more", "and another"], session_id="s0"))
    store.optimize()
    column = store.memories.to_table(columns=["memory_id", "association_links"])
    links = store.links.to_table(columns=["source_id"])["source_id"].value_counts()
    outgoing = {each["values"]: each["counts"] for each in links.to_pylist()}
    stored = dict(zip(*(each.to_pylist() for each in column.columns), strict=True))
    assert len(stored) == 2 * 4_200 + 2
    assert {each: len(found or []) for each, found in stored.items()} == {
        each: min(outgoing.get(each, 0), 8) for each in stored
    }
    assert second in {link["target_id"] for link in stored[first]}
    assert store.repair() == RepairReport(0, 0, 0)


def test_a_reader_beside_a_repair_finds_everything(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.remember(memory_rows(["a cat", "a dog"]))
    found: list[int] = []
    sync = KeepingUp.sync

    def watched(keeping_up: KeepingUp, *tables: lance.LanceDataset) -> None:
        found.append(len(store.index.keyword_search("cat", 5).row_ids))
        sync(keeping_up, *tables)
        found.append(len(store.index.keyword_search("cat", 5).row_ids))

    monkeypatch.setattr(KeepingUp, "sync", watched)
    store.repair()
    assert set(found) == {1}
