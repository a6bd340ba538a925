"""A process of its own: writes numbered rows into one of several databases, a line for each acknowledged one.

``python power_writer.py SYSTEM DIRECTORY FIRST COUNT`` writes rows FIRST to FIRST + COUNT - 1;
``python power_writer.py SYSTEM DIRECTORY read`` prints the numbers of the rows that can be read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

DIMENSION = 384
Write = Callable[[int], None]


def vector(number: int) -> list[float]:
    return np.random.default_rng(number).standard_normal(DIMENSION).astype(np.float32).tolist()


def text(number: int) -> str:
    return f"memory {number} of the workload"


def numbers(texts: list[str]) -> set[int]:
    return {int(each.split()[1]) for each in texts}


class AiosDb:
    """This database, with one of its two kinds of durability."""

    def __init__(self, durability: str) -> None:
        self.durability = durability

    def _config(self) -> object:
        from aios_db.schema.config import Config, StorageConfig

        # Maintenance within the run, so that cuts hit compaction and clean-up, too.
        storage = StorageConfig(
            durability=self.durability,  # type: ignore[arg-type]
            dimension=DIMENSION,
            maintenance_delay_s=0.3,
            compact_after_fragments=8,
            keep_versions_s=0.5,
        )
        return Config(storage=storage)

    @contextmanager
    def writer(self, directory: Path) -> Iterator[Write]:
        from aios_db.memory_store import MemoryStore
        from aios_db.store.tables import table_from

        store = MemoryStore.open(directory / "agent.aios", config=self._config())  # type: ignore[arg-type]

        def write(number: int) -> None:
            row = {"text": text(number), "text_embedding": vector(number), "session_id": "s"}
            store.remember(table_from([row]))

        yield write
        store.close()

    def read(self, directory: Path) -> set[int]:
        from aios_db.checking import check
        from aios_db.memory_store import MemoryStore

        store = MemoryStore.open(directory / "agent.aios", config=self._config())  # type: ignore[arg-type]
        texts = store.memories.to_table(columns=["text"])["text"].to_pylist()
        # What it holds is whole: every row can be read, found by the index, and one more can be written.
        store.memories.to_table()
        assert len(store.index) == len(texts), "the index differs from the table"
        store.links.to_table()
        with self.writer(directory) as write:
            write(10**9)
        store.refresh()
        assert len(store.index) == len(texts) + 1, "a row written after the cut is missing"
        store.close()
        report = check(directory / "agent.aios")
        assert report.whole, report.faults
        return numbers(texts)


class Sqlite:
    """SQLite with ``synchronous=FULL``."""

    @contextmanager
    def writer(self, directory: Path) -> Iterator[Write]:
        import sqlite3

        con = sqlite3.connect(directory / "agent.sqlite", isolation_level=None)
        con.execute("PRAGMA journal_mode = WAL")
        con.execute("PRAGMA synchronous = FULL")
        con.execute("CREATE TABLE IF NOT EXISTS memories (text TEXT, embedding BLOB)")

        def write(number: int) -> None:
            embedding = np.asarray(vector(number), np.float32).tobytes()
            con.execute("INSERT INTO memories VALUES (?, ?)", (text(number), embedding))

        yield write
        con.close()

    def read(self, directory: Path) -> set[int]:
        import sqlite3

        con = sqlite3.connect(directory / "agent.sqlite")
        return numbers([each for (each, _) in con.execute("SELECT text, embedding FROM memories")])


class DuckDb:
    """DuckDB as it is."""

    @contextmanager
    def writer(self, directory: Path) -> Iterator[Write]:
        import duckdb

        con = duckdb.connect(str(directory / "agent.duckdb"))
        con.execute("CREATE TABLE IF NOT EXISTS memories (text VARCHAR, embedding FLOAT[])")
        yield lambda number: con.execute("INSERT INTO memories VALUES (?, ?)", [text(number), vector(number)])  # type: ignore[misc]
        con.close()

    def read(self, directory: Path) -> set[int]:
        import duckdb

        con = duckdb.connect(str(directory / "agent.duckdb"))
        return numbers([each for (each, _) in con.execute("SELECT text, embedding FROM memories").fetchall()])


class LanceDb:
    """LanceDB as it is."""

    @contextmanager
    def writer(self, directory: Path) -> Iterator[Write]:
        import lancedb

        database = lancedb.connect(directory / "lance")
        row = [{"text": text(-1), "embedding": vector(0)}]
        table = database.create_table("memories", row, exist_ok=True)
        yield lambda number: table.add([{"text": text(number), "embedding": vector(number)}])

    def read(self, directory: Path) -> set[int]:
        import lancedb

        table = lancedb.connect(directory / "lance").open_table("memories")
        return numbers(table.to_arrow()["text"].to_pylist()) - {-1}


SYSTEMS = {
    "aios_db full": AiosDb("full"),
    "aios_db normal": AiosDb("normal"),
    "SQLite": Sqlite(),
    "DuckDB": DuckDb(),
    "LanceDB": LanceDb(),
}


def main(system: str, directory: Path, *arguments: str) -> None:
    if arguments == ("read",):
        sys.stdout.write(" ".join(map(str, sorted(SYSTEMS[system].read(directory)))))
        return
    first, count = map(int, arguments)
    with SYSTEMS[system].writer(directory) as write:
        for number in range(first, first + count):
            write(number)
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
