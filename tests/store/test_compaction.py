"""Fragments are merged and old versions go, and nothing else does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from store_helpers import values

from aios_db.disk.durable import data_files, manifest
from aios_db.disk.lock import WriteLock
from aios_db.memory_store import MemoryStore
from aios_db.schema.config import StorageConfig
from aios_db.schema.errors import OperationalError
from aios_db.store import compaction
from aios_db.store.commit import commit, delete
from aios_db.store.compaction import clean_up, compact, is_due, mergeable
from aios_db.store.row_versions import with_one_version
from aios_db.store.snapshot import newest

Open = Callable[..., MemoryStore]


def test_versions_are_kept_until_they_are_old(table: lance.LanceDataset) -> None:
    writer = lance.dataset(table.uri)
    writer.insert(pa.table({"id": ["x"], "n": [0]}))
    clean_up([writer], StorageConfig(keep_versions_s=3600))
    assert [each["version"] for each in writer.versions()] == [1, 2]


def test_versions_are_kept_so_long_from_when_they_were_replaced(table: lance.LanceDataset) -> None:
    """However long ago they were written: what was changed a moment ago can be undone."""
    writer = lance.dataset(table.uri)
    for _ in range(3):
        writer.insert(pa.table({"id": ["x"], "n": [0]}))
    for version, hours in ((1, 3.0), (2, 2.5)):
        written = time.time() - 3600 * hours
        os.utime(Path(table.uri, manifest(version)), (written, written))
    clean_up([writer], StorageConfig(keep_versions_s=3600))
    assert [each["version"] for each in writer.versions()] == [2, 3, 4]
    assert values(writer.checkout_version(2)).keys() >= {"a", "x"}


@pytest.mark.parametrize("least_age_s", [0.0, 3600.0])
def test_versions_go_sooner_when_they_take_too_much_space(
    table: lance.LanceDataset, monkeypatch: pytest.MonkeyPatch, least_age_s: float
) -> None:
    monkeypatch.setattr(compaction, "_LEAST_AGE_S", least_age_s)
    writer = lance.dataset(table.uri)
    for _ in range(60):
        writer.insert(pa.table({"id": ["x"], "n": [0]}))
    clean_up([writer], StorageConfig(keep_versions_s=3600, keep_versions_bytes=60_000))
    left = [each["version"] for each in writer.versions()]
    assert left[-1] == writer.version
    assert (len(left) < 40) == (least_age_s == 0.0)
    assert values(writer).keys() >= {"a", "x"}


@pytest.mark.parametrize(("versions", "old", "left"), [(90, 20, 90), (90, 40, 50), (30, 5, 25)])
def test_of_many_versions_a_third_goes_at_once(
    table: lance.LanceDataset, versions: int, old: int, left: int
) -> None:
    """Lance reads all manifests each time: the cost of a write would grow with what is kept."""
    writer = lance.dataset(table.uri)
    while writer.version < versions:
        writer.insert(pa.table({"id": ["x"], "n": [0]}))
    long_ago = time.time() - 60
    for version in range(1, old + 2):  # a version was replaced when the next one was written
        os.utime(Path(table.uri, manifest(version)), (long_ago, long_ago))
    clean_up([writer], StorageConfig(keep_versions_s=3600, keep_versions_bytes=1))
    assert [each["version"] for each in writer.versions()] == [*range(versions - left + 1, versions + 1)]


@pytest.mark.parametrize(
    ("rows", "first"),
    [
        ([], 0),
        ([5], 0),
        ([1, 1, 1], 0),
        ([1000, 1, 1], 1),
        ([1000, 300, 100, 1], 3),
        ([500, 150, 50, 30], 2),
        ([60, 30, 20, 10], 0),
        ([4000, 4000, 1000, 400, 200], 2),
        ([4000] * 40, 30),
        ([4000] * 49, 37),
        ([4000] * 65, 0),
    ],
)
def test_only_a_tail_is_merged(rows: list[int], first: int) -> None:
    assert mergeable(rows) == first


@given(st.integers(1, 400), st.integers(2, 32), st.sampled_from([1, 50, 5000]))
def test_merging_tails_rewrites_a_row_a_logarithmic_number_of_times(
    writes: int, due: int, written: int
) -> None:
    rows: list[int] = []
    rewritten = 0
    for _ in range(writes):
        rows.append(written)
        start = mergeable(rows)
        if len(rows) - start >= due:
            merged = sum(rows[start:])
            assert merged <= max(sum(rows) // 4, 128) or len(rows) > 48
            rewritten += merged
            rows[start:] = [merged]
    assert sum(rows) == writes * written
    assert len(rows) <= (due + np.log2(writes + 1) if written == 1 else 48 + due)
    assert rewritten <= sum(rows) * (4 + 2 * np.log2(writes + 1))


def test_compaction_merges_small_fragments_and_leaves_large_ones(
    table: lance.LanceDataset, lock: WriteLock
) -> None:
    big = pa.table({"id": [f"r{i}" for i in range(100)], "n": range(100)})
    table.insert(big)
    for _ in range(4):
        table.insert(pa.table({"id": ["x"], "n": [0]}))
    kept = table.get_fragments()[1].fragment_id
    before = values(table)
    assert is_due(table, 4)
    assert not is_due(table, 5)
    written = compact(table, lock)
    assert len(written.get_fragments()) == 3
    assert kept in {each.fragment_id for each in written.get_fragments()}
    assert values(written) == before
    assert len(compact(written, lock, everything=True).get_fragments()) == 1


def test_a_compaction_that_was_overtaken_leaves_no_file(
    table: lance.LanceDataset, lock: WriteLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would find it: a clean-up removes what old versions name, and no version names these."""
    for _ in range(4):
        table.insert(pa.table({"id": ["x"], "n": [0]}))
    reader = lance.dataset(table.uri)
    execute = with_one_version

    def overtaken(result: object) -> object:
        monkeypatch.undo()
        delete(lance.dataset(table.uri), np.array([1]))
        return execute(result)

    monkeypatch.setattr(compaction, "with_one_version", overtaken)
    written = compact(reader, lock, everything=True)
    assert values(written).keys() == {"a", "c", "d", "x"}
    assert _unnamed(written) == set()


