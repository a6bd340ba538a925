"""Databases with small vectors of their own, and what is in them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, StorageConfig

DIMENSION = 8
SMALL = Config(storage=StorageConfig(dimension=DIMENSION))
HERE = Path(__file__).resolve().parent


def rows(texts: list[str], **columns: Any) -> pa.Table:
    """Return memories with vectors that follow from their texts."""
    seeds = [int.from_bytes(text.encode()[-6:], "little") for text in texts]
    vectors = [np.random.default_rng(seed).standard_normal(DIMENSION) for seed in seeds]
    given = {name: [value] * len(texts) for name, value in columns.items()}
    return pa.table({"text": texts, "text_embedding": vectors, **given})


def content(path: Path, config: Config = SMALL) -> dict[str, Any]:
    """Return all rows of a database, its recall counts and what a search answers."""
    store = MemoryStore.open(path, read_only=True, config=config)
    try:
        memories = store.memories.to_table(columns=store.memories.schema.names)
        links = store.links.to_table().sort_by([(each, "ascending") for each in store.links.schema.names])
        counted = [store.recalls.with_counts(batch) for batch in memories.combine_chunks().to_batches()]
        shown = pa.Table.from_batches(counted, memories.schema).sort_by("memory_id")
        query = np.ones(DIMENSION, np.float32) / np.sqrt(DIMENSION)
        near, worded = store.index.vector_search(query, 20), store.index.keyword_search("says", 20)
        return {
            "memories": shown.to_pylist(),
            "links": links.to_pylist(),
            "near": (store.index.memory_ids(near.row_ids).to_pylist(), near.scores.round(6).tolist()),
            "worded": (store.index.memory_ids(worded.row_ids).to_pylist(), worded.scores.round(6).tolist()),
        }
    finally:
        store.close()


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a script of this directory."""
    root = HERE.parent.parent
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{HERE}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(HERE / script), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
