"""How fast memories are written: in bulk, from text, and one at a time.

    python bench/bench_ingest.py --rows 100000 --singles 5000 --texts examples
    python bench/bench_ingest.py --parts growth --rows 1000000

Bulk rows are those of bench_recall_latency (clustered vectors, Zipfian words, sessions of ten), written in
batches with their links and, in another database, without any: the difference is what links cost. Texts are
the lines of real files; the bare throughput of the engine on them is measured in turn. Single writes
are durable when they return, links included; their vectors are ready, so that encoding does not count. They
are timed in a new database and again after thousands of them, while compaction goes on behind. Growth says
how fast each hundred thousand of the bulk rows are written with their links, by the clock and by the time of
all processors, which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from bench_recall_latency import DIMENSION, Rows

from aios_db.encoder import LazyEncoder
from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, LinksConfig, StorageConfig

NO_LINKS = LinksConfig(similar_neighbors=0, entity_links=0)
STEP = 100_000
LAST = 200  # single writes that a median is taken of


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    what: str
    value: float
    unit: str
    target: str


@contextmanager
def database(links: LinksConfig | None = None, encoder: Any = None) -> Iterator[MemoryStore]:
    config = Config(storage=StorageConfig(dimension=DIMENSION), links=links or LinksConfig())
    with tempfile.TemporaryDirectory(prefix="bench_ingest") as directory:
        store = MemoryStore.open(Path(directory) / "bench.aios", config=config, encoder=encoder)
        try:
            yield store
        finally:
            store.close()


def seconds_to_write(chunks: list[pa.Table], links: LinksConfig | None) -> float:
    with database(links) as store:
        start = time.perf_counter()
        for chunk in chunks:
            store.remember(chunk)
        return time.perf_counter() - start


def bulk(rows: int, batch: int, repeats: int) -> list[Line]:
    made = Rows(seed=1)
    chunks = [made.chunk(first, min(batch, rows - first)) for first in range(0, rows, batch)]
    bare = [chunk.drop_columns(["session_id"]) for chunk in chunks]
    linked, unlinked = [], []
    for _ in range(repeats):
        linked.append(seconds_to_write(chunks, None))
        unlinked.append(seconds_to_write(bare, NO_LINKS))
    with_links, without = float(np.median(linked)), float(np.median(unlinked))
    return [
        Line(f"bulk, {rows} embedded rows", rows / without, "rows/s", ">= 20000, or links' cost shown"),
        Line("bulk, links included", rows / with_links, "rows/s", ""),
        Line("  what links cost", 1e6 * (with_links - without) / rows, "us/row", ""),
    ]


def growth(rows: int, batch: int) -> list[Line]:
    made = Rows(seed=1)
    lines = []
    with database() as store:
        for start in range(0, rows, STEP):
            stop = min(start + STEP, rows)
            wall = processor = 0.0
            for first in range(start, stop, batch):
                chunk = made.chunk(first, min(batch, stop - first))
                began, used = time.perf_counter(), time.process_time()
                store.remember(chunk)
                wall += time.perf_counter() - began
                processor += time.process_time() - used
            lines.append(Line(f"rows {start} to {stop}", (stop - start) / wall, "rows/s", ""))
            lines.append(Line("", (stop - start) / processor, "rows/cpu s", ""))
            print(f"{lines[-2].what}: {lines[-2].value:.0f} rows/s", flush=True)  # it takes minutes
        start_s = time.perf_counter()
        store.optimize()
        lines.append(Line("optimize", time.perf_counter() - start_s, "s", ""))
    return lines


def lines_of(path: Path, most: int) -> list[str]:
    """Return distinct lines of the text files under ``path``."""
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    lines = (line.strip() for each in files for line in each.read_text(errors="ignore").splitlines())
    return list(dict.fromkeys(line for line in lines if len(line) >= 20))[:most]


def from_text(path: Path, most: int, repeats: int) -> list[Line]:
    texts = lines_of(path, most)
    encoder = LazyEncoder(Config())
    encoder.encode(texts[:8])  # the model is loaded, the back end chosen
    bare, stored = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        encoder.encode(texts)
        bare.append(time.perf_counter() - start)
        with database(encoder=encoder) as store:
            start = time.perf_counter()
            store.remember(pa.table({"text": texts}))
            stored.append(time.perf_counter() - start)
    encoding, remembering = float(np.median(bare)), float(np.median(stored))
    return [
        Line(f"encode {len(texts)} texts", len(texts) / encoding, "texts/s", ""),
        Line("remember them, links included", len(texts) / remembering, "texts/s", ""),
        Line("  of the engine's bare throughput", encoding / remembering, "", ">= .85"),
    ]


def single(count: int) -> list[Line]:
    rows = Rows(seed=2).chunk(0, count + LAST)
    times = np.zeros(count + LAST)
    with database() as store:
        for i in range(count + LAST):
            row = rows.slice(i, 1)
            start = time.perf_counter()
            store.remember(row)
            times[i] = 1e3 * (time.perf_counter() - start)
        fragments = store.stats().fragments
        start = time.perf_counter()
        MemoryStore.open(store.path, read_only=True, config=store.config).close()
        reopened = 1e3 * (time.perf_counter() - start)
    lines = []
    for what, part in (("one write, first 200", times[:LAST]), (f"one write, after {count}", times[-LAST:])):
        lines.append(Line(what, float(np.median(part)), "ms, median", "<= 25"))
        lines.append(Line("", float(np.quantile(part, 0.95)), "ms, p95", ""))
    lines.append(Line("fragments left", float(fragments), "", ""))
    lines.append(Line("open it again, read-only", reopened, "ms", ""))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000, help="embedded rows of the bulk part")
    parser.add_argument("--batch", type=int, default=20_000, help="rows of one remember")
    parser.add_argument("--singles", type=int, default=5_000, help="single writes before the last are timed")
    parser.add_argument("--texts", type=Path, default=Path("examples"), help="a file or folder of texts")
    parser.add_argument("--most-texts", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--parts", nargs="+", default=["bulk", "text", "single"], choices=["bulk", "growth", "text", "single"]
    )
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    parts = {
        "bulk": lambda: bulk(options.rows, options.batch, options.repeats),
        "growth": lambda: growth(options.rows, options.batch),
        "text": lambda: from_text(options.texts, options.most_texts, options.repeats),
        "single": lambda: single(options.singles),
    }
    versions = {name: version(name) for name in ("pylance", "pyarrow", "torch", "numpy")}
    print(f"python {platform.python_version()}", *(f"{name} {each}" for name, each in versions.items()))
    lines = []
    for part in options.parts:
        for line in parts[part]():
            lines.append(line)
            print(f"{line.what:36} {line.value:12.2f} {line.unit:12} {line.target}", flush=True)
    if options.json:
        result = {"versions": versions, "options": vars(options), "lines": [asdict(line) for line in lines]}
        options.json.write_text(json.dumps(result, indent=2, default=str))


if __name__ == "__main__":
    main()