def test_a_compaction_that_gets_no_lock_leaves_no_file(table: lance.LanceDataset, tmp_path: Path) -> None:
    for _ in range(4):
        table.insert(pa.table({"id": ["x"], "n": [0]}))
    with FileLock(tmp_path / "write.lock", thread_local=False), pytest.raises(OperationalError):
        compact(table, WriteLock(tmp_path / "write.lock", 0.1), everything=True)
    assert _unnamed(table) == set()
    assert len(compact(table, WriteLock(tmp_path / "write.lock", 5), everything=True).get_fragments()) == 1


def test_a_compaction_that_fails_on_the_way_leaves_no_file(
    table: lance.LanceDataset, lock: WriteLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        table.insert(pa.table({"id": ["x"], "n": [0]}))

    def full(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(compaction, "_changed", full)
    with pytest.raises(OSError, match="full"):
        compact(table, lock, everything=True)
    assert _unnamed(table) == set()


def _unnamed(table: lance.LanceDataset) -> set[str]:
    """Return the data files that no version names."""
    versions = (lance.dataset(table.uri, version=each["version"]) for each in table.versions())
    named = {path for version in versions for path, _ in data_files(version)}
    return {f"data/{each}" for each in os.listdir(Path(table.uri, "data"))} - named


def test_compaction_leaves_nothing_of_each_row_in_the_manifest(
    table: lance.LanceDataset, lock: WriteLock
) -> None:
    def size(dataset: lance.LanceDataset) -> int:
        manifest = min(Path(dataset.uri, "_versions").glob("*.manifest"))  # names count down
        return manifest.stat().st_size

    before = size(table)
    for number in range(100):
        table = commit(table, pa.table({"id": [f"row {number}"], "n": [number]}), np.empty(0, np.int64), {})
    table = compact(table, lock)
    assert table.count_rows() == 104
    table = commit(table, pa.table({"id": ["the last"], "n": [0]}), np.empty(0, np.int64), {})
    assert size(table) < before + 500


@pytest.mark.parametrize("seen", [True, False], ids=["seen by us", "seen by Lance alone"])
def test_compaction_gives_way_to_a_write_and_is_done_again(
    table: lance.LanceDataset, lock: WriteLock, monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    if not seen:
        monkeypatch.setattr(compaction, "_changed", lambda *_: False)
    for _ in range(4):
        table.insert(pa.table({"id": ["x"], "n": [0]}))
    real = lock.hold

    def hold_after_a_write():  # type: ignore[no-untyped-def]
        writer = newest(table)
        delete(writer, np.array([1]))
        return real()

    monkeypatch.setattr(lock, "hold", hold_after_a_write)
    written = compact(table, lock)
    assert "b" not in values(written)
    assert len(values(written)) == 4
    assert len(written.get_fragments()) == 1


def test_a_fragment_with_many_deleted_rows_is_rewritten(table: lance.LanceDataset, lock: WriteLock) -> None:
    written = compact(delete(table, np.array([0])), lock)
    assert sum(each.num_deletions for each in written.get_fragments()) == 0
    assert values(written) == {"b": (2, 1), "c": (3, 2), "d": (4, 3)}
