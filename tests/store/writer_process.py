"""A process of its own for the tests: writes or reads memories, one acknowledgement a line."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from store_helpers import DIMENSION, ids_in_table, memory_rows

from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, StorageConfig

BULK = 4_200


def main(mode: str, path: str, name: str, count: int) -> None:
    # In bulk there are few commits and the maintenance is to run between all of them.
    due, delay_s = (2, 0.05) if mode == "bulk" else (32, 0.5)
    storage = StorageConfig(
        dimension=DIMENSION, compact_after_fragments=due, maintenance_delay_s=delay_s, keep_versions_s=30
    )
    store = MemoryStore.open(Path(path), read_only=mode == "read", config=Config(storage=storage))
    if mode == "read":
        read(store, count)
    elif mode == "bulk":
        for batch in range(count):
            ids = store.remember(bulk_rows(name, batch))
            acknowledge(f"{batch}\t{len(set(ids))}")
    else:
        for number in range(count):
            text = f"{name} says {number}" if mode == "write" else f"the same {number}"
            (memory_id,) = store.remember(memory_rows([text], session_id="s"))
            acknowledge(f"{memory_id}\t{text}")
    store.close()


def bulk_rows(name: str, batch: int) -> pa.Table:
    """Return so many rows that they are written in bulk; their texts begin with writer and batch."""
    texts = [f"{name} {batch} says {number}" for number in range(BULK)]
    vectors = np.random.default_rng(batch).standard_normal((BULK, DIMENSION))
    sessions = [f"{name} {number // 10}" for number in range(BULK)]
    return pa.table({"text": texts, "session_id": sessions, "text_embedding": list(vectors)})


def read(store: MemoryStore, expected: int) -> None:
    """Read until all is there; what has been seen never goes away and is never seen twice."""
    seen: set[str] = set()
    reads = 0
    while len(seen) < expected:
        store.refresh()
        ids = store.memories.to_table(columns=["memory_id"])["memory_id"].to_pylist()
        assert len(set(ids)) == len(ids), "a memory was read twice"
        assert seen <= set(ids), "a memory that was read has gone"
        rows = store.index.find_ids(ids[-50:])
        taken = ids_in_table(store, rows)
        assert taken == ids[-50:], "the index and the table disagree"
        seen.update(ids)
        reads += 1
        time.sleep(0.1)
    acknowledge(f"reads {reads}")


def acknowledge(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
