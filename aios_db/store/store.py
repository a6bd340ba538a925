"""`MemoryStore`: memories and links as Lance tables, changed through one write path."""

from __future__ import annotations

import logging
import shutil
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from aios_db import logs
from aios_db.engine.weights.pressure import give_back_freed, limit_arenas
from aios_db.models.following import Following
from aios_db.models.versions import WeightVersions
from aios_db.provenance.policy import SourceTrust
from aios_db.provenance.releases import Releases
from aios_db.provenance.standing import Standing
from aios_db.schema import association_links, memories, quarantine_releases
from aios_db.schema.changes import REEMBED
from aios_db.schema.config import Config
from aios_db.schema.errors import Error, InterfaceError, OperationalError, ProgrammingError, ReadOnlyError
from aios_db.schema.retrieval import Rows
from aios_db.schema.tables import RECORDS
from aios_db.search.index import SearchIndex
from aios_db.search.levels import FULLY
from aios_db.search.source import NOTHING, Appended
from aios_db.security.restrictions import OPEN
from aios_db.security.scope import EVERYTHING, Scope
from aios_db.security.walls import LinksWall, MemoriesWall
from aios_db.store import directory as layout
from aios_db.store import forks
from aios_db.store import links as links_
from aios_db.store.apart import apart
from aios_db.store.beside import Damaged, open_level
from aios_db.store.change_log import ChangeLog
from aios_db.store.compaction import LOCK as COMPACTION_LOCK
from aios_db.store.compaction import clean_up, compact, compact_if_due, index_new_rows
from aios_db.store.durable import DurableTable
from aios_db.store.embedding import Encoder
from aios_db.store.erasing import Erasing
from aios_db.store.failures import operational
from aios_db.store.history import History
from aios_db.store.known import Stored
from aios_db.store.linking import link_missing
from aios_db.store.lock import WriteLock
from aios_db.store.maintenance import Maintenance
from aios_db.store.origin import Origins
from aios_db.store.pending import Pending, write_column, write_pairs
from aios_db.store.recalls import Pair, Recalls
from aios_db.store.recording import OneChange
from aios_db.store.repair import RepairReport, repair
from aios_db.store.snapshot import handle, newest
from aios_db.store.stats import StoreStats, measure

logger = logging.getLogger("aios_db.store")

_MOST_PAIRS = 4_096  # wait to become links


