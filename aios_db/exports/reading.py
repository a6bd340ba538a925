"""Taking in an export."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from aios_db.engine.weights.files import file_sha256
from aios_db.exports.layout import (
    ABOUT,
    FORMAT,
    KEY,
    LATER,
    LINK_COLUMNS,
    LINKS,
    MEMORIES,
    RELEASED,
    SHA256,
    exported_columns,
    from_json,
)
from aios_db.schema.amounts import amount
from aios_db.schema.errors import DataError, OperationalError, SchemaVersionError
from aios_db.schema.progress import Progress, silent
from aios_db.store.adoptable import adoptable, check_links
from aios_db.store.derivation import renamed
from aios_db.store.rows import check_lengths

if TYPE_CHECKING:
    from aios_db.memory_store import MemoryStore

logger = logging.getLogger("aios_db.exports")

_BATCH_ROWS = 4_096
_LONGEST = 10_000  # bytes of a first line
_WIDEST = 65_536
_FIRST = b'{"memory": {"memory_id": "'


@dataclass
class Taken:
    """What was done with an export."""

    read: int = 0
    """Memories in it."""
    stored: int = 0
    """Those that are new here."""
    merged: int = 0
    """Those that were here already, and stay as they were."""
    links: int = 0
    """Links that are new here."""


def is_export(path: Path) -> bool:
    """Tell whether `export` wrote what lies at a path, be it damaged since."""
    try:
        if path.is_dir():
            about = (path / ABOUT).read_bytes()
            return _says(about) or all((path / name).exists() for name in (MEMORIES, LINKS))
        if path.is_file() and path.suffix == ".jsonl":
            with path.open("rb") as file:
                return _says(file.readline(_LONGEST)) or file.readline(len(_FIRST)) == _FIRST
    except OSError:
        pass
    return False


def _says(about: bytes) -> bool:
    try:
        said = json.loads(about)
    except (ValueError, RecursionError):
        return f'"{KEY}"'.encode() in about
    return isinstance(said, dict) and KEY in said


def read_export(store: MemoryStore, path: Path, progress: Progress = silent) -> Taken:
    """Store the memories and links of an export with their ids; what is here already stays as it is.

    All of it is read and checked first. Interrupted, it is done again from the start, and what was stored is
    met again.

    Raises
    ------
    SchemaVersionError
        A newer aios_db wrote it.
    OperationalError
        It is not whole: a file is damaged or ends early. Nothing is stored.
    DataError
        A memory or a link has a value that none can have. Nothing is stored.
    """
    source = _Directory(path) if path.is_dir() else _Lines(path)
    _check(source, path, store.config.storage.max_text_bytes)
    taken = Taken()
    moved: dict[str, str] = {}
    missing = store.missing_origins()
    total = max(1, source.memories + source.links)
    for rows in source.memory_batches():
        given = renamed(rows.drop_columns(RELEASED.names), {}, moved)
        done = store.adopt(given, rows.select(RELEASED.names), missing)
        moved |= done.ids
        taken.read += len(rows)
        taken.stored += done.stored
        taken.merged += done.merged
        progress(path.name, taken.read, total)
    read = taken.read
    for links in source.link_batches():
        taken.links += store.adopt_links(_moved(links, moved))
        read += len(links)
        progress(path.name, read, total)
    return taken


def _check(source: _Directory | _Lines, path: Path, most_bytes: int) -> None:
    """Read all of an export, and refuse what cannot be taken in."""

    def memories(rows: pa.Table) -> None:
        checked = adoptable(rows.drop_columns(RELEASED.names))
        check_lengths(dict(zip(checked.column_names, checked.columns, strict=True)), most_bytes)

    for check, key, batches in (
        (memories, "memory", source.memory_batches()),
        (check_links, "link", source.link_batches()),
    ):
        begun = 0
        for rows in batches:
            try:
                check(rows)
            except DataError as error:
                raise DataError(f"{path}, counted from {key} {begun}: {error}") from None
            begun += len(rows)


class _Directory:
    """Parquet files."""

    def __init__(self, path: Path) -> None:
        self._path = path
        about = _about(path / ABOUT, (path / ABOUT).read_bytes())
        self.memories, self.links, self._dimension = about["memories"], about["links"], about["dimension"]
        for name, wanted in ((MEMORIES, self.memories), (LINKS, self.links)):
            try:
                found = pq.read_metadata(path / name).num_rows
            except (OSError, pa.ArrowException) as error:
                raise OperationalError(f"{path / name} cannot be read: {error}") from error
            if found != wanted:
                raise OperationalError(f"{path / name} has {amount(found, 'row')}, {ABOUT} says {wanted}")
            digests = about[SHA256]
            if isinstance(digests, dict) and digests.get(name) != file_sha256(path / name):
                raise OperationalError(
                    f"{path / name} is damaged, or was written anew: its SHA-256 is not that in {ABOUT}; "
                    f"export again, or take {SHA256!r} out of {ABOUT} to take in the file as it is"
                )

    def memory_batches(self) -> Iterator[pa.Table]:
        return self._batches(MEMORIES, exported_columns(self._dimension))

    def link_batches(self) -> Iterator[pa.Table]:
        return self._batches(LINKS, LINK_COLUMNS)

    def _batches(self, name: str, schema: pa.Schema) -> Iterator[pa.Table]:
        try:
            with pq.ParquetFile(self._path / name) as file:
                given = file.schema_arrow.names
                earlier = [name for name in LATER if name not in given]
                names = [name for name in schema.names if name not in earlier]
                for batch in file.iter_batches(_BATCH_ROWS, columns=names):
                    columns = [
                        pa.repeat(pa.scalar(LATER[each.name], each.type), len(batch))
                        if each.name in earlier
                        else batch[each.name].cast(each.type)
                        for each in schema
                    ]
                    yield pa.Table.from_arrays(columns, schema.names)
        except (OSError, pa.ArrowException, KeyError) as error:
            raise OperationalError(f"{self._path / name} cannot be read: {error}") from error


class _Lines:
    """One file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            about = _about(path, file.readline(_LONGEST))
            digest, found = hashlib.sha256(), 0
            for line in file:
                digest.update(line)
                found += 1
        self.memories, self.links, self._dimension = about["memories"], about["links"], about["dimension"]
        if found != self.memories + self.links:
            raise OperationalError(
                f"{path} has {amount(found, 'line')} of memories and links, its first line says "
                f"{self.memories + self.links}: it is not whole"
            )
        if about[SHA256] not in (None, digest.hexdigest()):
            logger.warning("%s was changed after it was exported; it is taken in as it is now", path)

    def memory_batches(self) -> Iterator[pa.Table]:
        return self._batches("memory", 1, self.memories, exported_columns(self._dimension))

    def link_batches(self) -> Iterator[pa.Table]:
        return self._batches("link", 1 + self.memories, self.links, LINK_COLUMNS)

    def _batches(self, key: str, start: int, count: int, schema: pa.Schema) -> Iterator[pa.Table]:
        nullable = pa.schema([pa.field(each.name, each.type) for each in schema])
        with self._path.open("rb") as file:
            lines = enumerate(islice(file, start, start + count), start + 1)
            while chosen := list(islice(lines, _BATCH_ROWS)):
                rows = [self._row(number, line, key, schema) for number, line in chosen]
                try:
                    yield pa.Table.from_pylist(rows, nullable)
                except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                    first, last = chosen[0][0], chosen[-1][0]
                    raise DataError(f"{self._path}:{first}-{last}: {error}") from error

    def _row(self, number: int, line: bytes, key: str, schema: pa.Schema) -> dict[str, Any]:
        try:
            return from_json(json.loads(line.decode())[key], schema)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DataError(f"{self._path}:{number}: is no {key} of an export: {error}") from error


def _about(path: Path, text: bytes) -> dict[str, Any]:
    try:
        about = json.loads(text)
        newer = int(about[KEY]) > FORMAT
        numbers = {name: int(about[name]) for name in ("memories", "links", "dimension")}
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise OperationalError(
            f"{path} is damaged: it does not say what the export holds: {error!r}"
        ) from error
    if newer:
        raise SchemaVersionError(f"{path} was exported by a newer aios_db: upgrade this one")
    if not 1 <= numbers["dimension"] <= _WIDEST or min(numbers.values()) < 0:
        raise OperationalError(f"{path} cannot hold what it says: {numbers}")
    return {**numbers, SHA256: about.get(SHA256)}


def _moved(links: pa.Table, moved: dict[str, str]) -> pa.Table:
    """Return links whose ends are named as here."""
    if not moved:
        return links
    for name in ("source_id", "target_id"):
        values = links[name].to_pylist()
        at = links.schema.get_field_index(name)
        links = links.set_column(at, name, pa.array([moved.get(each, each) for each in values], pa.string()))
    return links
