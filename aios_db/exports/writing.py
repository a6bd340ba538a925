"""Writing an export."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from aios_db.disk.failures import operational
from aios_db.engine.weights.building import building
from aios_db.engine.weights.files import file_sha256, force_file, force_tree
from aios_db.exports.layout import (
    ABOUT,
    FORMAT,
    KEY,
    LINK_COLUMNS,
    LINKS,
    MEMORIES,
    RELEASED,
    SHA256,
    exported_columns,
    to_json,
)
from aios_db.schema import association_links
from aios_db.schema import memories as memories_table
from aios_db.schema.advice import NO_PLACE
from aios_db.schema.errors import OperationalError
from aios_db.schema.homes import expanded
from aios_db.security.permissions import DIRECTORY_MODE, FILE_MODE
from aios_db.version import __version__

if TYPE_CHECKING:
    from lance import LanceDataset

    from aios_db.memory_store import MemoryStore

_BATCH_ROWS = 4_096
_LINES = "lines"
_VECTOR = ("text_embedding", "text_weight_version")


@dataclass(frozen=True)
class ExportReport:
    """What `export` wrote."""

    path: str
    memories: int
    links: int
    bytes: int


def export(store: MemoryStore, path: str | os.PathLike[str], *, embeddings: bool = True) -> ExportReport:
    """Write all memories and links, as they are at one moment, with ids, times, counts and media.

    Parameters
    ----------
    path
        A name that ends with ``.jsonl`` is a file of JSON lines; any other one a directory of Parquet files.
        There must be nothing yet.
    embeddings
        Write the vectors, too; without them, texts are embedded again when they are imported.

    Raises
    ------
    OperationalError
        There is something at ``path``, or a disk fails; nothing is there then.
    """
    place = expanded(path).absolute()
    with new_place(place) as making, store.held() as (memories, links):
        source = _Stored(store, memories, links, embeddings=embeddings)
        (_write_lines if place.suffix == ".jsonl" else write)(making, source)
    files = [place] if place.is_file() else list(place.iterdir())
    size = sum(each.stat().st_size for each in files)
    return ExportReport(str(place), source.about["memories"], source.about["links"], size)


@contextmanager
def new_place(place: Path) -> Iterator[Path]:
    """Give a directory to write in that is moved to ``place``, or if it holds ``lines`` those, at the end.

    Raises
    ------
    OperationalError
        There is something at ``place``, or a disk fails; nothing is there then.
    """
    if os.path.lexists(place):
        raise OperationalError(f"{place} is there already; export to another path, or move it away first")
    with (
        operational(f"exporting to {place}", "nothing is there", NO_PLACE),
        building(place, DIRECTORY_MODE) as making,
    ):
        yield making
        force_tree(making)
        finished = making / _LINES
        (finished if finished.exists() else making).rename(place)
        force_file(place.parent)


class Source(Protocol):
    """What is to be written, batch by batch."""

    schema: pa.Schema
    about: dict[str, Any]
    """What is said of it; written last, so that counts may be known then only."""

    def memories(self) -> Iterator[pa.RecordBatch]:
        """Yield memories in the columns of ``schema``."""
        ...

    def links(self) -> Iterator[pa.RecordBatch]:
        """Yield links."""
        ...


class _Stored(Source):
    """All that a connection sees of a store."""

    def __init__(
        self, store: MemoryStore, memories: LanceDataset, links: LanceDataset, *, embeddings: bool
    ) -> None:
        self._store, self._memories, self._links, self._embeddings = store, memories, links, embeddings
        self.schema = exported_columns(store.dimension)
        self._released = store.releases()
        self.about: dict[str, Any] = {
            KEY: FORMAT,
            "made_by": __version__,
            "dimension": store.dimension,
            "embeddings": embeddings,
            "memories": self._count(memories, memories_table.TABLE),
            "links": self._count(links, association_links.TABLE),
        }

    def _count(self, dataset: LanceDataset, table: str) -> int:
        wall = self._store.wall(table)
        if wall is None:
            return int(dataset.count_rows())
        return sum(map(len, self._seen(dataset, table, list(wall.columns))))

    def _seen(
        self, dataset: LanceDataset, table: str, columns: list[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield what the connection sees of a table."""
        wall = self._store.wall(table)
        for batch in dataset.scanner(columns=columns, batch_size=_BATCH_ROWS).to_batches():
            yield batch if wall is None else wall.visible(batch)

    def memories(self) -> Iterator[pa.RecordBatch]:
        """Yield memories with their recall counts."""
        left_out = () if self._embeddings else _VECTOR
        columns = [name for name in self.schema.names if name not in {*left_out, *RELEASED.names}]
        for batch in self._seen(self._memories, memories_table.TABLE, columns):
            counted = self._store.recalls.with_counts(batch)
            released = [self._released.get(name, (None, None)) for name in batch["memory_id"].to_pylist()]
            texts, times = zip(*released, strict=True) if released else ((), ())
            found = {name: counted[name] for name in columns} | {
                each.name: pa.array(values, each.type)
                for each, values in zip(RELEASED, (texts, times), strict=True)
            }
            values = [found.get(each.name, pa.nulls(len(batch), each.type)) for each in self.schema]
            yield pa.RecordBatch.from_arrays(values, schema=self.schema)

    def links(self) -> Iterator[pa.RecordBatch]:
        """Yield links."""
        for batch in self._seen(self._links, association_links.TABLE):
            columns = [batch[name] for name in LINK_COLUMNS.names]
            yield pa.RecordBatch.from_arrays(columns, schema=LINK_COLUMNS)


def write(directory: Path, source: Source) -> None:
    """Write an export as Parquet files."""
    for name, schema, batches in (
        (MEMORIES, source.schema, source.memories()),
        (LINKS, LINK_COLUMNS, source.links()),
    ):
        with pq.ParquetWriter(directory / name, schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
    digests = {name: file_sha256(directory / name) for name in (MEMORIES, LINKS)}
    (directory / ABOUT).write_text(json.dumps({**source.about, SHA256: digests}, indent=1), "utf-8")


def _write_lines(directory: Path, source: Source) -> None:
    path = directory / _LINES
    digest = hashlib.sha256()
    with path.open("wb") as file:
        file.write(_line({**source.about, SHA256: "0" * (2 * digest.digest_size)}))
        for key, batches in (("memory", source.memories()), ("link", source.links())):
            for batch in batches:
                for row in batch.to_pylist():
                    line = _line({key: to_json(row)})
                    digest.update(line)
                    file.write(line)
        file.seek(0)  # the first line is as long as it was
        file.write(_line({**source.about, SHA256: digest.hexdigest()}))
    path.chmod(FILE_MODE)


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
