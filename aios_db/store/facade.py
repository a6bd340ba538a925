"""What callers ask of an open store, besides what it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path

import lance

from aios_db.schema.config import Config
from aios_db.search.index import SearchIndex
from aios_db.search.source import NOTHING, Appended
from aios_db.security.restrictions import Restrictions
from aios_db.security.scope import EVERYTHING, Scope
from aios_db.store import directory as layout
from aios_db.store.change_log import Draft, Versions
from aios_db.store.embedding import Encoder
from aios_db.store.lock import WriteLock
from aios_db.store.maintenance import Maintenance
from aios_db.store.opened import OpenDatabase
from aios_db.store.reading import Reading
from aios_db.store.transaction import Transaction, Transactions


class Facade:
    """An open database and its transactions, for the parts of `MemoryStore` that are built on each other."""

    def __init__(
        self, path: Path, found: layout.Opened, lock: WriteLock, config: Config, encoder: Encoder | None,
        *, read_only: bool, scope: Scope = EVERYTHING,
    ) -> None:  # fmt: skip
        self.database = database = OpenDatabase(
            path, found, lock, config, encoder, read_only=read_only, scope=scope
        )
        self.path, self.config, self.scope, self.lock = path, config, scope, lock
        self.read_only, self.dimension, self.damaged = (
            database.read_only,
            database.dimension,
            database.damaged,
        )
        self.trust, self.metrics, self.versions = database.trust, database.metrics, database.versions
        self.joint, self.origins, self.change_log = database.joint, database.origins, database.change_log
        self.recalls, self.queries, self.history = database.recalls, database.queries, database.history
        self.dataset, self.require, self.refresh = database.dataset, database.require, database.refresh
        self.abandon = database.abandon
        self._pending, self._texts = database.pending, database.texts
        self._check_open, self._check_writable = database.check_open, database.check_writable
        self._compacting = database.compacting
        self.transactions = Transactions(database, self._finish)
        self.changes, self.broken_off = self.transactions.changes, self.transactions.broken_off
        self.as_one_change = self.transactions.as_one_change
        self.source_share = config.trust.source_share
        self._reading = reading = Reading(database)
        self.rows, self.named, self.existing = reading.rows, reading.named, reading.existing
        self.stats, self.wall = reading.stats, reading.wall
        self._begun: list[Transaction] = []
        self._maintenance = Maintenance(self, config.storage.maintenance_delay_s)  # type: ignore[arg-type]
        self._cleaned: dict[str, int] = {}
        self._closing = False
        self._loaded_at = -inf

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
        """The text encoder, at the weight version that made the vectors of the snapshot."""
        return self.database.texts.encoder

    @property
    def source(self) -> str | None:
        """The source of all that is written, whatever it says itself; None leaves that to it."""
        return self.database.source

    @property
    def restrictions(self) -> Restrictions:
        """What SQL functions may read besides the database."""
        return self.database.restrictions

    # For the parts that are built on each other

    def _finish(self, transaction: Transaction) -> None:
        self._begun.append(transaction)
        try:
            self._finish_begun()
        finally:
            self._begun.pop()

    def _finish_begun(self) -> None:
        """Bring to its end what another process began, before anything is written: `Finishing` knows how."""

    def _loading(self) -> bool:
        """Tell whether memories are being written in bulk; what can wait then does."""
        return time.monotonic() - self._loaded_at < self.config.storage.maintenance_delay_s

    def _versions(self) -> Versions:
        return self.database.snapshot.versions

    @contextmanager
    def _writing(self, doing: str) -> Iterator[Transaction]:
        with self.transactions.writing(doing) as transaction:
            self._begun.append(transaction)
            try:
                yield transaction
            finally:
                self._begun.pop()

    @contextmanager
    def _changing(
        self, call: str, doing: str, *, undoes: int | None = None, at_end: Callable[[], None] = lambda: None
    ) -> Iterator[Draft]:
        with self.transactions.changing(call, doing, undoes=undoes, at_end=at_end) as transaction:
            self._begun.append(transaction)
            try:
                yield transaction.draft
            finally:
                self._begun.pop()

    def _written(
        self,
        memories_: lance.LanceDataset | None = None,
        links: lance.LanceDataset | None = None,
        appended: Appended = NOTHING,
    ) -> None:
        self._begun[-1].publish(memories=memories_, links=links, appended=appended)
