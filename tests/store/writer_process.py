"""A process of its own for the tests: writes or reads memories, one acknowledgement a line."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from store_helpers import DIMENSION, memory_rows

from aios_db.schema.config import Config, StorageConfig
from aios_db.store import MemoryStore


def main(mode: str, path: str, name: str, count: int) -> None:
    storage = StorageConfig(dimension=DIMENSION, compact_after_fragments=32, maintenance_delay_s=0.5)
    store = MemoryStore.open(Path(path), read_only=mode == "read", config=Config(storage=storage))
    if mode == "read":
        read(store, count)
    else:
        for number in range(count):
            text = f"{name} says {number}" if mode == "write" else f"the same {number}"
            (memory_id,) = store.remember(memory_rows([text], session_id="s"))
            acknowledge(f"{memory_id}\t{text}")
    store.close()


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
        taken = store.take(rows, ["memory_id"])["memory_id"].to_pylist()
        assert taken == ids[-50:], "the index and the table disagree"
        seen.update(ids)
        reads += 1
        time.sleep(0.02)
    acknowledge(f"reads {reads}")


def acknowledge(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
