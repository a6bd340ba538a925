"""An open database: its snapshot, how to move to the next one, its locks, and what lies beside its tables."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import lance
from filelock import FileLock, Timeout

from aios_db.disk.failures import operational
from aios_db.disk.lock import WriteLock
from aios_db.joint.clip import ClipSpace
from aios_db.joint.encoders import Encoders
from aios_db.joint.reads import MediaReads
from aios_db.joint.space import Joint
from aios_db.models.encoding import Encoder
from aios_db.models.versions import WeightVersions
from aios_db.observing.recorder import Metrics
from aios_db.schema import quarantine_releases, weight_versions
from aios_db.schema.association_links import TABLE as LINKS
from aios_db.schema.config import Config
from aios_db.schema.database import QUERIES
from aios_db.schema.errors import InterfaceError, OperationalError, ProgrammingError, ReadOnlyError
from aios_db.schema.homes import expanded
from aios_db.schema.memories import TABLE as MEMORIES
from aios_db.schema.tables import RECORDS
from aios_db.search.index import SearchIndex
from aios_db.search.source import NOTHING, Appended
from aios_db.search.standing import Standing
from aios_db.security.restrictions import OPEN
from aios_db.security.scope import EVERYTHING, Scope
from aios_db.store import directory as layout
from aios_db.store import forks
from aios_db.store.beside import Damaged, open_level
from aios_db.store.change_log import ChangeLog
from aios_db.store.compaction import LOCK as COMPACTION_LOCK
from aios_db.store.embedding import TextVectors
from aios_db.store.history import History
from aios_db.store.memories_table import as_read
from aios_db.store.origin import Origins
from aios_db.store.past_queries import PastQueries
from aios_db.store.pending import Pending
from aios_db.store.recalls import Recalls
from aios_db.store.snapshot import Level, Snapshot, newest
from aios_db.store.steady import again_if_removed
from aios_db.trust.policy import SourceTrust
from aios_db.trust.releases import Releases

logger = logging.getLogger("aios_db.store")

_T = TypeVar("_T")


class OpenDatabase:
    """What all parts of `MemoryStore` stand on.

    Attributes
    ----------
    snapshot
        What reads see, until `refresh`.
    path, config, read_only, dimension
        As opened; ``dimension`` is the length of a stored text vector.
    lock
        The write lock.
    versions
        The weight versions installed in the database.
    texts, joint
        The text vectors of memories, and the joint space of text, sound and picture.
    history
        Earlier versions.
    scope
        What is seen and changed of the memories.
    restrictions
        What SQL functions may read besides the database.
    recalls
        How often memories were recalled, which the tables do not say.
    queries
        A sample of what was asked.
    pending
        The memories of which the column of links is yet to be written.
    damaged
        Tables beside the memories that cannot be read; while there are any, nothing is written.
    trust
        How much sources are trusted.
    source
        The source of all that is written, whatever it says itself; None leaves that to it.
    metrics
        How often and how long operations took.
    origins, change_log
        Which statements run, and what was changed by whom.
    """

    def __init__(
        self, path: Path, found: layout.Opened, lock: WriteLock, config: Config, encoder: Encoder | None,
        *, read_only: bool, scope: Scope = EVERYTHING,
    ) -> None:  # fmt: skip
        self.path, self.config, self.lock = path, config, lock
        self.damaged = Damaged(path, found.damaged)
        self.damaged.look()
        self.read_only = read_only or bool(self.damaged)
        self.restrictions, self.scope = OPEN, scope
        self.trust = SourceTrust(config.trust)
        self.metrics = Metrics(str(path), enabled=config.telemetry.metrics, texts=config.telemetry.texts)
        self.source: str | None = None
        self._releases = Releases(lambda: self._readable(quarantine_releases.TABLE))
        self.dimension = found.marker.dimension
        self.versions = WeightVersions(path, lock, config)
        self.texts = TextVectors(encoder, self.versions, lambda: self.snapshot.memories)
        self.joint = Joint(
            self,
            Encoders(config, lambda: self.texts.encoder, self._record_encoder),
            self.versions,
            lambda: self._readable(weight_versions.TABLE),
            MediaReads(path / layout.MEDIA_READ),
            lambda in_use: ClipSpace(
                in_use,
                self.versions,
                lock,
                expanded(config.engine.models_dir),
                lambda: not self.read_only,
            ),
        )
        self._records: dict[str, lance.LanceDataset] = {}
        self._moving = threading.RLock()
        self.closed = self._inherited = False
        self.pending = Pending(path)
        self.origins = Origins()
        self.change_log = ChangeLog(path, config.storage.keep_changes)
        with operational(f"opening {path}"):
            self.recalls = Recalls(path / layout.RECALLS, read_only=self.read_only)
            self.queries = PastQueries(
                path / QUERIES, config.consolidation.past_queries, read_only=self.read_only
            )
        with operational(f"opening {path}"):
            self._session = lance.Session(  # type: ignore[attr-defined]
                index_cache_size_bytes=config.storage.index_cache_bytes,
                metadata_cache_size_bytes=config.storage.metadata_cache_bytes,
            )
            check = partial(layout.check_dimension, path, found.marker)
            self.snapshot = Snapshot(*open_level(self._open, self.new_index, self.damaged, check))
            self.history = History(
                lambda: self.snapshot.tables, self._past_index, self.change_log.records, scope
            )
        self.read_only = self.read_only or bool(self.damaged)
        if self.damaged:
            self.damaged.warn()

    def dataset(self, table: str) -> lance.LanceDataset:
        """Return the current snapshot of a table by its name; anything asked of a damaged one raises."""
        self.check_open()
        if table in self.damaged:
            return self.damaged.table(table)  # type: ignore[no-any-return]
        if table in RECORDS:
            with operational(f"reading {table} of {self.path}"):
                if table not in self._records:
                    self._records[table] = self._open(table)
                self._records[table] = newest(self._records[table])
            return self._records[table]
        if table not in (MEMORIES, LINKS):
            raise ProgrammingError(f"no table {table!r}")
        return self.snapshot.memories if table == MEMORIES else self.snapshot.links

    def require(self, table: str) -> None:
        """Raise an `OperationalError` where a table is damaged."""
        self.damaged.require(table)

    def check_open(self) -> None:
        """Raise an `InterfaceError` when it is closed."""
        if self._inherited:
            raise forks.is_inherited(f"the database {self.path}")
        if self.closed:
            raise InterfaceError(f"the database {self.path} is closed")

    def check_writable(self) -> None:
        """Raise a `ReadOnlyError` when nothing may be written."""
        self.check_open()
        if self.damaged:
            raise ReadOnlyError(self.damaged.why_read_only)
        if self.read_only:
            raise ReadOnlyError(f"{self.path} was opened with read_only=True")

    @contextmanager
    def compacting(self) -> Iterator[None]:
        """Be the only one who removes versions; who makes a backup holds that lock, too."""
        try:
            with FileLock(self.path / COMPACTION_LOCK, timeout=self.config.storage.lock_timeout_s):
                yield
        except Timeout as error:
            raise OperationalError(
                f"another process is compacting {self.path} or making a backup of it; try again"
            ) from error

    # From snapshot to snapshot

    def refresh(self) -> Snapshot:
        """Move to the newest version of both tables and return it; cheap when nothing changed."""
        self.check_open()
        with operational(f"reading {self.path}"):
            return self.advance()

    def advance(self) -> Snapshot:
        """Move to the newest version, as `refresh`, whoever has closed what."""
        with self._moving:
            now = again_if_removed(self._move, lambda: self._sound(self.snapshot))
        self.recalls.refresh()
        return now

    def read(self, how: Callable[[Level], _T]) -> _T:
        """Return what is read of the newest version, without the write lock.

        ``how`` is given what does not move, and called again where others remove files of it meanwhile.
        """
        self.check_open()
        read: list[lance.LanceDataset] = []

        def once() -> _T:
            with self._moving:
                level = self.advance().level()
            read[:] = self._sound(level)
            return how(level)

        with operational(f"reading {self.path}"):
            return again_if_removed(once, lambda: read)

    def publish(
        self,
        memories: lance.LanceDataset | None = None,
        links: lance.LanceDataset | None = None,
        appended: Appended = NOTHING,
    ) -> Snapshot:
        """Make these versions the snapshot, let its index catch up, and return it."""
        with self._moving:
            self.snapshot = now = self.snapshot.moved(memories, links)
            now.index.sync(now.memories, now.links, appended)
        return now

    def publish_anew(self, memories: lance.LanceDataset, links: lance.LanceDataset) -> Snapshot:
        """Make these versions the snapshot, with an index that is made anew; under the write lock."""
        with self._moving:
            shutil.rmtree(self.path / layout.INDEX, ignore_errors=True)
            index = self.new_index(memories)
            index.sync(memories, links)
            # In one assignment after the work: a reader finds the old index or the new, never an empty one.
            self.snapshot = now = self.snapshot.moved(memories, links, index)
        return now

    def new_index(self, memories: lance.LanceDataset) -> SearchIndex:
        """Return a search index of what is saved of the database's own, to be brought up to ``memories``."""
        directory = self.path / layout.INDEX
        if self.scope:
            directory /= self.scope.directory
        return SearchIndex.open(
            None if self.config.search.index == "memory" else directory,
            self.dimension,
            self.config.search.language,
            self.scope,
            Standing(self.trust, self._releases),
            packs=self.config.search.index == "auto",
            with_counts=self.recalls.with_counts,
            memories=memories,
        )

    def let_go(self) -> None:
        """Be closed, and keep what an idle program keeps of a closed database: no caches, no index."""
        # A change that goes on keeps its index to its end: without one it would find no memory that it names.
        with self.lock.without_writers_here(), self._moving:
            self.closed = True
            self._session = lance.Session()  # type: ignore[attr-defined]
            self.snapshot = self.snapshot.moved(index=SearchIndex.open(None, self.dimension))
            self._records.clear()

    def abandon(self) -> None:
        """Be closed in a forked child, untouched; see `aios_db.store.forks`."""
        self.closed = self._inherited = True

    def _sound(self, level: Level) -> list[lance.LanceDataset]:
        return [level.memories, *(() if LINKS in self.damaged else (level.links,))]

    def _move(self) -> Snapshot:
        now = self.snapshot
        # The links first: every end of a link in that version is then among the memories.
        links = now.links if LINKS in self.damaged else newest(now.links)
        memories = newest(now.memories)
        if memories is not now.memories:
            self.texts.outdated()
        return self.publish(memories, links)

    def _open(self, table: str) -> lance.LanceDataset:
        found = lance.dataset(layout.table_path(self.path, table), session=self._session)
        return as_read(found) if table == MEMORIES else found

    def _past_index(self) -> SearchIndex:
        # Nothing had expired that is shown there.
        standing = Standing(self.trust, self._releases, lambda: 0.0)
        return SearchIndex.open(None, self.dimension, self.config.search.language, self.scope, standing)

    def _readable(self, table: str) -> lance.LanceDataset | None:
        return None if table in self.damaged else self.dataset(table)

    def _record_encoder(self, version: str, modality: str) -> None:
        if not self.read_only:
            self.versions.record_plugged(version, modality)
