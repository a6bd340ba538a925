"""An open database: its tables at one version, level with each other, the index over them, and its locks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import inf
from pathlib import Path

import lance
from filelock import FileLock, Timeout

from aios_db.joint.encoders import Encoders
from aios_db.joint.reads import MediaReads
from aios_db.joint.space import Joint
from aios_db.lifecycle.past_queries import PastQueries
from aios_db.models.following import Following
from aios_db.models.versions import WeightVersions
from aios_db.observing.recorder import Metrics
from aios_db.provenance.policy import SourceTrust
from aios_db.provenance.releases import Releases
from aios_db.provenance.standing import Standing
from aios_db.schema import association_links, memories, quarantine_releases, weight_versions
from aios_db.schema.config import Config
from aios_db.schema.database import QUERIES
from aios_db.schema.errors import InterfaceError, OperationalError, ProgrammingError, ReadOnlyError
from aios_db.schema.tables import RECORDS
from aios_db.search.index import SearchIndex
from aios_db.search.source import NOTHING, Appended
from aios_db.security.restrictions import OPEN
from aios_db.security.scope import EVERYTHING, Scope
from aios_db.store import directory as layout
from aios_db.store import forks
from aios_db.store.beside import Damaged, open_level
from aios_db.store.change_log import ChangeLog
from aios_db.store.compaction import LOCK as COMPACTION_LOCK
from aios_db.store.embedding import Encoder
from aios_db.store.failures import operational
from aios_db.store.history import History
from aios_db.store.lock import WriteLock
from aios_db.store.origin import Origins
from aios_db.store.pending import Pending
from aios_db.store.recalls import Recalls
from aios_db.store.snapshot import newest

logger = logging.getLogger("aios_db.store")


class OpenDatabase:
    """What all parts of `MemoryStore` stand on: the snapshot that reads see, and how to move to the next.

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
    joint
        The joint space of text, sound and picture.
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
        self.path = path
        self.config = config
        self.damaged = Damaged(path, found.damaged)
        self.damaged.look()
        self.read_only = read_only or bool(self.damaged)
        self.restrictions, self.scope = OPEN, scope
        self.trust = SourceTrust(config.trust)
        self.metrics = Metrics(str(path), enabled=config.telemetry.metrics, texts=config.telemetry.texts)
        self.source: str | None = None
        self._releases = Releases(lambda: self._readable(quarantine_releases.TABLE))
        self.dimension = found.marker.dimension
        self._encoder = encoder
        self._lock = lock
        self.versions = WeightVersions(path, lock, config)
        self._following = Following(self.versions)
        self.joint = Joint(
            self,
            Encoders(config, lambda: self.encoder, self._record_encoder),
            self.versions,
            lambda: self._readable(weight_versions.TABLE),
            MediaReads(path / layout.MEDIA_READ),
        )
        self._records: dict[str, lance.LanceDataset] = {}
        self._moving = threading.RLock()
        self._closed = self._closing = self._inherited = False
        self._loaded_at = -inf
        self._pending = Pending()
        self._cleaned: dict[str, int] = {}
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
            self.memories, self.links, self.index = open_level(
                self._open, self._new_index, self.damaged, partial(layout.check_dimension, path, found.marker)
            )
            self.history = History(
                lambda: (self.memories, self.links), self._past_index, self.change_log.records, scope
            )
        self.read_only = self.read_only or bool(self.damaged)
        if self.damaged:
            self.damaged.warn()

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

    def _record_encoder(self, version: str, modality: str) -> None:
        if not self.read_only:
            self.versions.record_plugged(version, modality)

    def _readable(self, table: str) -> lance.LanceDataset | None:
        return None if table in self.damaged else self.dataset(table)

    def refresh(self) -> None:
        """Move the snapshot to the newest version of both tables; cheap when nothing changed."""
        self._check_open()
        with operational(f"reading {self.path}"):
            self._advance()

    def abandon(self) -> None:
        """Be closed in a forked child, untouched; see `aios_db.store.forks`."""
        self._closed = self._inherited = True

    # Inside

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
            self._finish_begun()
            yield

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
        if self.scope:
            directory /= self.scope.directory
        index = SearchIndex.open(
            None if self.config.search.index == "memory" else directory,
            self.dimension,
            self.config.search.language,
            self.scope,
            Standing(self.trust, self._releases),
            packs=self.config.search.index == "auto",
        )
        index.with_counts = self.recalls.with_counts
        return index

    def _past_index(self) -> SearchIndex:
        standing = Standing(
            self.trust, self._releases, lambda: 0.0
        )  # nothing had expired that is shown there
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

    def _loading(self) -> bool:
        """Tell whether memories are being written in bulk; what can wait then does."""
        return time.monotonic() - self._loaded_at < self.config.storage.maintenance_delay_s

    def _finish_begun(self) -> None:
        """Bring to its end what another process began, before anything is written: `Finishing` knows how."""
