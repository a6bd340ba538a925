"""Latency of `recall` through SQL, beside LanceDB's own hybrid query on the same rows in the same run.

    python bench/bench_recall_latency.py --rows 10000 100000 1000000

To build a million rows takes most of the time: with --keep the databases stay for the next run.

The rows are made: vectors in clusters (a vector database of independent random vectors has no neighbours to
find) and words drawn by Zipf's law, in sessions of ten. Queries are vectors of the same clusters with words
of the same law. A query's embedding is looked up here, so that it does not count; everything else does, from
the SQL text to the rows. Each query is put to all systems in turns, in another order each time, so that a
change of the machine's speed meets all alike. recall@10 of the vector part is measured against exact search
over all rows.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Read when Lance is imported: LanceDB's hybrid query warns of itself at every call.
os.environ.setdefault("LANCE_LOG", "error")
os.environ.setdefault("RUST_LOG", "error")

import duckdb
import lance
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import aios_db
import aios_db.session

DIMENSION = 384
CENTERS = 2000
SPREAD = 0.7  # of a vector around its center, relative to the center's length
WORDS = 50_000
WORDS_IN_ROW = 20
WORDS_IN_QUERY = 6
SESSION = 10
CHUNK = 20_000
OPENINGS = 5
OPEN = "import sys, time, aios_db; start = time.perf_counter(); con = aios_db.connect(sys.argv[1]); \
con.execute('SELECT 1').fetchall(); print(time.perf_counter() - start)"


class Rows:
    """The made rows and queries, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._centers = self._random.standard_normal((CENTERS, DIMENSION), np.float32) / np.sqrt(DIMENSION)
        law = 1 / np.arange(1, WORDS + 1)
        self._cumulated = np.cumsum(law / law.sum())

    def vectors(self, count: int) -> NDArray[np.float32]:
        """Return unit vectors in clusters."""
        noise = self._random.standard_normal((count, DIMENSION), np.float32) / np.float32(np.sqrt(DIMENSION))
        rows = self._centers[self._random.integers(CENTERS, size=count)] + np.float32(SPREAD) * noise
        unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    def texts(self, count: int, words: int) -> list[str]:
        """Return texts of Zipfian words."""
        drawn = np.searchsorted(self._cumulated, self._random.random((count, words))).clip(max=WORDS - 1)
        return [" ".join(f"w{word}" for word in row) for row in drawn.tolist()]

    def chunk(self, first: int, count: int) -> pa.Table:
        """Return rows to remember."""
        vectors = pa.FixedSizeListArray.from_arrays(self.vectors(count).ravel(), DIMENSION)
        sessions = [f"session {i // SESSION}" for i in range(first, first + count)]
        texts = self.texts(count, WORDS_IN_ROW)
        return pa.table({"text": texts, "session_id": sessions, "text_embedding": vectors})


class Prepared:
    """An encoder that looks the vectors of the queries up."""

    dimension = DIMENSION
    version = "prepared@000000000000"

    def __init__(self, vectors: dict[str, NDArray[np.float32]]) -> None:
        self._vectors = vectors

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the prepared vectors."""
        return np.stack([self._vectors[text] for text in texts])

    def close(self) -> None:
        """Hold nothing."""


@dataclass(frozen=True)
class Result:
    """One line of the table; times in milliseconds."""

    rows: int
    system: str
    p50: float
    p95: float
    recall: float
    build_s: float


@dataclass(frozen=True)
class System:
    """Something that answers queries."""

    name: str
    ask: Callable[[str], Any]
    recall: float
    build_s: float
    queries: int


def latencies(systems: Sequence[System], queries: list[str]) -> dict[str, list[float]]:
    """Return each system's milliseconds for each query."""
    random = np.random.default_rng(0)
    times: dict[str, list[float]] = {system.name: [] for system in systems}
    for number, query in enumerate([*queries[:5], *queries]):
        for at in random.permutation(len(systems)).tolist():
            system = systems[at]
            if number < 5 + system.queries:
                start = time.perf_counter()
                system.ask(query)
                times[system.name].append(1000 * (time.perf_counter() - start))
    return {name: taken[5:] for name, taken in times.items()}  # the first ones warm up


