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
        other.store.refresh()  # catches up with several new fragments at once
        counts = other.execute("SELECT access_count FROM memories ORDER BY memory_id").fetchall()
        expected = [2, 0, 2, 0, 0, 0, 0, 2, 0, 3, 0, 1]
        assert [count for (count,) in counts] == expected
        found = other.execute("SELECT memory_id FROM keyword_search('memory', 12)").fetchall()
        assert sorted(memory_id for (memory_id,) in found) == sorted(ids)
