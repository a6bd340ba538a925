"""What the log of changes costs: a single durable remember with it and without, in turns.

    python bench/bench_change_log.py --turns 20

Two databases in one process, one with `storage.keep_changes: 0`. Printed are the medians, and the median over
the turns of the ratio of both medians of a turn.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import pyarrow as pa
from bench_recall_latency import DIMENSION, Rows

from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, StorageConfig

EACH = 15
WARM_UP = 20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--directory", default=".", help="on the disk to measure")
    options = parser.parse_args()
    vectors = iter(Rows(seed=1).vectors(2 * (WARM_UP + options.turns * EACH)))
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        keep = {"without": 0, "with": StorageConfig().keep_changes}
        stores = {
            name: MemoryStore.open(
                Path(directory, name), config=Config(storage=StorageConfig(DIMENSION, keep_changes=kept))
            )
            for name, kept in keep.items()
        }
        number = 0

        def remember(store: MemoryStore) -> float:
            nonlocal number
            number += 1
            row = {"text": [f"note {number} about {number % 17}"], "text_embedding": [next(vectors)]}
            rows = pa.table(row)
            start = time.perf_counter()
            store.remember(rows)
            return time.perf_counter() - start

        for store in stores.values():
            for _ in range(WARM_UP):
                remember(store)
        times: dict[str, list[float]] = {name: [] for name in stores}
        ratios = []
        for turn in range(options.turns):
            order = list(stores) if turn % 2 else list(stores)[::-1]
            now = {name: [remember(stores[name]) for _ in range(EACH)] for name in order}
            ratios.append(statistics.median(now["with"]) / statistics.median(now["without"]))
            for name in stores:
                times[name] += now[name]
        for name, found in times.items():
            print(f"{name:8} {1e3 * statistics.median(found):6.2f} ms, the median of {len(found)}")
            stores[name].close()
        print(f"ratio    {statistics.median(ratios):6.3f}, the median of {len(ratios)} turns")


if __name__ == "__main__":
    main()
