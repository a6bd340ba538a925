"""Text encoders that are open in this process, each once for all who use the same files in the same way."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable
from pathlib import Path
from weakref import WeakKeyDictionary, WeakValueDictionary

from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.schema.config import CpuConfig, DeviceConfig, EngineConfig, ValidationConfig


class SharedEngines:
    """Opens encoders, and closes each when the last who took it has given it back.

    A connection per user or per thread is common, and the weights are the largest part of one. Safe to use
    from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines = WeakValueDictionary[Hashable, ArrowEngine]()  # one who is gone gives nothing back
        self._users = WeakKeyDictionary[ArrowEngine, int]()

    def take(
        self,
        directory: Path,
        engine: EngineConfig,
        cpu: CpuConfig,
        device: DeviceConfig,
        validation: ValidationConfig,
    ) -> ArrowEngine:
        """Return the encoder of a model directory with these settings; see `ArrowEngine` for what is raised.

        One that was opened before a file of the directory changed is not returned.
        """
        key = (_files(directory), engine, cpu, device, validation)
        with self._lock:
            shared = self._engines.get(key)
            if shared is None:
                shared = self._engines[key] = ArrowEngine(
                    directory, engine=engine, cpu=cpu, device=device, validation=validation
                )
            self._users[shared] = self._users.get(shared, 0) + 1
            return shared

    def give_back(self, engine: ArrowEngine) -> None:
        """Note that somebody who took an encoder uses it no more."""
        with self._lock:
            self._users[engine] = self._users.get(engine, 1) - 1
            if self._users[engine]:
                return
            for key in [key for key, each in self._engines.items() if each is engine]:
                del self._engines[key]
        engine.close()

    def forget(self) -> None:
        """Share nothing that was opened so far: a child that was forked has not the threads it needs."""
        self._lock = threading.Lock()
        self._engines.clear()
        self._users.clear()


def _files(directory: Path) -> Hashable:
    """Return what tells a directory and the state of its files; those that are derived have hidden names."""
    entries = [each for each in os.scandir(directory) if each.is_file() and not each.name.startswith(".")]
    states = [(each.name, each.stat()) for each in entries]
    return str(directory.resolve()), tuple(
        sorted((name, state.st_ino, state.st_size, state.st_mtime_ns) for name, state in states)
    )


shared_engines = SharedEngines()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=shared_engines.forget)