def exact_neighbors(tables: Callable[[], Any], queries: NDArray[np.float32]) -> list[set[int]]:
    """Return the positions of the ten rows nearest to each query, over all chunks."""
    scores = np.zeros((len(queries), 0), np.float32)
    rows = np.zeros((len(queries), 0), np.int64)
    first = 0
    for vectors in tables():
        scores = np.concatenate([scores, queries @ vectors.T], axis=1)
        rows = np.concatenate(
            [rows, np.tile(np.arange(first, first + len(vectors)), (len(queries), 1))], axis=1
        )
        keep = np.argsort(-scores, axis=1)[:, :10]
        scores, rows = np.take_along_axis(scores, keep, axis=1), np.take_along_axis(rows, keep, axis=1)
        first += len(vectors)
    return [set(row) for row in rows.tolist()]


def recall_of(found: Callable[[str], list[str]], exact: dict[str, set[str]]) -> float:
    return sum(len(set(found(query)) & names) for query, names in exact.items()) / (10 * len(exact))


def built_once(path: Path, build: Callable[[Path], None]) -> float:
    """Build a database, unless an earlier run has; return the seconds that it took."""
    finished = path.with_name(f"{path.name}.seconds")
    if not finished.exists():
        shutil.rmtree(path, ignore_errors=True)
        start = time.perf_counter()
        build(path)
        finished.write_text(str(time.perf_counter() - start), encoding="utf-8")
    return float(finished.read_text(encoding="utf-8"))


def write_aios(count: int, path: Path, made: Rows) -> None:
    with aios_db.connect(path) as connection:
        for first in range(0, count, CHUNK):
            connection.remember(made.chunk(first, min(CHUNK, count - first)))
        connection.store.optimize()


def opening_seconds(path: Path) -> float:
    """Return the seconds that other processes take to open a database, their median."""
    command = [sys.executable, "-c", OPEN, str(path)]
    return float(
        np.median(
            [
                float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                for _ in range(OPENINGS)
            ]
        )
    )


def exact_answers(
    connection: aios_db.Connection, queries: dict[str, NDArray[np.float32]]
) -> dict[str, set[str]]:
    """Return the ids of the ten memories nearest to each query."""
    table = connection.store.memories
    names: list[str] = table.to_table(columns=["memory_id"])["memory_id"].to_pylist()

    def chunks() -> Any:
        for batch in table.to_batches(columns=["text_embedding"]):
            yield batch["text_embedding"].flatten().to_numpy().reshape(-1, DIMENSION)

    nearest = exact_neighbors(chunks, np.stack(list(queries.values())))
    return {query: {names[i] for i in rows} for query, rows in zip(queries, nearest, strict=True)}


def aios_system(connection: aios_db.Connection, build: float, exact: dict[str, set[str]]) -> System:
    cursor = connection.cursor()

    def vector(query: str) -> list[str]:
        cursor.execute("SELECT memory_id FROM vector_search(embed(?), 10)", [query])
        return [name for (name,) in cursor.fetchall()]

    def ask(query: str) -> list[Any]:
        return cursor.execute("SELECT * FROM recall(?, k := 10)", [query]).fetchall()

    return System("aios_db recall", ask, recall_of(vector, exact), build, len(exact))


