"""A process that writes, deletes, links and cleans up until a file is there."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pyarrow as pa
from backup_helpers import DIMENSION, rows

from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, StorageConfig


def main(path: str, name: str, stop: Path) -> None:
    storage = StorageConfig(
        dimension=DIMENSION, compact_after_fragments=2, maintenance_delay_s=0.05, keep_versions_s=0,
        keep_versions_bytes=0, lock_timeout_s=120,
    )  # fmt: skip
    store, ids, chance = MemoryStore.open(path, config=Config(storage=storage)), [], random.Random(name)
    number = 0
    while not stop.exists():
        number += 1
        ids += store.remember(rows([f"{name} says {number}", f"{name} repeats {number}"], session_id=name))
        if number % 3 == 0:
            store.forget([ids.pop(chance.randrange(len(ids))) for _ in range(2)])
        if number % 4 == 0:
            first, second = chance.sample(ids, 2)
            store.link(pa.table({"source_id": [first], "target_id": [second]}))
        if number % 10 == 0:
            store.touch(chance.sample(ids, 3))
        if number % 20 == 0:
            store.optimize()
        if number == 5:
            sys.stdout.write("busy\n")
            sys.stdout.flush()
    store.close()
    sys.stdout.write(f"{number}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
