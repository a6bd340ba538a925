"""`check`: all of a database, and nothing of it changed."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lance
import pyarrow as pa
from filelock import FileLock, Timeout

from aios_db.checking import index as index_
from aios_db.checking import records
from aios_db.checking.faults import SALVAGE, Fault, Faults
from aios_db.checking.files import check_files, check_marker
from aios_db.checking.links import LinkChecks
from aios_db.checking.lookups import check_lookups
from aios_db.checking.memories import MemoryChecks
from aios_db.checking.tables import batches, check_history, has_columns, open_table, size_of
from aios_db.disk.failures import operational
from aios_db.disk.lock import WriteLock
from aios_db.schema import association_links, memories
from aios_db.schema.config import Config
from aios_db.schema.database import INDEX, LOCK
from aios_db.schema.errors import OperationalError
from aios_db.schema.homes import expanded
from aios_db.schema.progress import Progress, silent
from aios_db.schema.regular import refuse_special
from aios_db.schema.tables import RECORDS
from aios_db.search.index import SearchIndex
from aios_db.store.compaction import LOCK as COMPACTION_LOCK
from aios_db.store.memories_table import as_read
from aios_db.store.short_hashes import with_whole
from aios_db.store.strongest import COLUMN, strongest_links
from aios_db.store.unshown import Unshown, UnshownFile

_LINKS = (
    "restore a backup; aios repair --recreate association_links makes the table anew of the rows that can be "
    "read and of what the memories say of their links"
)
_DOING = "checking"
_COLUMN = "it follows within seconds of a write, else aios repair brings it up to date"


@dataclass(frozen=True)
class CheckReport:
    """What `check` found."""

    database: str
    memories: int
    links: int
    bytes: int
    """Read of tables and index."""
    faults: tuple[Fault, ...]

    @property
    def whole(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.faults


def check(
    path: str | os.PathLike[str], *, config: Config | None = None, progress: Progress = silent
) -> CheckReport:
    """Read every byte of a database and compare what can be compared; nothing is changed.

    Of each memory its content with its ``content_hash``, its vector, metadata, id, its column of links with
    their table, and everything that the search index knows of it, its words among it, with the row; of each
    link its ends and values; the rows of the tables beside them; and all other files with their checksums, or
    with what they have to be. It takes some 100 bytes of memory for each memory and link, and as much as the
    search index. Others may write meanwhile: one state of the database is read, which stays until then.

    Parameters
    ----------
    path
        The database directory.
    config
        The language of the search index, and how long to wait for a writer.
    progress
        Told how many bytes are read, again and again.

    Raises
    ------
    OperationalError
        There is no database, or another process is writing or compacting for too long.
    """
    config = config or Config()
    database = expanded(path).absolute()
    if not database.is_dir() or not any(database.glob("*.lance")):
        raise OperationalError(f"{database} holds no aios_db database")
    refuse_special(database, database / INDEX)
    return _Check(database, config, progress).run()


class _Check:
    def __init__(self, database: Path, config: Config, progress: Progress) -> None:
        self._database, self._config, self._progress = database, config, progress
        self._faults = Faults(database)
        self._read, self._size = 0, 1
        self._unshown: Unshown | None = None

    def run(self) -> CheckReport:
        with self._held():
            with self._alone():
                links = open_table(self._faults, association_links.TABLE, _LINKS)
                self._unshown = UnshownFile(self._database).read()
                stored = open_table(self._faults, memories.TABLE, SALVAGE)
                others = {table: open_table(self._faults, table, records.remedy(table)) for table in RECORDS}
                segments = index_.segments(self._database)
            tables = [each for each in (stored, links, *others.values()) if each is not None]
            self._size = sum(map(size_of, tables)) + sum(map(index_.size_of, segments)) + 1
            for each in tables:
                check_history(self._faults, each)
            if links is not None and not has_columns(self._faults, links, association_links.SCHEMA, _LINKS):
                links = None
            if stored is not None and not has_columns(
                self._faults, stored, _memories_schema(stored), SALVAGE
            ):
                stored = None
            check_marker(self._faults, stored.schema if stored else None)
            check_files(self._faults)
            looked_at = [index_.check_files(self._faults, each, self._on_bytes) for each in segments]
            whole = False not in looked_at
            memory_count, link_count = self._memories_and_links(stored, links, compare=whole)
            for table, dataset in others.items():
                if dataset is not None:
                    self._records(table, dataset)
        self._progress(_DOING, self._size, self._size)
        return CheckReport(str(self._database), memory_count, link_count, self._read, self._faults.all())

    def _memories_and_links(
        self, stored: lance.LanceDataset | None, links: lance.LanceDataset | None, *, compare: bool
    ) -> tuple[int, int]:
        for each in (stored, links):
            if each is not None:
                check_lookups(self._faults, each)
        if stored is None:
            return 0, 0
        index = self._index(stored, links) if compare and links is not None else None
        dimension = stored.schema.field("text_embedding").type.list_size
        one = MemoryChecks(self._faults, dimension)
        unshown = self._unshown.memory_ids(links) if links is not None and self._unshown else set()
        for file, read in batches(self._faults, stored, SALVAGE, self._on_bytes):
            batch = with_whole(read)
            one.look(file, batch)
            if index is not None:
                index.look(file, batch)
            if links is not None and unshown is not None:
                self._column(file, links, batch, unshown)
        other = LinkChecks(self._faults, one.ids())
        if links is not None:
            for file, batch in batches(self._faults, links, _LINKS, self._on_bytes):
                other.look(file, batch)
                if index is not None:
                    index.look_at_links(batch)
            other.end()
            if index is not None:
                index.end(stored.count_rows(), links=other.count == links.count_rows())
        return one.count, other.count

    def _index(self, stored: lance.LanceDataset, links: lance.LanceDataset) -> index_.IndexChecks | None:
        dimension = stored.schema.field("text_embedding").type.list_size
        try:
            with operational("reading the search index"):
                memories, language = as_read(stored), self._config.search.language
                index = SearchIndex.open(self._database / INDEX, dimension, language, memories=memories)
                index.sync(memories, links)
                return index_.IndexChecks(self._faults, index)
        except OperationalError:
            return None  # a table cannot be read, which its own check says

    def _column(
        self, file: Path, links: lance.LanceDataset, batch: pa.RecordBatch, unshown: Collection[str]
    ) -> None:
        """Compare the column of links, but of memories of which it is yet to be written."""
        try:
            with operational("reading links"):
                wanted = strongest_links(links, batch["memory_id"]).to_pylist()
        except OperationalError:
            return  # the table's own check says so
        compressed = batch[memories.CODE_FIELD.name].is_valid().to_pylist()
        names = batch["memory_id"].to_pylist()
        for number, said in enumerate(batch[COLUMN].to_pylist()):
            if said == wanted[number] or (said is None and compressed[number]) or names[number] in unshown:
                continue
            what = "the column association_links is not what the table says"
            self._faults.row(file, what, _COLUMN, str(names[number]))

    def _records(self, table: str, dataset: lance.LanceDataset) -> None:
        checks = records.RecordChecks(self._faults, table)
        if not has_columns(self._faults, dataset, RECORDS[table].SCHEMA, records.remedy(table)):
            return
        for file, batch in batches(self._faults, dataset, records.remedy(table), self._on_bytes):
            checks.look(file, batch)

    def _on_bytes(self, count: int) -> None:
        self._read += count
        self._progress(_DOING, min(self._read, self._size), self._size)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Keep others from removing what is being read."""
        if not os.access(self._database, os.W_OK):
            yield
            return
        try:
            with FileLock(self._database / COMPACTION_LOCK, timeout=self._config.storage.lock_timeout_s):
                yield
        except Timeout:
            raise OperationalError(
                f"another process is compacting {self._database}, or making a backup of it; try again"
            ) from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Open the tables while nobody writes, so that they are level with each other."""
        if not os.access(self._database, os.W_OK):
            yield
            return
        with WriteLock(self._database / LOCK, self._config.storage.lock_timeout_s).hold():
            yield


def _memories_schema(stored: lance.LanceDataset) -> pa.Schema:
    """Return what the columns of memories have to be, with vectors as long as there."""
    lengths = [
        each.type.list_size
        for each in stored.schema
        if each.name == "text_embedding" and pa.types.is_fixed_size_list(each.type)
    ]
    return memories.memories_schema(*lengths or [1])