def lancedb_system(
    path: Path, source: Path, queries: dict[str, NDArray[np.float32]], exact: dict[str, set[str]], hnsw: bool
) -> System:
    """Copy the rows into a LanceDB table with a text index and, if asked for, an HNSW index."""
    import lancedb
    import lancedb.index

    def copy(path: Path) -> None:
        columns = ["memory_id", "text", "session_id", "text_embedding"]
        reader = lance.dataset(str(source / "memories.lance")).scanner(columns=columns).to_reader()
        table = lancedb.connect(str(path)).create_table("rows", reader)
        table.create_index("text", config=lancedb.index.FTS())
        if hnsw:
            table.create_index("text_embedding", config=lancedb.index.HnswSq(distance_type="cosine"))

    build = built_once(path, copy)
    table = lancedb.connect(str(path)).open_table("rows")

    def hybrid(query: str) -> list[str]:
        search = table.search(query_type="hybrid").vector(queries[query]).text(query).distance_type("cosine")
        found: list[str] = search.limit(10).select(["memory_id", "text"]).to_arrow()["memory_id"].to_pylist()
        return found

    def vector(query: str) -> list[str]:
        search = table.search(queries[query]).distance_type("cosine").limit(10).select(["memory_id"])
        found: list[str] = search.to_arrow()["memory_id"].to_pylist()
        return found

    if hnsw:
        return System("LanceDB HNSW hybrid", hybrid, recall_of(vector, exact), build, len(queries))
    return System(
        "LanceDB exact hybrid", hybrid, 1.0, build, min(len(queries), max(10, 5_000_000 // len(table)))
    )


def measure(count: int, options: argparse.Namespace, work: Path) -> tuple[list[Result], float]:
    """Build all systems with ``count`` rows and ask them; return the results and the seconds of opening."""
    made = Rows(count)
    queries = dict(
        zip(made.texts(options.queries, WORDS_IN_QUERY), made.vectors(options.queries), strict=True)
    )
    aios_db.session.LazyEncoder = lambda config: Prepared(queries)  # type: ignore[assignment, misc]
    path = work / f"{count}.aios"
    if not path.exists():  # copies of another one have other memory_ids
        for other in work.glob(f"{count}.*"):
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    build = built_once(path, lambda path: write_aios(count, path, made))
    opening = opening_seconds(path)
    with aios_db.connect(path) as connection:
        exact = exact_answers(connection, queries)
        systems = [aios_system(connection, build, exact)]
        systems += [
            lancedb_system(work / f"{count}.{kind}", path, queries, exact, kind == "hnsw")
            for kind in ("exact", "hnsw")
            if kind == "exact" or count <= options.hnsw_rows
        ]
        times = latencies(systems, list(queries))
    results = [
        Result(
            count, each.name, float(np.median(times[each.name])), float(np.quantile(times[each.name], 0.95)),
            each.recall, each.build_s,
        )
        for each in systems
    ]  # fmt: skip
    return results, opening


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000], help="collection sizes")
    parser.add_argument("--queries", type=int, default=100, help="queries a size")
    parser.add_argument(
        "--hnsw-rows", type=int, default=100_000, help="largest size to build LanceDB's HNSW for"
    )
    parser.add_argument("--keep", type=Path, help="folder for the databases (a temporary one by default)")
    parser.add_argument("--json", type=Path, help="write the results here as JSON")
    options = parser.parse_args()
    work = options.keep or Path(tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    versions = f"aios_db {aios_db.__version__}, duckdb {duckdb.__version__}, pylance {lance.__version__}"
    print(
        f"{versions}; {DIMENSION} dimensions, {CENTERS} clusters, {WORDS_IN_ROW} Zipfian words a row, k = 10"
    )
    print(f"{'rows':>9}  {'system':22}{'p50 ms':>9}{'p95 ms':>9}{'recall@10':>11}{'build s':>9}")
    results: list[Result] = []
    openings: dict[int, float] = {}
    try:
        for count in options.rows:
            measured, openings[count] = measure(count, options, work)
            ours, *theirs = measured
            for result in measured:
                results.append(result)
                recall = f"{np.floor(1e4 * result.recall) / 1e4:.4f}"
                print(
                    f"{count:9}  {result.system:22}{result.p50:9.1f}{result.p95:9.1f}{recall:>11}"
                    f"{result.build_s:9.1f}",
                    flush=True,
                )
            print(
                f"{count:9}  opening {openings[count]:.3f} s; p50 against "
                + ", ".join(f"{other.system} {ours.p50 / other.p50:.2f}x" for other in theirs),
                flush=True,
            )
            if not options.keep:
                for path in filter(Path.is_dir, work.glob(f"{count}.*")):
                    shutil.rmtree(path)
        first, last = (next(r for r in results if r.rows == n) for n in (options.rows[0], options.rows[-1]))
        print(f"p50 at {last.rows} rows is {last.p50 / first.p50:.2f}x that at {first.rows}")
    finally:
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)
    if options.json:
        about = {"versions": versions, "opening_s": openings, "results": [asdict(each) for each in results]}
        options.json.write_text(json.dumps(about, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
