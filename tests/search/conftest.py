"""A small pair of Lance tables and an index over them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest

from aios_db.schema import association_links
from aios_db.schema.memories import memories_schema
from aios_db.search.index import SearchIndex

DIMENSION = 8
NOW = dt.datetime(2024, 5, 1, tzinfo=dt.timezone.utc)


class Tables:
    """The two tables, written as the store writes them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.index = SearchIndex.open(path / "index", DIMENSION)
        schema = memories_schema(DIMENSION)
        for name, empty in (("memories", schema), ("links", association_links.SCHEMA)):
            lance.write_dataset(empty.empty_table(), str(path / f"{name}.lance"), enable_stable_row_ids=True)
        self.sync()

    @property
    def memories(self) -> Any:
        return lance.dataset(str(self.path / "memories.lance"))

    @property
    def links(self) -> Any:
        return lance.dataset(str(self.path / "links.lance"))

    def sync(self) -> None:
        links, memories = self.links, self.memories
        self.index.sync(memories, links)

    def rows(self, memories: Sequence[dict[str, Any]]) -> pa.Table:
        schema = memories_schema(DIMENSION)
        defaults: dict[str, Any] = {
            "kind": "message", "modalities": ["text"], "created_at": NOW, "tier": "short", "access_count": 0,
            "importance": 0.5, "trust": 1.0, "occurrences": 1, "pinned": False,
        }  # fmt: skip
        full = []
        for memory in memories:
            row = {**defaults, "content_hash": f"hash of {memory['memory_id']}", **memory}
            if "text_embedding" in row:
                row["text_embedding"] = np.asarray(row["text_embedding"]).tolist()
            full.append(row)
        return pa.Table.from_pylist(full, schema)

    def remember(self, *memories: dict[str, Any]) -> None:
        lance.write_dataset(self.rows(memories), self.memories, mode="append")
        self.sync()

    def replace(self, *memories: dict[str, Any]) -> None:
        self.memories.merge_insert("memory_id").when_matched_update_all().execute(self.rows(memories))
        self.sync()

    def forget(self, memory_id: str) -> None:
        self.memories.delete(f"memory_id = '{memory_id}'")
        self.sync()

    def link(self, *links: tuple[str, str, str, float]) -> None:
        names = ("source_id", "target_id", "kind", "weight")
        rest = {"evidence_count": 1, "created_at": NOW, "reinforced_at": NOW}
        rows = [{**dict(zip(names, link, strict=True)), **rest} for link in links]
        lance.write_dataset(pa.Table.from_pylist(rows, association_links.SCHEMA), self.links, mode="append")
        self.sync()

    def row(self, memory_id: str) -> int:
        return int(self.index.find_ids([memory_id])[0])

    def names(self, row_ids: Any) -> list[str]:
        table = self.memories.to_table(columns=["memory_id", "_rowid"])
        names = dict(zip(table["_rowid"].to_pylist(), table["memory_id"].to_pylist(), strict=True))
        return [names[row] for row in row_ids.tolist()]


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path)


@pytest.fixture
def unit() -> Callable[[int], np.ndarray]:
    def make(seed: int) -> np.ndarray:
        vector = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)
        return vector / np.linalg.norm(vector)

    return make
