"""The consolidator: one for a database, in a process of its own, that consolidates when that is due."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from aios_db.config.variables import as_environment
from aios_db.lifecycle.schedule import Schedule
from aios_db.schema.amounts import amount
from aios_db.schema.database import CONSOLIDATOR
from aios_db.schema.errors import Error, OperationalError

if TYPE_CHECKING:
    from aios_db.memory_store import MemoryStore
    from aios_db.schema.consolidations import Report

logger = logging.getLogger("aios_db.lifecycle")

_NICENESS = 19
_STOP_S = 30.0
_STEP_S = 1.0  # at most, between looks at the clock


@contextmanager
def lease(directory: Path) -> Iterator[None]:
    """Be the one consolidator of a database; the system ends it with the process, however that ends.

    Raises
    ------
    OperationalError
        Another one is running.
    """
    try:
        with FileLock(directory / CONSOLIDATOR, timeout=0):
            yield
    except Timeout as error:
        raise OperationalError(
            f"another consolidator is running for {directory}: consolidator.json says which process it is"
        ) from error


class Consolidator:
    """Consolidates a database when that is due.

    Parameters
    ----------
    store
        The database, which nobody else closes meanwhile.
    """

    def __init__(self, store: MemoryStore) -> None:
        store.scope.refuse("a consolidator")
        self._store, self._config = store, store.config.consolidation

    def once(self, trigger: str = "manual") -> list[Report]:
        """Consolidate now; evict and compress, too, where the configuration says so.

        Raises
        ------
        OperationalError
            Another consolidator is running.
        """
        with lease(self._store.path):
            return self._consolidate(trigger)

    def run(self, stop: threading.Event) -> None:
        """Consolidate whenever it is due, until ``stop`` is set; what fails is logged, and tried again."""
        with lease(self._store.path):
            schedule = Schedule(self._store, self._config)
            schedule.begin()
            logger.info(
                "consolidator of %s is running", self._store.path, extra={"event": "consolidator_started"}
            )
            while not stop.is_set():
                self._step(schedule)
                self._wait(stop)

    def _step(self, schedule: Schedule) -> None:
        try:
            trigger = schedule.due(time.time())
            if trigger is not None:
                self._consolidate(trigger)
                schedule.done(trigger, time.time())
        except (Error, OSError) as error:
            logger.warning("consolidation failed: %s", error, extra={"event": "consolidation_failed"})

    def _wait(self, stop: threading.Event) -> None:
        left = self._config.check_interval_s
        while left > 0 and not stop.wait(min(left, _STEP_S)):
            left -= _STEP_S

    def _consolidate(self, trigger: str) -> list[Report]:
        options = {"min_age_s": self._config.min_age_s} if trigger != "manual" else {}
        reports = self._store.consolidate(options, trigger=trigger)
        if self._config.evict:
            gone = self._store.evict_planned()
            logger.info("evicted or erased: %s", amount(len(gone), "memory"), extra={"event": "evicted"})
        if self._config.compress:
            packed = self._store.compress()
            logger.info("compressed: %s", amount(packed.memories, "memory"), extra={"event": "compressed"})
        return reports


class BackgroundConsolidator:
    """A consolidator in a process that this one started, with the same configuration."""

    def __init__(self, store: MemoryStore) -> None:
        store.scope.refuse("a consolidator")
        command = [sys.executable, "-m", "aios_db.cli", "--db", str(store.path), "consolidator", "run"]
        environment = {**os.environ, **as_environment(store.config)}
        environment.pop("AIOS_CONFIG", None)
        # Not where this process is: a file aios.yaml there says the same, or less, than the environment.
        self._process = subprocess.Popen(command, env=environment, cwd=store.path, stdin=subprocess.DEVNULL)

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it is."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it, after the consolidation it may be in; twice is harmless."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()  # what it was doing is finished by the next one
                self._process.wait()

    def __enter__(self) -> BackgroundConsolidator:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def run_until_stopped(store: MemoryStore) -> None:
    """Run a consolidator in this process, politely, until it is told to end by SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    be_polite()
    Consolidator(store).run(stop)


def be_polite() -> None:
    """Let every other process come first: what a consolidation takes is taken of what is left over."""
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
