"""`MemoryStore`: memories and links as Lance tables, changed through one write path."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from pathlib import Path

from aios_db import logs
from aios_db.engine.weights.pressure import give_back_freed, limit_arenas
from aios_db.schema.config import Config
from aios_db.schema.errors import Error, ProgrammingError
from aios_db.security.scope import EVERYTHING, Scope
from aios_db.store import directory as layout
from aios_db.store import forks
from aios_db.store.embedding import Encoder
from aios_db.store.failures import operational
from aios_db.store.lock import WriteLock
from aios_db.store.upkeep import Upkeep

logger = logging.getLogger("aios_db.store")


class MemoryStore(Upkeep):
    """One open database directory; safe to share between threads.

    Its parts lie in files of their own, each of which stands on those before: `OpenDatabase` (the snapshot),
    `Reading`, `Recording` (changes and their log), `Deferring` (what is written a moment later), `Guarding`
    (who may change what), `Forgetting`, `Relinking`, `Renewing`, `Writes`, `LinkWrites`, `Adopting`
    (exports), `Keeping` (quarantine and sources), `Undoing`, `Finishing` (what was broken off), `Erasing`,
    `Consolidating`, `Evicting`, `Compressing` and `Upkeep`.
    """

    _logging: Callable[[], object]

    def __init__(
        self, path: Path, found: layout.Opened, lock: WriteLock, config: Config, encoder: Encoder | None,
        *, read_only: bool, scope: Scope = EVERYTHING,
    ) -> None:  # fmt: skip
        super().__init__(path, found, lock, config, encoder, read_only=read_only, scope=scope)
        with operational(f"opening {path}"):
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

    def close(self) -> None:
        """Write what is pending and release everything; a second call does nothing."""
        if self.database.closed:
            return
        self._maintenance.stop()
        try:
            self._closing = True
            if not self.read_only and (
                self._pending or self.recalls.unwritten or self.queries.unwritten or self.index.needs_save
            ):
                self.maintain()
        except Error as error:
            logger.warning("closed without writing recall counts: %s", error)
        self.database.let_go()
        give_back_freed()
        self._logging()
