"""How many of the `similar` links that comparing all pairs finds are found through lists.

    python bench/bench_links.py --rows 100000

Six tenths of the rows lie in a segment with lists, the others are a tail behind it; neighbours are looked for
in both, as a bulk write does, and for the last 2,000 rows compared with exact search. The rows are those of
bench_recall_latency, in clusters, and for a harder case vectors without any: normal, each dimension with the
standard deviation of a power law.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from bench_recall_latency import DIMENSION, Rows
from numpy.typing import NDArray

from aios_db.schema.config import LinksConfig
from aios_db.search.clustering import group
from aios_db.search.nearest import Neighbors
from aios_db.search.part import Part
from aios_db.search.vectors import Clusters

LINKS = LinksConfig()
IN_SEGMENT = 0.6
COMPARED = 2_000
POWER = -0.6  # of the spectrum of the vectors without clusters


class Memories(Part):
    """A part that has what the search for neighbours looks at."""

    def __init__(
        self, vectors: NDArray[np.float32], rows: NDArray[np.int64], clusters: Clusters | None = None
    ) -> None:
        self.columns = {"vectors": vectors, "rows": rows, "alive": np.ones(len(rows), np.bool_)}
        self.clusters = clusters


def without_clusters(count: int) -> NDArray[np.float32]:
    spectrum = (np.arange(1, DIMENSION + 1) ** POWER).astype(np.float32)
    rows = np.random.default_rng(0).standard_normal((count, DIMENSION), np.float32) * spectrum
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def measure(name: str, vectors: NDArray[np.float32], batch: int) -> None:
    count, first = len(vectors), int(IN_SEGMENT * len(vectors))
    grouping = group([vectors[:first]], None)
    assert grouping is not None, "too few rows for lists"
    order, clusters = grouping.order()
    segment = Memories(vectors[order], order, clusters)
    tail = Memories(vectors[first:], np.arange(first, count))
    neighbors = Neighbors(segment)
    neighbors.find([segment, tail], vectors[:batch], 1)  # the lists of the tail are known, as after a write
    start = time.perf_counter()
    found, _ = neighbors.find([segment, tail], vectors[-batch:], LINKS.similar_neighbors + 1)
    elapsed = time.perf_counter() - start

    asked = np.arange(count - COMPARED, count)
    scores = vectors[asked] @ vectors.T
    scores[np.arange(COMPARED), asked] = -1
    exact = np.argpartition(-scores, LINKS.similar_neighbors, axis=1)[:, : LINKS.similar_neighbors]
    wanted = np.take_along_axis(scores, exact, axis=1) >= LINKS.similar_threshold
    hits = (exact[:, :, np.newaxis] == found[-COMPARED:, np.newaxis, :]).any(axis=2) & wanted
    share = np.floor(1e4 * hits.sum() / wanted.sum()) / 1e4
    print(f"{name:24}{wanted.sum():8} links wanted, {share:.4f} found; {batch} rows in {elapsed:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000, help="rows in all")
    parser.add_argument("--batch", type=int, default=20_000, help="rows of one write")
    options = parser.parse_args()
    measure("rows in clusters", Rows(seed=1).vectors(options.rows), options.batch)
    measure("rows without clusters", without_clusters(options.rows), options.batch)


if __name__ == "__main__":
    main()
