"""`MemoryStore`: memories and links as Lance tables, changed through one write path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import uuid_utils
from numpy.typing import NDArray

from aios_db.schema import association_links, memories
from aios_db.schema.config import Config
from aios_db.schema.errors import InterfaceError, OperationalError, ProgrammingError, ReadOnlyError
from aios_db.store import directory as layout
from aios_db.store import links as links_
from aios_db.store.failures import operational
from aios_db.store.filters import row_filter
from aios_db.store.identity import first_of_each
from aios_db.store.lock import WriteLock
from aios_db.store.rows import normalise
from aios_db.store.scan_index import ScanIndex as SearchIndex
from aios_db.store.vectors import Encoder, as_array, encode, scatter, text_to_embed


@dataclass(frozen=True)
class RepairReport:
    """What `MemoryStore.repair` mended."""

    dangling_links: int
    """Links removed because an end was missing."""
    link_columns: int
    """Memories whose ``association_links`` column was rewritten."""


@dataclass(frozen=True)
class StoreStats:
    """How much a database holds."""

    memories: int
    links: int
    memory_version: int
    link_version: int
    fragments: int
    bytes: int


class MemoryStore:
    """One open database directory; safe to share between threads.

    Attributes
    ----------
    memories, links
        The snapshot of the two Lance tables that reads see, until `refresh`.
    index
        The search index over that snapshot.
    """

    def __init__(
        self, path: Path, marker: layout.Marker, lock: WriteLock, config: Config, encoder: Encoder | None,
        *, read_only: bool,
    ) -> None:  # fmt: skip
        self.path = path
        self.config = config
        self.read_only = read_only
        self.dimension = marker.dimension
        self._encoder = encoder
        self._lock = lock
        self._closed = False
        with operational(f"opening {path}"):
            self.memories = lance.dataset(layout.table_path(path, memories.TABLE))
            self.links = lance.dataset(layout.table_path(path, association_links.TABLE))
            self.index = SearchIndex.open(path / layout.INDEX, marker.dimension)
            self.index.sync(self.memories, self.links)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        read_only: bool = False,
        config: Config | None = None,
        encoder: Encoder | None = None,
    ) -> MemoryStore:
        """Open the database in the directory ``path``; make it when there is none.

        Parameters
        ----------
        path
            A database directory, an empty directory, or a path where there is nothing yet.
        read_only
            Take no lock and write no file; works on a read-only directory.
        config
            Configuration; the default values when absent.
        encoder
            Embeds texts that come without a vector; its dimension is the new database's.

        Raises
        ------
        SchemaVersionError
            When a newer aios_db made the database.
        OperationalError
            When the path is a file, a foreign directory or not writable.
        ProgrammingError
            When the encoder's vectors have another length than the stored ones.
        """
        config = config or Config()
        path = Path(path).expanduser().absolute()
        lock = WriteLock(path / layout.LOCK, config.storage.lock_timeout_s)
        dimension = encoder.dimension if encoder else config.storage.dimension
        marker = layout.open_directory(path, read_only=read_only, dimension=dimension, lock=lock)
        if encoder and encoder.dimension != marker.dimension:
            raise ProgrammingError(
                f"{path} stores vectors of {marker.dimension} numbers, the text model makes "
                f"{encoder.dimension}; set engine.text_model to the model it was made with"
            )
        return cls(path, marker, lock, config, encoder, read_only=read_only)

    @property
    def encoder(self) -> Encoder:
        """The text encoder.

        Raises
        ------
        OperationalError
            When the store was opened without one.
        """
        if self._encoder is None:
            raise OperationalError("this store has no text model; give text_embedding with every memory")
        return self._encoder

    def dataset(self, table: str) -> lance.LanceDataset:
        """Return the current snapshot of a table by its name."""
        self._check_open()
        if table not in (memories.TABLE, association_links.TABLE):
            raise ProgrammingError(f"no table {table!r}")
        return self.memories if table == memories.TABLE else self.links

    def refresh(self) -> None:
        """Move the snapshot to the newest version of both tables; cheap when nothing changed."""
        self._check_open()
        with operational(f"reading {self.path}"):
            self._advance()

    def take(self, row_ids: NDArray[np.uint64], columns: Sequence[str]) -> pa.Table:
        """Return rows of `memories` by Lance row id.

        Parameters
        ----------
        row_ids
            uint64 ``(n,)``.
        columns
            Column names; ``_rowid`` is one.

        Returns
        -------
        pa.Table
            The rows in the order asked. A row that is no longer there is left out.
        """
        self._check_open()
        with operational(f"reading memories of {self.path}"):
            return self.memories._take_rows(np.asarray(row_ids, np.uint64).tolist(), columns=list(columns))

    def remember(self, rows: pa.Table) -> list[str]:
        """Store memories, each content once in its scope.

        Texts are embedded first, without the lock; then one commit adds the memories and one their links.

        Parameters
        ----------
        rows
            Columns out of `aios_db.schema.memories.WRITABLE`; types are coerced, see `normalise`.

        Returns
        -------
        list of str
            One memory id a row, in order; rows with equal content in one scope share theirs.

        Raises
        ------
        ProgrammingError
            For an unknown column.
        DataError
            For a value that does not fit, with its row's number; nothing is stored then.
        OperationalError
            When the disk fails or is full; nothing is stored then.
        """
        self._check_writable()
        given = normalise(rows, self.dimension)
        if not len(given):
            return []
        first, of_row = first_of_each(given["content_hash"].to_pylist())
        distinct = given.take(pa.array(first))
        self.refresh()
        distinct = self._embed(distinct, self.index.find_content(distinct["content_hash"].to_pylist()) < 0)
        with self._lock.hold(), operational(f"writing memories to {self.path}"):
            self._advance()
            known = self.index.find_content(distinct["content_hash"].to_pylist())
            # Another process may have forgotten, since the look before encoding, what was known then.
            distinct = self._embed(distinct, known < 0)
            ids = self._append(distinct, known, of_row)
            self._count_repeats(known, of_row)
        return [ids[place] for place in of_row]

    def forget(self, memory_ids: Sequence[str]) -> int:
        """Delete memories and the links at them; return how many there were.

        The memories go first: a crash in between leaves links without an end, which readers tolerate.
        """
        self._check_writable()
        with self._lock.hold(), operational(f"deleting memories of {self.path}"):
            self._advance()
            row_ids = np.unique(self.index.find_ids(list(memory_ids)))
            row_ids = row_ids[row_ids >= 0]
            if not len(row_ids):
                return 0
            found = self.memories._take_rows(row_ids.tolist(), columns=["memory_id"])["memory_id"]
            _handle(self.memories).delete(row_filter(row_ids))
            ends = pc.field("source_id").isin(found) | pc.field("target_id").isin(found)
            _handle(self.links).delete(ends)
            self._advance()
        return len(row_ids)

    def link(self, links: pa.Table) -> int:
        """Insert links between memories; one that exists gets the new weight and one more evidence.

        Parameters
        ----------
        links
            Columns ``source_id``, ``target_id``, ``kind`` (default "user") and ``weight`` (default 1.0).

        Returns
        -------
        int
            How many distinct links were given.

        Raises
        ------
        ProgrammingError
            For an unknown column, or an end that is no memory.
        DataError
            For a NULL, an empty kind, a weight outside (0, 1] or a memory linked to itself.
        """
        self._check_writable()
        given = links_.normalise(links)
        if not len(given):
            return 0
        with self._lock.hold(), operational(f"writing links to {self.path}"):
            self._advance()
            self._refuse_missing(given["source_id"].to_pylist() + given["target_id"].to_pylist())
            count = links_.upsert(_handle(self.links), given)
            self._advance()
        return count

    def touch(self, memory_ids: Sequence[str]) -> None:
        """Note that these memories were recalled together; written later, with others."""

    def optimize(self) -> None:
        """Compact both tables, bring their indices up to date and save the search index."""
        self._check_writable()
        with self._lock.hold(), operational(f"compacting {self.path}"):
            self._advance()
            for dataset in (_handle(self.memories), _handle(self.links)):
                dataset.optimize.compact_files()
                dataset.optimize.optimize_indices()
            self._advance()
            self.index.save()

    def stats(self) -> StoreStats:
        """Count what the current snapshot holds."""
        self._check_open()
        with operational(f"reading {self.path}"):
            return StoreStats(
                memories=self.memories.count_rows(),
                links=self.links.count_rows(),
                memory_version=self.memories.version,
                link_version=self.links.version,
                fragments=len(self.memories.get_fragments()) + len(self.links.get_fragments()),
                bytes=sum(each.stat().st_size for each in self.path.rglob("*") if each.is_file()),
            )

    def close(self) -> None:
        """Release everything; a second call does nothing."""
        self._closed = True

    def _refuse_missing(self, memory_ids: list[str]) -> None:
        missing = np.flatnonzero(self.index.find_ids(memory_ids) < 0)
        if len(missing):
            names = ", ".join(sorted({memory_ids[each] for each in missing})[:5])
            raise ProgrammingError(f"cannot link: no memory {names}")

    def _check_open(self) -> None:
        if self._closed:
            raise InterfaceError(f"the database {self.path} is closed")

    def _check_writable(self) -> None:
        self._check_open()
        if self.read_only:
            raise ReadOnlyError(f"{self.path} was opened with read_only=True")

    def _advance(self) -> None:
        # The links first: every end of a link in that version is then among the memories.
        self.links, self.memories = (
            each if each.version == (version := each.latest_version) else each.checkout_version(version)
            for each in (self.links, self.memories)
        )
        self.index.sync(self.memories, self.links)

    def _embed(self, rows: pa.Table, wanted: NDArray[np.bool_]) -> pa.Table:
        """Return ``rows`` with a vector for those that are ``wanted``, have text and have none yet."""
        column = rows["text_embedding"].combine_chunks()
        missing = column.is_null().to_numpy(zero_copy_only=False) & wanted
        texts = [
            text_to_embed(title, text)
            for title, text in zip(rows["title"].to_pylist(), rows["text"].to_pylist(), strict=True)
        ]
        chosen = np.array([row for row in np.flatnonzero(missing) if texts[row]], np.int64)
        if not len(chosen):
            return rows
        encoder = self.encoder
        vectors = as_array(encode(encoder, [texts[row] for row in chosen], self.dimension))
        made = pa.array(np.isin(np.arange(len(rows)), chosen))
        filled = {
            "text_embedding": pc.if_else(made, scatter(vectors, chosen, len(rows)), column),
            "text_weight_version": pc.if_else(made, encoder.version, rows["text_weight_version"]),
        }
        for name, values in filled.items():
            rows = rows.set_column(rows.schema.get_field_index(name), name, values)
        return rows

    def _append(self, distinct: pa.Table, known: NDArray[np.int64], of_row: NDArray[np.int64]) -> list[str]:
        """Commit the rows that are not ``known`` and return the id of every row."""
        ids = np.empty(len(distinct), object)
        old = known >= 0
        if old.any():
            ids[old] = self.memories._take_rows(known[old].tolist(), columns=["memory_id"])[
                "memory_id"
            ].to_pylist()
        ids[~old] = [str(uuid_utils.uuid7()) for _ in range(int((~old).sum()))]
        new = distinct.filter(pa.array(~old))
        if len(new):
            repeats = np.bincount(of_row, minlength=len(distinct))[~old] - 1
            _handle(self.memories).insert(self._complete(new, ids[~old].tolist(), repeats))
            self._advance()
        return list(ids)

    def _complete(self, new: pa.Table, ids: list[str], repeats: NDArray[np.int64]) -> pa.Table:
        """Add the columns that the store fills in."""
        now = datetime.now(timezone.utc)
        schema = self.memories.schema
        columns = {name: new[name] for name in new.column_names}
        columns["memory_id"] = pa.array(ids)
        columns["created_at"] = pa.array([now] * len(new), memories.TIMESTAMP)
        columns["access_count"] = pa.array(repeats)
        for name in schema.names:
            if name not in columns:
                columns[name] = pa.nulls(len(new), schema.field(name).type)
        return pa.table([columns[name] for name in schema.names], schema=schema)

    def _count_repeats(self, known: NDArray[np.int64], of_row: NDArray[np.int64]) -> None:
        """Raise ``access_count`` of memories that were there and are given again."""
        given = np.bincount(of_row, minlength=len(known))
        for count in np.unique(given[known >= 0]):
            changes = {"access_count": f"access_count + {count}", "last_access_at": "now()"}
            _handle(self.memories).update(changes, where=row_filter(known[(known >= 0) & (given == count)]))
            self._advance()


def _handle(dataset: lance.LanceDataset) -> lance.LanceDataset:
    """Return a handle to write through: Lance moves it, and readers keep the snapshot they have."""
    return dataset.checkout_version(dataset.version)
