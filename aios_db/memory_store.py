"""`MemoryStore`: memories and links as Lance tables, changed through one write path."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

import lance

from aios_db import logs
from aios_db.disk.failures import operational
from aios_db.disk.lock import WriteLock
from aios_db.engine.weights.heaps import give_back_freed, limit_arenas
from aios_db.models.encoding import Encoder
from aios_db.schema.amounts import amount
from aios_db.schema.config import Config
from aios_db.schema.errors import Error, ProgrammingError
from aios_db.schema.homes import expanded
from aios_db.search.index import SearchIndex
from aios_db.security.restrictions import Restrictions
from aios_db.security.scope import EVERYTHING, Scope
from aios_db.store import directory as layout
from aios_db.store import forks
from aios_db.store.maintenance import Maintenance
from aios_db.store.opened import OpenDatabase
from aios_db.store.torn import uneven
from aios_db.store_parts import Parts

logger = logging.getLogger("aios_db.store")


class MemoryStore:
    """One open database directory; safe to share between threads.

    It names what its parts can do (`aios_db.store_parts`), each of which stands on the open database, its
    snapshot and its transactions, and knows no other than those that it uses.

    Attributes
    ----------
    database
        What is open, with the snapshot of its tables: see `OpenDatabase`, also for ``path``, ``config``,
        ``scope`` and others that have the same name here.
    parts
        What can be done with it.
    """

    _logging: Callable[[], object]

    def __init__(
        self, path: Path, found: layout.Opened, lock: WriteLock, config: Config, encoder: Encoder | None,
        *, read_only: bool, scope: Scope = EVERYTHING,
    ) -> None:  # fmt: skip
        self.database = opened = OpenDatabase(
            path, found, lock, config, encoder, read_only=read_only, scope=scope
        )
        storage = config.storage
        self._maintenance = Maintenance(self, storage.maintenance_delay_s, storage.compact_after_fragments)
        self.parts = parts = Parts(opened, self._maintenance, partial(_finish_without_scope, opened))

        self.path, self.config, self.scope, self.lock = path, config, scope, lock
        self.read_only, self.dimension, self.damaged = opened.read_only, opened.dimension, opened.damaged
        self.trust, self.metrics, self.versions = opened.trust, opened.metrics, opened.versions
        self.joint, self.origins, self.change_log = opened.joint, opened.origins, opened.change_log
        self.recalls, self.queries, self.history = opened.recalls, opened.queries, opened.history
        self.source_share = config.trust.source_share
        self.dataset, self.require = opened.dataset, opened.require
        self.refresh, self.read = opened.refresh, opened.read

        reading, deferring, changes = parts.reading, parts.deferring, parts.transactions
        self.rows, self.named, self.existing = reading.rows, reading.named, reading.existing
        self.stats, self.wall = reading.stats, reading.wall
        self.touch, self.asked, self.searched = deferring.touch, deferring.asked, deferring.searched
        self.flush, self.flush_if_possible = deferring.flush, deferring.flush_if_possible
        self.changes, self.broken_off = changes.changes, changes.broken_off
        self.as_one_change = changes.as_one_change

        self.remember, self.update = parts.writes.remember, parts.writes.update
        self.forget, self.erase = parts.forgetting.forget, parts.erasing.erase
        self.link, self.unlink = parts.link_writes.link, parts.link_writes.unlink
        self.adopt, self.adopt_links = parts.adopting.adopt, parts.adopting.adopt_links
        self.missing_origins = parts.adopting.missing_origins
        self.undo, self.restore = parts.undoing.undo, parts.undoing.restore
        self._bind_lifecycle(parts)

        with operational(f"opening {path}"):
            parts.transactions.finish_broken_off()
            parts.erasing.finish_broken_off()
            if not opened.read_only and opened.pending.is_owed:
                self.maintain_soon()  # unless whoever owes it is quicker
        forks.watch(self)

    def _bind_lifecycle(self, parts: Parts) -> None:
        held, back, consolidating = parts.quarantine, parts.taking_back, parts.consolidating
        self.release, self.releases, self.released_at = held.release, held.releases, held.released_at
        self.rollback_source = parts.rollback.rollback_source
        self.consolidations, self.undo_consolidation = back.log, back.undo_consolidation
        self.consolidate, self.summarize = consolidating.consolidate, consolidating.summarize
        self.supersede, self.fold = parts.renewal.supersede, parts.renewal.fold
        self.evict, self.evict_planned = parts.evicting.evict, parts.evicting.evict_planned
        self.compressor, self.compress_texts = parts.compressing.compressor, parts.compressing.compress_texts
        self.reconstruct_text = parts.compressing.reconstruct_text

        upkeep = parts.upkeep
        self.maintain, self.maintain_soon = upkeep.maintain, parts.transactions.maintain_soon
        self.hurry = upkeep.hurry
        self.optimize, self.compress, self.repair = upkeep.optimize, upkeep.compress, upkeep.repair
        self.replace_vectors, self.held = upkeep.replace_vectors, upkeep.held

    @property
    def memories(self) -> lance.LanceDataset:
        """The memories of the snapshot."""
        return self.database.snapshot.memories

    @property
    def links(self) -> lance.LanceDataset:
        """The links of the snapshot."""
        return self.database.snapshot.links

    @property
    def index(self) -> SearchIndex:
        """The search index over the snapshot."""
        return self.database.snapshot.index

    @property
    def encoder(self) -> Encoder:
        """The text encoder, at the weight version that made the vectors of the snapshot.

        Raises
        ------
        OperationalError
            When the store was opened without one.
        """
        return self.database.texts.encoder

    @property
    def source(self) -> str | None:
        """The source of all that is written, whatever it says itself; None leaves that to it."""
        return self.database.source

    @property
    def restrictions(self) -> Restrictions:
        """What SQL functions may read besides the database."""
        return self.database.restrictions

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
        path = expanded(path).absolute()
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
        notes = uneven(layout.table_path(path, table) for table in layout.TABLES)
        if notes and not (read_only or found.damaged):
            cls(path, found, lock, config, None, read_only=False)._bring_level(notes)
        return cls(path, found, lock, config, encoder, read_only=read_only, scope=scope)

    def _bring_level(self, notes: list[Path]) -> None:
        """Repair what is uneven since a table went back, forget the notes of that, and be closed."""
        try:
            report = self.repair()
        except Error as error:
            logger.warning("%s: aios repair brings memories and links level: %s", self.path, error)
        else:
            for note in notes:
                note.unlink(missing_ok=True)
            logger.warning(
                "%s: memories and links are brought level after a loss of power; gone, with no memory at an "
                "end: %s; made as missing: %s",
                self.path, amount(report.dangling_links, "link"), amount(report.missing_links, "link"),
                extra={"event": "brought_level"},
            )  # fmt: skip
        finally:
            self._maintenance.stop()
            self.database.let_go()

    def close(self) -> None:
        """Write what is pending and release everything; a second call does nothing."""
        if self.database.closed:
            return
        self._maintenance.stop()
        try:
            self.parts.upkeep.close()
        except Error as error:
            logger.warning(
                "closed without all that is derived (recall counts, the column association_links); what was "
                "written before is there, and aios repair brings the column up to date: %s",
                error,
            )
        self.database.let_go()
        give_back_freed()
        self._logging()

    def abandon(self) -> None:
        """Be closed in a forked child, untouched; see `aios_db.store.forks`."""
        self.database.abandon()


def _finish_without_scope(database: OpenDatabase) -> None:
    """Finish what is begun in a store that sees all memories, under the write lock."""
    path, lock = database.path, database.lock
    found = layout.open_directory(path, read_only=False, dimension=database.dimension, lock=lock)
    whole = MemoryStore(path, found, lock, database.config, None, read_only=False)  # finishes it
    whole.flush()
    whole.abandon()
