from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.memory_store import MemoryStore
from aios_db.schema.vectors import as_numpy


@pytest.fixture(scope="module")
def engine(minilm_dir: Path) -> ArrowEngine:
    return ArrowEngine(minilm_dir)


def test_texts_are_embedded_by_the_engine(engine: ArrowEngine, tmp_path: Path) -> None:
    store = MemoryStore.open(tmp_path / "agent.aios", encoder=engine)
    store.remember(pa.table({"text": ["The cat sleeps on the mat.", "x"], "title": [None, "Feline naps"]}))
    found = store.memories.to_table(columns=["text_embedding", "text_weight_version"])
    assert found["text_weight_version"].to_pylist() == [engine.version] * 2
    expected = engine.encode(["The cat sleeps on the mat.", "Feline naps. x"])
    np.testing.assert_allclose(as_numpy(found["text_embedding"]), expected, atol=1e-5)
    store.close()


def test_memories_that_mean_the_same_are_linked(engine: ArrowEngine, tmp_path: Path) -> None:
    store = MemoryStore.open(tmp_path / "agent.aios", encoder=engine)
    cat, nap, tax = store.remember(
        pa.table(
            {"text": ["A cat is sleeping on the mat.", "The cat sleeps on a mat.", "Taxes are due in April."]}
        )
    )
    rows = store.links.to_table(filter="kind = 'similar'").to_pylist()
    assert {frozenset((row["source_id"], row["target_id"])) for row in rows} == {frozenset((cat, nap))}
    assert tax not in {end for row in rows for end in (row["source_id"], row["target_id"])}
    store.close()
