"""Making a weight version the active one: its vectors made in the background, then exchanged at once."""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from aios_db.disk.lease import lease
from aios_db.encoder import LazyEncoder
from aios_db.models.reembedding import Reembedding
from aios_db.models.versions import WeightVersion
from aios_db.schema.database import REEMBEDDING
from aios_db.schema.errors import Error
from aios_db.schema.progress import Progress, silent

if TYPE_CHECKING:
    from aios_db.memory_store import MemoryStore

log = logging.getLogger("aios_db.models")

_running: weakref.WeakSet[BackgroundActivation] = weakref.WeakSet()


def activate(
    store: MemoryStore,
    model: str | Path,
    *,
    progress: Progress = silent,
    stop: threading.Event | None = None,
) -> WeightVersion:
    """Make the version in a model directory the active one of its space.

    For text the memories are embedded again first. Until all are, the version before answers queries, also in
    other processes; then one commit exchanges the vectors, and every process follows. Interrupted, it goes on
    when it is called again. One thread of one process does so at a time.

    Parameters
    ----------
    store
        Open for writing; it may be used meanwhile.
    model
        A model directory, or the name of one in ``engine.models_dir``.
    stop
        Set it to stop between two batches.

    Raises
    ------
    ModelNotFoundError
        There is no such model.
    ValidationError
        The version is quantized and has no passing report of its weights; the active one stays.
    ProgrammingError
        Its vectors have another length than those of this database.
    OperationalError
        The disk fails; the active one stays.
    """
    from aios_db.engine.catalog.find import find_model

    engine = store.config.engine
    version = store.versions.install(find_model(str(model), engine.models_dir))
    if version.space == "text":
        config = replace(store.config, engine=replace(engine, text_model=version.path))
        is_stopped = stop.is_set if stop is not None else lambda: False
        with (
            lease(store.path / REEMBEDDING, stopped=is_stopped) as mine,
            closing(LazyEncoder(config)) as encoder,
        ):
            if not mine or Reembedding(store, encoder).run(progress, stop) < 0:
                return version
            store.versions.set_active(version.version)
    else:
        store.versions.set_active(version.version)
    return replace(version, is_active=True)


class BackgroundActivation:
    """`activate` in a thread of its own, at low cost to those who use the store meanwhile.

    A process that ends stops it first, as `stop` does.

    Attributes
    ----------
    done, total
        Memories that have a new vector, and memories there are.
    error
        What ended it early, or None.
    """

    def __init__(self, store: MemoryStore, model: str | Path) -> None:
        self.done = self.total = 0
        self.error: Error | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(store, model), name="aios-activate", daemon=True
        )
        self._thread.start()
        _running.add(self)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; False when it has not come in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Stop after the batch at hand; what is made is kept for the next time."""
        self._stop.set()
        self._thread.join()

    def _run(self, store: MemoryStore, model: str | Path) -> None:
        try:
            activate(store, model, progress=self._progress, stop=self._stop)
        except Error as error:
            self.error = error
            log.error("activating %s failed: %s", model, error, extra={"path": str(model)})

    def _progress(self, doing: str, done: int, total: int) -> None:
        self.done, self.total = done, total


@atexit.register
def _stop_all() -> None:
    for each in list(_running):
        each.stop()
