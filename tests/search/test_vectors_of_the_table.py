"""A segment without vectors: they are read of the table, and what has changed there since is told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest

from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, SearchConfig, StorageConfig
from aios_db.search import segment_files
from aios_db.search.index import SearchIndex

DIMENSION = 16
Open = Callable[..., AbstractContextManager[MemoryStore]]


def unit(number: int) -> list[float]:
    vector = np.random.default_rng(number).normal(size=DIMENSION)
    return [float(each) for each in (vector / np.linalg.norm(vector)).astype(np.float32)]


def memories(numbers: range) -> pa.Table:
    texts = [f"the {number} th ferry at the harbour" for number in numbers]
    return pa.table({"text": texts, "text_embedding": [unit(number) for number in numbers]})


@pytest.fixture
def open_(tmp_path: Path) -> Open:
    @contextmanager
    def opened(index: Literal["auto", "mapped"] = "auto") -> Iterator[MemoryStore]:
        storage = StorageConfig(dimension=DIMENSION, maintenance_delay_s=3600, keep_versions_s=0)
        config = Config(storage=storage, search=SearchConfig(index=index))
        with closing(MemoryStore.open(tmp_path / "a.aios", config=config)) as store:
            yield store

    return opened


def filled(open_: Open, count: int = 1200) -> list[str]:
    with open_() as store:
        ids: list[str] = store.remember(memories(range(count)))
        store.optimize()
    return ids


def assert_like_anew(store: MemoryStore) -> None:
    anew = SearchIndex.open(None, DIMENSION)
    anew.sync(store.memories, store.links)
    for number in range(0, 1300, 40):
        query = np.array(unit(number), np.float32)
        live, made = (each.vector_search(query, 20) for each in (store.index, anew))
        assert live.row_ids.tolist() == made.row_ids.tolist()
        np.testing.assert_allclose(live.scores, made.scores, 1e-6, 1e-6)
        np.testing.assert_allclose((live.mean, live.std), (made.mean, made.std), 1e-9, 1e-9)


def test_the_table_has_the_vectors(tmp_path: Path, open_: Open) -> None:
    filled(open_)
    directory = tmp_path / "a.aios" / "index"
    path = directory / segment_files.current(directory)
    assert segment_files.about_of(path)["format"] == segment_files.WITHOUT_VECTORS
    assert sum(each.stat().st_size for each in path.iterdir()) < 1200 * 4 * DIMENSION * 4
    with open_() as store:
        assert store.index.growing_rows == 0  # nothing else was read of the table
        assert_like_anew(store)


def test_what_has_changed_since_counts_as_it_is(open_: Open) -> None:
    ids = filled(open_)
    with open_() as store:
        store.forget(ids[:50])
        store.update(
            pa.table({"memory_id": ids[100:140], "text_embedding": [unit(n) for n in range(2000, 2040)]})
        )
        store.remember(memories(range(1200, 1230)))
    with open_() as store:
        assert 0 < store.index.growing_rows < 200
        assert_like_anew(store)


def test_without_the_table_it_is_made_anew(tmp_path: Path, open_: Open) -> None:
    filled(open_)
    index = SearchIndex.open(tmp_path / "a.aios" / "index", DIMENSION)
    assert len(index) == 0
    with open_() as store:
        index.sync(store.memories, store.links)
        assert len(index) == len(store.index) == 1200


def test_mapped_it_has_them(tmp_path: Path, open_: Open) -> None:
    filled(open_)
    directory = tmp_path / "a.aios" / "index"
    with open_("mapped") as store:  # what is there can be used as it is
        assert store.index.growing_rows == 0
        store.optimize()
        assert (directory / segment_files.current(directory) / "vectors.npy").exists()
        assert_like_anew(store)
    with open_() as store:
        assert store.index.growing_rows == 0
        assert_like_anew(store)