class MemoryStore(Erasing):
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
    history
        Earlier versions.
    scope
        What is seen and changed of the memories.
    restrictions
        What SQL functions may read besides the database.
    recalls
        How often memories were recalled, which the tables do not say.
    damaged
        Tables beside the memories that cannot be read; while there are any, nothing is written.
    trust
        How much sources are trusted.
    source
        The source of all that is written, whatever it says itself; None leaves that to it.
    origins, change_log
        Which statements run, and what was changed by whom.
    """

    _logging: Callable[[], object]

    def __init__(
        self, path: Path, found: layout.Opened, lock: WriteLock, config: Config, encoder: Encoder | None,
        *, read_only: bool, scope: Scope = EVERYTHING,
    ) -> None:  # fmt: skip
        self.path = path
        self.config = config
        self.damaged = Damaged(path, found.damaged)
        self.damaged.look()
        self.read_only = read_only or bool(self.damaged)
        self.restrictions, self.scope = OPEN, scope
        self.trust, self.source = SourceTrust(config.trust), None
        self._releases = Releases(lambda: self._readable(quarantine_releases.TABLE))
        self.dimension = found.marker.dimension
        self._encoder = encoder
        self._lock = lock
        self.versions = WeightVersions(path, lock, config)
        self._following = Following(self.versions)
        self._records: dict[str, lance.LanceDataset] = {}
        self._moving = threading.RLock()
        self._closed = self._closing = self._inherited = False
        self._loaded_at = -inf
        self._pending = Pending()
        self._cleaned: dict[str, int] = {}
        self.origins = Origins()
        self.change_log = ChangeLog(path, config.storage.keep_changes)
        self._unforced, self._one = None, OneChange()
        with operational(f"opening {path}"):
            self.recalls = Recalls(path / layout.RECALLS, read_only=self.read_only)
        self._maintenance = Maintenance(self, config.storage.maintenance_delay_s)
        self._durable = {
            table: DurableTable(layout.table_path(path, table))
            for table in (memories.TABLE, association_links.TABLE)
        }
        with operational(f"opening {path}"):
            self._session = lance.Session(  # type: ignore[attr-defined]
                index_cache_size_bytes=config.storage.index_cache_bytes,
                metadata_cache_size_bytes=config.storage.metadata_cache_bytes,
            )
            self.memories, self.links, self.index = open_level(
                self._open, self._new_index, self.damaged, partial(layout.check_dimension, path, found.marker)
            )
            self.history = History(
                lambda: (self.memories, self.links), self._past_index, self.change_log.records, scope
            )
        self.read_only = self.read_only or bool(self.damaged)
        if self.damaged:
            self.damaged.warn()
        self._finish_broken_off()
        forks.watch(self)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        read_only: bool = False,
        config: Config | None = None,
        encoder: Encoder | None = None,
        scope: Scope = EVERYTHING,
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
        scope
            See and change only what is in it, as if there were nothing else.

        Raises
        ------
        SchemaVersionError
            When a newer aios_db made the database.
        OperationalError
            When the path is a file, a foreign directory or not writable.
        ProgrammingError
            When the encoder's vectors have another length than the stored ones.
        """
        forks.refuse_if_lost()
        config = config or Config()
        limit_arenas(config.storage.malloc_arenas)
        path = Path(path).expanduser().absolute()
        release = logs.use(config.logging)
        try:
            store = cls._open_at(path, config, encoder, read_only=read_only, scope=scope)
        except BaseException:
            release()
            raise
        store._logging = weakref.finalize(store, release)
        return store

    @classmethod
    def _open_at(
        cls, path: Path, config: Config, encoder: Encoder | None, *, read_only: bool, scope: Scope
    ) -> MemoryStore:
        lock = WriteLock(path / layout.LOCK, config.storage.lock_timeout_s)
        dimension = encoder.dimension if encoder else config.storage.dimension
        found = layout.open_directory(path, read_only=read_only, dimension=dimension, lock=lock)
        if encoder and encoder.dimension != found.marker.dimension:
            raise ProgrammingError(
                f"{path} stores vectors of {found.marker.dimension} numbers, the text model makes "
                f"{encoder.dimension}; set engine.text_model to the model it was made with"
            )
        return cls(path, found, lock, config, encoder, read_only=read_only, scope=scope)

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

    @property
    def source_share(self) -> float:
        """Share of an answer that one source may have that is not trusted fully."""
        return self.config.trust.source_share

    def dataset(self, table: str) -> lance.LanceDataset:
        """Return the current snapshot of a table by its name; anything asked of a damaged one raises."""
        self._check_open()
        if table in self.damaged:
            return self.damaged.table(table)  # type: ignore[no-any-return]
        if table in RECORDS:
            with operational(f"reading {table} of {self.path}"):
                if table not in self._records:
                    self._records[table] = self._open(table)
                self._records[table] = newest(self._records[table])
            return self._records[table]
        if table not in (memories.TABLE, association_links.TABLE):
            raise ProgrammingError(f"no table {table!r}")
        return self.memories if table == memories.TABLE else self.links

    def require(self, table: str) -> None:
        """Raise an `OperationalError` where a table is damaged."""
        self.damaged.require(table)

    def _readable(self, table: str) -> lance.LanceDataset | None:
        return None if table in self.damaged else self.dataset(table)

    def refresh(self) -> None:
        """Move the snapshot to the newest version of both tables; cheap when nothing changed."""
        self._check_open()
        with operational(f"reading {self.path}"):
            self._advance()

    def rows(self, memory_ids: Sequence[str]) -> tuple[NDArray[np.bool_], pa.Table]:
        """Return which memories are there now, and all columns of those, in their order."""
        self.refresh()
        return self._whole(self.index.find_ids(list(memory_ids)))

    def named(self, keys: Sequence[str]) -> tuple[NDArray[np.bool_], pa.Table]:
        """Return the same of memories by their `schema.identity.external_key`."""
        self.refresh()
        return self._whole(Stored(self.memories, self.index).exactly(keys, [""] * len(keys)))

    def _whole(self, rows: Rows) -> tuple[NDArray[np.bool_], pa.Table]:
        """Return which row ids are not -1, and all columns of those, as a reader sees them."""
        stored = self.memories._take_rows(rows[rows >= 0].tolist()).combine_chunks()
        counted = [self.recalls.with_counts(batch) for batch in stored.to_batches()]
        return rows >= 0, pa.Table.from_batches(counted, stored.schema)

    def existing(self, memory_ids: Sequence[str]) -> list[bool]:
        """Tell of each memory_id whether the newest version has such a memory."""
        self.refresh()
        found: list[bool] = (self.index.find_ids(list(memory_ids)) >= 0).tolist()
        return found

    def link(self, links: pa.Table, *, exactly: bool = False) -> int:
        """Insert links between memories; one that exists gets the greater weight and one more evidence.

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
        IntegrityError
            The store's source is trusted less than both ends.
        DataError
            For a NULL, an empty kind, a weight outside (0, 1] or a memory linked to itself.
        """
        self._check_writable()
        given = links_.normalise(links)
        if not len(given):
            return 0
        sources = given["source_id"].to_pylist()
        with self._changing("link", "writing links to") as draft:
            self._refuse_ends(sources, given["target_id"].to_pylist())
            self._refuse_links_beyond(sources, given["target_id"].to_pylist())
            written, draft.links = links_.upsert(self.links, given, exactly=exactly)
            self._written(links=written)
        self._pending.relinked(sources)
        self._maintenance.notify()
        return draft.links

    def unlink(self, links: pa.Table) -> int:
        """Delete links; return how many there were.

        Parameters
        ----------
        links
            Columns ``source_id``, ``target_id`` and ``kind``.
        """
        self._check_writable()
        with self._changing("unlink", "deleting links of") as draft:
            self._refuse_links_beyond(*(links[name].to_pylist() for name in ("source_id", "target_id")))
            written, sources, draft.links = links_.delete_named(self.links, self._visible_links(links))
            if draft.links:
                self._written(links=written)
        self._pending.relinked(sources)
        self._maintenance.notify()
        return draft.links

    def replace_vectors(self, replacement: Callable[[lance.LanceDataset], pa.Table]) -> int:
        """Exchange text vectors in one commit; return how many.

        Parameters
        ----------
        replacement
            Called with the newest memories, under the write lock; returns ``memory_id``, ``text_embedding``
            and ``text_weight_version`` of those to change.
        """
        self._check_writable()
        with self._changing(REEMBED, "exchanging the vectors of") as draft:
            vectors = replacement(self.memories)
            draft.updated = len(vectors)
            if len(vectors):
                written = handle(self.memories)
                written.merge_insert(memories.KEY).when_matched_update_all().execute(vectors)
                self._written(memories_=written)
                self._following.outdated()
        return len(vectors)

    def touch(self, memory_ids: Sequence[str]) -> None:
        """Note that these memories, best first, were recalled together.

        Their ``access_count`` and ``last_access_at`` count at once in this process and a moment later in
        others; links between them are written after `storage.link_recalled_s`. No table changes for a count.
        Does nothing when the store is read-only.
        """
        self._check_open()
        if memory_ids and not self.read_only and self.config.links.reinforce_recalled:
            if self.index.has_below(FULLY):  # what is trusted less takes no place among the best
                classes = self.index.classes(self.index.find_ids(list(memory_ids)))
                memory_ids = [memory_ids[place] for place in np.argsort(classes, kind="stable").tolist()]
            ceiling = None if self.source is None else self.trust.of(self.source)
            self.recalls.add(memory_ids, apart(self.index, memory_ids, self.scope, ceiling))
            self._maintenance.notify()

    def maintain(self) -> None:
        """Write what is pending, compact what has become fragmented and save the index when it has grown."""
        self._finish_broken_off()
        self._write_pending()
        with operational(f"compacting {self.path}"):
            self.refresh()
            tables = self.memories, self.links
            compacted = compact_if_due(tables, self._lock, self.path, self.config.storage, self._cleaned)
            self.refresh()
            if compacted:
                give_back_freed()  # hundreds of commits leave the heap in pieces
            if not self.index.needs_save:
                return
            if self._loading() and not self._closing:
                self._maintenance.notify()
            else:
                self.index.save()

    def flush(self) -> None:
        """Write recall counts and the derived link column now, and not a moment later."""
        self._check_open()
        if not self.read_only:
            self._write_pending()

    def flush_if_possible(self) -> None:
        """`flush` before the database is read, which a full disk must not keep from being done."""
        try:
            self.flush()
        except OperationalError as error:
            logger.warning("reading without what could not be written: %s", error)

    def optimize(self) -> None:
        """Compact both tables whole, drop old versions and save the search index."""
        self._check_writable()
        self._write_pending(everything=True)
        with self._compacting(), operational(f"compacting {self.path}"):
            self.refresh()
            for dataset in (self.memories, self.links):
                written = compact(dataset, self._lock, everything=True)
                index_new_rows(written, self._lock, 0)
                clean_up(written, self.config.storage)
            self.refresh()
            self.index.save()

    def repair(self) -> RepairReport:
        """Rebuild what is derived and remove what points nowhere; see `RepairReport`."""
        self._check_writable()
        self.scope.refuse("repair")
        self._write_pending()
        with self._changing("repair", "repairing") as draft:
            memories_, links, report = repair(self.memories, self.links)
            self.renew_index(memories_, links)
            links, made = link_missing(self.memories, self.links, self.index, self.config.links)
            self._written(links=links)
            self._pending.relinked(made["source_id"].unique().to_pylist())
            draft.links = report.dangling_links + report.repeated_links + len(made)
            self.index.save()
        self._write_pending()
        return replace(report, missing_links=len(made))

    def stats(self) -> StoreStats:
        """Count what the current snapshot holds."""
        self._check_open()
        with operational(f"reading {self.path}"):
            measured = measure(self.path, self.memories, self.links)
        if not self.scope:
            return measured
        return replace(measured, memories=len(self.index), links=self.index.link_count)

    def wall(self, table: str) -> MemoriesWall | LinksWall | None:
        """Return what a view of a table leaves out; None where it shows all."""
        if not self.scope or table not in (memories.TABLE, association_links.TABLE):
            return None
        if table == memories.TABLE:
            return MemoriesWall(self.scope, lambda: self.index)
        return LinksWall(lambda: self.index)

    def close(self) -> None:
        """Write what is pending and release everything; a second call does nothing."""
        if self._closed:
            return
        self._maintenance.stop()
        try:
            self._closing = True
            if not self.read_only and (self._pending or self.recalls.unwritten or self.index.needs_save):
                self.maintain()
        except Error as error:
            logger.warning("closed without writing recall counts: %s", error)
        self._closed = True
        # What an idle program keeps of a closed store: no caches, no index.
        self._session = lance.Session()  # type: ignore[attr-defined]
        self.index = SearchIndex.open(None, self.dimension)
        self._records.clear()
        pa.default_memory_pool().release_unused()
        give_back_freed()
        self._logging()

    def abandon(self) -> None:
        """Be closed in a forked child, untouched; see `aios_db.store.forks`."""
        self._closed = self._inherited = True

    def _check_open(self) -> None:
        if self._inherited:
            raise forks.is_inherited(f"the database {self.path}")
        if self._closed:
            raise InterfaceError(f"the database {self.path} is closed")

    def _check_writable(self) -> None:
        self._check_open()
        if self.damaged:
            raise ReadOnlyError(self.damaged.why_read_only)
        if self.read_only:
            raise ReadOnlyError(f"{self.path} was opened with read_only=True")

    @contextmanager
    def held(self) -> Iterator[tuple[lance.LanceDataset, lance.LanceDataset]]:
        """Yield the newest memories and links, level with each other, which are not cleaned up meanwhile."""
        self.flush_if_possible()
        if self.read_only:
            self.refresh()
            yield self.memories, self.links
            return
        with self._compacting():
            with self._writing("reading"):
                found = self.memories, self.links
            yield found

    @contextmanager
    def _compacting(self) -> Iterator[None]:
        """Be the only one who removes versions; who makes a backup holds that lock, too."""
        try:
            with FileLock(self.path / COMPACTION_LOCK, timeout=self.config.storage.lock_timeout_s):
                yield
        except Timeout as error:
            raise OperationalError(
                f"another process is compacting {self.path} or making a backup of it; try again"
            ) from error

    @contextmanager
    def _writing(self, doing: str) -> Iterator[None]:
        """Hold the write lock, at the newest version."""
        with self._lock.hold(), operational(f"{doing} {self.path}"):
            self._advance()
            self._finish_undo()
            self._finish_change()
            yield

    def _finish_without_scope(self) -> None:
        found = layout.open_directory(self.path, read_only=False, dimension=self.dimension, lock=self._lock)
        whole = MemoryStore(self.path, found, self._lock, self.config, None, read_only=False)  # finishes it
        whole.flush()
        whole.abandon()
        self._advance()

    def _advance(self) -> None:
        with self._moving:
            # The links first: every end of a link in that version is then among the memories.
            links = self.links if association_links.TABLE in self.damaged else newest(self.links)
            memories_ = newest(self.memories)
            if memories_ is not self.memories:
                self._following.outdated()
            self._move(memories_, links)
        self.recalls.refresh()

    def _open(self, table: str) -> lance.LanceDataset:
        return lance.dataset(layout.table_path(self.path, table), session=self._session)

    def _new_index(self) -> SearchIndex:
        directory = self.path / layout.INDEX
        index = SearchIndex.open(
            directory / self.scope.directory if self.scope else directory,
            self.dimension,
            self.config.search.language,
            self.scope,
            Standing(self.trust, self._releases),
        )
        index.with_counts = self.recalls.with_counts
        return index

    def renew_index(self, memories: lance.LanceDataset, links: lance.LanceDataset) -> None:
        """Move to versions of the tables with an index that is made anew; the caller has the write lock."""
        with self._moving:
            shutil.rmtree(self.path / layout.INDEX, ignore_errors=True)
            index = self._new_index()
            index.sync(memories, links)
            self.index = index  # a reader finds the old one or the new one, never an empty one
            self._written(memories, links)

    def _past_index(self) -> SearchIndex:
        standing = Standing(self.trust, self._releases)
        return SearchIndex.open(None, self.dimension, self.config.search.language, self.scope, standing)

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

    def _written(
        self,
        memories_: lance.LanceDataset | None = None,
        links: lance.LanceDataset | None = None,
        appended: Appended = NOTHING,
    ) -> None:
        """Move to versions that this process wrote, when they are on the disk if that is promised."""
        if self.config.storage.durability == "full":
            for table, dataset in ((memories, memories_), (association_links, links)):
                if dataset is not None:
                    self._force_table(table.TABLE, dataset)
        self._move(memories_, links, appended)

    def _refuse_ends(self, sources: list[str], targets: list[str]) -> None:
        """Raise where a link would have no end, or lead from one user to another."""
        names = sources + targets
        rows = self.index.find_ids(names)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            told = ", ".join(sorted({names[each] for each in missing})[:5])
            raise ProgrammingError(f"cannot link: no memory {told}")
        first, second = np.split(self.index.users(rows), 2)
        across = np.flatnonzero((first != second) & (first != 0) & (second != 0))
        if len(across):
            raise ProgrammingError(
                f"cannot link {sources[across[0]]} and {targets[across[0]]}: they are of different users"
            )

    def _visible_links(self, keys: pa.Table) -> pa.Table:
        wall = self.wall(association_links.TABLE)
        if wall is None or not len(keys):
            return keys
        return pa.Table.from_batches([wall.visible(batch) for batch in keys.to_batches()], keys.schema)

    def _loading(self) -> bool:
        """Tell whether memories are being written in bulk; what can wait then does."""
        return time.monotonic() - self._loaded_at < self.config.storage.maintenance_delay_s

    def _write_pending(self, *, everything: bool = False) -> None:
        """Write recall counts, reinforced links and the derived link column; on failure they stay pending.

        Links wait for more of their kind, unless ``everything`` is to be written.
        """
        recalls, due_s = self.recalls, self.config.storage.link_recalled_s
        with operational(f"writing recall counts of {self.path}"):
            recalls.flush(self._is_there)
        if recalls.pairs and (everything or recalls.waiting_s >= due_s or recalls.pairs >= _MOST_PAIRS):
            self._link_recalled()
        relinked = self._pending.drain()
        if not relinked:
            return
        try:
            with self._writing("writing links into memories of"):
                self._written(write_column(self.memories, self.links, self.index, relinked))
        except BaseException:
            self._pending.relinked(relinked)
            raise

    def _is_there(self, digests: NDArray[np.bytes_]) -> NDArray[np.bool_]:
        if self.scope:  # of those of others, nobody here can tell
            return np.ones(len(digests), np.bool_)
        return self.index.find_digests(digests) >= 0

    def _own_pairs(self, pairs: Counter[Pair]) -> Counter[Pair]:
        """Return the pairs of known memories; give the others back, which another process may know."""
        digests = np.array(sorted({each for pair in pairs for each in pair}), "S16")
        known = set(digests[self.index.find_digests(digests) >= 0].tolist())
        own = Counter({pair: times for pair, times in pairs.items() if known.issuperset(pair)})
        self.recalls.back(pairs - own)
        return own

    def _link_recalled(self) -> None:
        with self._writing("linking what was recalled together in"):
            pairs = self.recalls.take_pairs()
            if self.scope:
                pairs = self._own_pairs(pairs)
            try:
                links, relinked = write_pairs(self.links, self.index, pairs)
            except BaseException:
                self.recalls.back(pairs)
                raise
            self._written(links=links)
            self._pending.relinked(relinked)
