"""Recall counts after rows have moved between fragments in an order of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import aios_db

pytestmark = pytest.mark.sql


def test_counts_are_written_after_rows_have_moved_out_of_order(tmp_path: Path) -> None:
    vectors = np.eye(384, dtype=np.float32)[:12]
    rows = pa.table(
        {
            "text": [f"memory {number}" for number in range(12)],
            "text_embedding": pa.FixedSizeListArray.from_arrays(vectors.ravel(), 384),
        }
    )
    with aios_db.connect(tmp_path / "a.aios") as con, aios_db.connect(tmp_path / "a.aios") as other:
        ids = con.remember(rows)
        for order in ([7, 2, 9], [9, 7, 0], [2, 11, 9, 0]):
            con.store.touch([ids[number] for number in order])
            con.store.maintain()
        con.store.optimize()
        other.store.refresh()  # catches up with several new fragments at once
        counts = other.execute("SELECT access_count FROM memories ORDER BY memory_id").fetchall()
        expected = [2, 0, 2, 0, 0, 0, 0, 2, 0, 3, 0, 1]
        assert [count for (count,) in counts] == expected
        found = other.execute("SELECT memory_id FROM keyword_search('memory', 12)").fetchall()
        assert sorted(memory_id for (memory_id,) in found) == sorted(ids)


def test_a_recall_counts_at_once_and_everywhere(tmp_path: Path) -> None:
    with aios_db.connect(tmp_path / "a.aios") as con:
        one, two = con.remember(rows(2))
        con.store.touch([one])
        con.store.touch([one, two])
        shown = "SELECT access_count, last_access_at IS NULL FROM memories WHERE memory_id = ?"
        assert con.execute(shown, [one]).fetchall() == [(2, False)]
        assert con.execute("SELECT memory_id FROM memories WHERE access_count > 1").fetchall() == [(one,)]
        assert con.execute("SELECT count(*), sum(access_count) FROM memories").fetchall() == [(2, 3)]
        con.store.maintain()
        with aios_db.connect(tmp_path / "a.aios", read_only=True) as other:
            by_id = "SELECT access_count FROM memories_by_id(?)"
            assert other.execute(by_id, [[two, one]]).fetchall() == [(1,), (2,)]
            con.store.touch([two])
            con.store.maintain()
            assert other.execute("SELECT min(access_count) FROM memories").fetchall() == [(2,)]
        con.forget(two)
    with aios_db.connect(tmp_path / "a.aios") as con:
        assert con.execute(shown, [one]).fetchall() == [(2, False)]
        assert con.remember("memory 0", text_embedding=np.eye(384)[0].tolist()) == one
        assert con.execute(shown, [one]).fetchall() == [(3, False)]
        assert con.execute("SELECT text FROM memories ORDER BY last_access_at DESC").fetchall() == [
            ("memory 0",)
        ]


def test_reading_writes_no_version_and_hardly_a_byte(tmp_path: Path) -> None:
    def on_disk() -> int:
        return sum(path.stat().st_size for path in (tmp_path / "a.aios").rglob("*") if path.is_file())

    with aios_db.connect(tmp_path / "a.aios") as con:
        ids = con.remember(rows(1000))
        con.store.maintain()
        before, versions = on_disk(), (con.store.memories.version, con.store.links.version)
        rng = np.random.default_rng(0)
        for _ in range(200):
            con.store.touch([ids[each] for each in rng.permutation(1000)[:10]])
            con.store.maintain()
        assert (con.store.memories.version, con.store.links.version) == versions
        assert on_disk() < 1.1 * before
        assert con.execute("SELECT sum(access_count) FROM memories").fetchall() == [(2000,)]


def rows(count: int) -> pa.Table:
    vectors = np.random.default_rng(1).standard_normal((count, 384)).astype(np.float32)
    vectors[0] = np.eye(384)[0]
    return pa.table(
        {
            "text": [f"memory {number}" for number in range(count)],
            "text_embedding": pa.FixedSizeListArray.from_arrays(vectors.ravel(), 384),
        }
    )


def test_get_shows_what_was_counted_a_moment_ago(tmp_path: Path) -> None:
    with aios_db.connect(tmp_path / "agent.aios") as con:
        memory_id = con.remember("the zebra is striped")
        con.recall("zebra")
        con.recall("zebra")
        memory = con.get(memory_id)
        assert memory is not None
        assert (memory.access_count, memory.last_access_at is not None) == (2, True)
