"""`MemoryStore`: memories and links as Lance tables, changed through one write path."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import uuid_utils
from numpy.typing import NDArray

from aios_db.models.following import Following
from aios_db.models.versions import WeightVersions
from aios_db.schema import association_links, memories, schema_migrations, validation_reports, weight_versions
from aios_db.schema.config import Config
from aios_db.schema.errors import Error, InterfaceError, OperationalError, ProgrammingError, ReadOnlyError
from aios_db.search.index import SearchIndex
from aios_db.search.source import NOTHING, Appended
from aios_db.store import directory as layout
from aios_db.store import links as links_
from aios_db.store.commit import commit, delete
from aios_db.store.compaction import clean_up, compact, compact_if_due, index_new_rows
from aios_db.store.embedding import Encoder, embed_missing
from aios_db.store.failures import operational
from aios_db.store.identity import first_of_each
from aios_db.store.linking import link_new
from aios_db.store.lock import WriteLock
from aios_db.store.maintenance import Maintenance
from aios_db.store.pending import Pending, count_accesses, write_pending
from aios_db.store.repair import RepairReport, repair
from aios_db.store.rows import complete, normalise
from aios_db.store.snapshot import handle, newest
from aios_db.store.stats import StoreStats, measure
from aios_db.store.strongest import write_first

logger = logging.getLogger("aios_db.store")

_BULK = 4_096

_RECORDS = (weight_versions.TABLE, validation_reports.TABLE, schema_migrations.TABLE)


class MemoryStore:
    """One open database directory; safe to share between threads.

    Attributes
    ----------
    memories, links
        The snapshot of the two Lance tables that reads see, until `refresh`.
    index
        The search index over that snapshot.
    path, config, read_only, dimension
        As opened; ``dimension`` is the length of a stored text vector.
    versions
        The weight versions installed in the database.
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
        self.versions = WeightVersions(path, lock)
        self._following = Following(self.versions)
        self._records: dict[str, lance.LanceDataset] = {}
        self._moving = threading.RLock()
        self._closed = self._closing = False
        self._loaded_at = -inf
        self._pending = Pending()
        self._maintenance = Maintenance(self, config.storage.maintenance_delay_s)
        with operational(f"opening {path}"):
            self.links = lance.dataset(layout.table_path(path, association_links.TABLE))
            self.memories = lance.dataset(layout.table_path(path, memories.TABLE))
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
        """The text encoder, at the weight version that made the vectors of the snapshot.

        Raises
        ------
        OperationalError
            When the store was opened without one.
        """
        if self._encoder is None:
            raise OperationalError("this store has no text model; give text_embedding with every memory")
        self._following.follow(self.memories, self._encoder)
        return self._encoder

    def dataset(self, table: str) -> lance.LanceDataset:
        """Return the current snapshot of a table by its name."""
        self._check_open()
        if table in _RECORDS:
            with operational(f"reading {table} of {self.path}"):
                if table not in self._records:
                    self._records[table] = lance.dataset(layout.table_path(self.path, table))
                self._records[table] = newest(self._records[table])
            return self._records[table]
        if table not in (memories.TABLE, association_links.TABLE):
            raise ProgrammingError(f"no table {table!r}")
        return self.memories if table == memories.TABLE else self.links

    def refresh(self) -> None:
        """Move the snapshot to the newest version of both tables; cheap when nothing changed."""
        self._check_open()
        with operational(f"reading {self.path}"):
            self._advance()

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
        hashes = distinct["content_hash"].combine_chunks()
        self.refresh()
        distinct = embed_missing(distinct, self.index.find_content(hashes) < 0, lambda: self.encoder)
        with self._writing("writing memories to"):
            known = self.index.find_content(hashes)
            if self._encoder is not None:
                self._following.follow(self.memories, self._encoder)
                distinct = self._following.without_stale(distinct)
            # Another process may have forgotten, since the look before encoding, what was known then, or have
            # exchanged the vectors for those of another weight version.
            distinct = embed_missing(distinct, known < 0, lambda: self.encoder)
            if distinct["text_weight_version"].null_count < len(distinct):
                self._following.record(self._encoder)
            ids = self._append(distinct, known, np.bincount(of_row))
        self._maintenance.notify()
        return [ids[place] for place in of_row]

    def forget(self, memory_ids: Sequence[str]) -> int:
        """Delete memories and the links at them; return how many there were.

        The memories go first: a crash in between leaves links without an end, which readers tolerate.
        """
        self._check_writable()
        for each in memory_ids:
            if not isinstance(each, str):
                raise ProgrammingError(f"cannot forget {each!r}; a memory_id is text")
        with self._writing("deleting memories of"):
            row_ids = np.unique(self.index.find_ids(list(memory_ids)))
            row_ids = row_ids[row_ids >= 0]
            if not len(row_ids):
                return 0
            gone = self.memories._take_rows(row_ids.tolist(), columns=["memory_id"])["memory_id"]
            self._move(memories_=delete(self.memories, row_ids))
            links, sources = links_.delete_at(self.links, gone)
            self._move(links=links)
        self._pending.relinked(sources)
        self._maintenance.notify()
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
        sources = given["source_id"].to_pylist()
        with self._writing("writing links to"):
            self._refuse_missing(sources + given["target_id"].to_pylist())
            written, count = links_.upsert(self.links, given)
            self._move(links=written)
        self._pending.relinked(sources)
        self._maintenance.notify()
        return count

    def replace_vectors(self, replacement: Callable[[lance.LanceDataset], pa.Table]) -> int:
        """Exchange text vectors in one commit; return how many.

        Parameters
        ----------
        replacement
            Called with the newest memories, under the write lock; returns ``memory_id``, ``text_embedding``
            and ``text_weight_version`` of those to change.
        """
        self._check_writable()
        with self._writing("exchanging the vectors of"):
            vectors = replacement(self.memories)
            if len(vectors):
                written = handle(self.memories)
                written.merge_insert(memories.KEY).when_matched_update_all().execute(vectors)
                self._move(memories_=written)
                self._following.outdated()
        return len(vectors)

    def touch(self, memory_ids: Sequence[str]) -> None:
        """Note that these memories, best first, were recalled together.

        Their ``access_count`` and ``last_access_at``, and the links between them, are written a moment later
        with those of other recalls. Does nothing when the store is read-only.
        """
        self._check_open()
        if memory_ids and not self.read_only and self.config.links.reinforce_recalled:
            self._pending.recalled(memory_ids)
            self._maintenance.notify()

    def maintain(self) -> None:
        """Write what is pending, compact what has become fragmented and save the index when it has grown."""
        self._write_pending()
        with operational(f"compacting {self.path}"):
            self.refresh()
            compact_if_due((self.memories, self.links), self._lock, self.path, self.config.storage)
            self.refresh()
            if not self.index.needs_save:
                return
            if self._loading() and not self._closing:
                self._maintenance.notify()
            else:
                self.index.save()

    def optimize(self) -> None:
        """Compact both tables whole, drop old versions and save the search index."""
        self._check_writable()
        self._write_pending()
        with operational(f"compacting {self.path}"):
            for dataset in (self.memories, self.links):
                written = compact(dataset, self._lock, everything=True)
                index_new_rows(written, 0)
                clean_up(written, self.config.storage.keep_versions_s)
            self.refresh()
            self.index.save()

    def repair(self) -> RepairReport:
        """Rebuild what is derived and remove what points nowhere; see `RepairReport`."""
        self._check_writable()
        self._write_pending()
        with self._writing("repairing"):
            memories_, links, report = repair(self.memories, self.links)
            with self._moving:
                shutil.rmtree(self.path / layout.INDEX, ignore_errors=True)
                index = SearchIndex.open(self.path / layout.INDEX, self.dimension)
                index.sync(memories_, links)
                self.index = index  # a reader finds the old one or the new one, never an empty one
                self._move(memories_, links)
            self.index.save()
        return report

    def stats(self) -> StoreStats:
        """Count what the current snapshot holds."""
        self._check_open()
        with operational(f"reading {self.path}"):
            return measure(self.path, self.memories, self.links)

    def close(self) -> None:
        """Write what is pending and release everything; a second call does nothing."""
        if self._closed:
            return
        self._maintenance.stop()
        try:
            self._closing = True
            if not self.read_only and (self._pending or self.index.needs_save):
                self.maintain()
        except Error as error:
            logger.warning("closed without writing recall counts: %s", error)
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise InterfaceError(f"the database {self.path} is closed")

    def _check_writable(self) -> None:
        self._check_open()
        if self.read_only:
            raise ReadOnlyError(f"{self.path} was opened with read_only=True")

    @contextmanager
    def _writing(self, doing: str) -> Iterator[None]:
        """Hold the write lock, at the newest version."""
        with self._lock.hold(), operational(f"{doing} {self.path}"):
            self._advance()
            yield

    def _advance(self) -> None:
        with self._moving:
            # The links first: every end of a link in that version is then among the memories.
            links = newest(self.links)
            memories_ = newest(self.memories)
            if memories_ is not self.memories:
                self._following.outdated()
            self._move(memories_, links)

    def _move(
        self,
        memories_: lance.LanceDataset | None = None,
        links: lance.LanceDataset | None = None,
        appended: Appended = NOTHING,
    ) -> None:
        """Make these versions the snapshot, and let the index catch up."""
        with self._moving:
            # Compared with None, since a dataset without rows is false.
            self.memories = self.memories if memories_ is None else memories_
            self.links = self.links if links is None else links
            self.index.sync(self.memories, self.links, appended)

    def _refuse_missing(self, memory_ids: list[str]) -> None:
        missing = np.flatnonzero(self.index.find_ids(memory_ids) < 0)
        if len(missing):
            names = ", ".join(sorted({memory_ids[each] for each in missing})[:5])
            raise ProgrammingError(f"cannot link: no memory {names}")

    def _append(self, distinct: pa.Table, known: NDArray[np.int64], given: NDArray[np.int64]) -> list[str]:
        """Commit the rows that are not ``known``, count those that are, and return the id of every row.

        ``given`` says how often each row was given.
        """
        old = known >= 0
        stored = self.memories._take_rows(
            known[old].tolist(), columns=["memory_id", "access_count", "last_access_at"]
        )
        ids = np.empty(len(distinct), object)
        ids[old] = stored["memory_id"].to_pylist()
        ids[~old] = [str(uuid_utils.uuid7()) for _ in range(int((~old).sum()))]
        new = complete(
            distinct.filter(pa.array(~old)), ids[~old].tolist(), given[~old] - 1, self.memories.schema
        )
        written = commit(self.memories, new, known[old], count_accesses(stored, given[old]))
        self._move(memories_=written, appended=Appended(memories=None if old.any() else new))
        if len(new):
            self._link(new)
        if len(new) >= _BULK:
            self._loaded_at = time.monotonic()
            if self.index.needs_save_now:
                self.index.save()
        return list(ids)

    def _link(self, new: pa.Table) -> None:
        """Link new memories; they are stored already, so a failure costs their links and no more."""
        try:
            links, made = link_new(self.memories, self.links, self.index, new, self.config.links)
            self._move(links=links, appended=Appended(links=made))
            sources = made["source_id"].unique()
            if len(new) >= _BULK:
                names = new["memory_id"].combine_chunks()
                self._move(memories_=write_first(self.memories, self.index.find_ids(names), names, made))
                sources = sources.filter(pc.invert(pc.is_in(sources, names)))
            self._pending.relinked(sources.to_pylist())
        except (Error, OSError, RuntimeError, ValueError) as error:
            logger.warning(
                "memories stored without their links: %s",
                error,
                extra={"database": str(self.path), "memories": len(new)},
            )

    def _loading(self) -> bool:
        """Tell whether memories are being written in bulk; what can wait then does."""
        return time.monotonic() - self._loaded_at < self.config.storage.maintenance_delay_s

    def _write_pending(self) -> None:
        """Write recall counts, reinforced links and the derived link column; on failure they stay pending."""
        if not self._pending:
            return
        work = self._pending.drain()
        try:
            with self._writing("writing recall counts of"):
                self._move(*write_pending(self.memories, self.links, self.index, work))
        except BaseException:
            self._pending.restore(work)
            raise
