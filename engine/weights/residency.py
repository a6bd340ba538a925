"""Keep the weights in memory under a limit, and let go of them when memory is short.

The least recently used unit goes first. What is in use stays.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import lru_cache
from typing import Protocol
from weakref import WeakKeyDictionary, ref

from aios_db.engine.weights.heaps import give_back_freed
from aios_db.engine.weights.pressure import Pressure, read_memory
from aios_db.schema.amounts import amount

log = logging.getLogger("aios_db.engine.weights")

LOOK_S = 1.0
"""Seconds between two looks at the memory that is left."""


class Unit(Protocol):
    """Weights that are loaded and released together, like a layer of a model."""

    def resident_bytes(self) -> int:
        """Return how many bytes of them are in this process's memory."""

    def release(self) -> None:
        """Let go of that memory; the next use brings it back."""


@lru_cache
def shared_residency(max_bytes: int, least_available: float) -> ResidencyManager:
    """Return the manager of this process's models with these settings: together they keep to them."""
    return ResidencyManager(max_bytes, Pressure(least_available, read_memory))


class ResidencyManager:
    """The units in memory, of one model or of several that share a limit; safe to use from several threads.

    Parameters
    ----------
    max_bytes
        Most bytes resident between two uses; 0 is no limit. One unit in use may be larger.
    pressure
        When memory is short: then units that are not in use are released until it is not, at the end of a
        use and, while units are in memory, once a second by a thread.
    """

    def __init__(self, max_bytes: int = 0, pressure: Pressure | None = None) -> None:
        self.max_bytes, self.pressure = max_bytes, pressure
        self._lock = threading.Lock()
        self._used: WeakKeyDictionary[Unit, int] = WeakKeyDictionary()  # least recently used first
        self._in_use: dict[Unit, int] = {}
        self._looked = 0.0
        self._watcher: threading.Thread | None = None

    def begin(self, unit: Unit) -> None:
        """Note that ``unit`` is in use and must stay."""
        with self._lock:
            self._in_use[unit] = self._in_use.get(unit, 0) + 1

    def end(self, unit: Unit) -> None:
        """Note that a use of ``unit`` is over, and release what is over the limit."""
        with self._lock:
            users = self._in_use.pop(unit) - 1
            if users:
                self._in_use[unit] = users
            self._used.pop(unit, None)
            self._used[unit] = unit.resident_bytes() if self.max_bytes else 0
            if self.max_bytes:
                self._evict()
        if self.pressure is not None and self.pressure.least_share:
            self._watch()
            if time.monotonic() - self._looked > LOOK_S:
                self.relieve()

    def forget(self, unit: Unit) -> None:
        """Note that ``unit`` has been released."""
        with self._lock:
            self._used.pop(unit, None)

    def relieve(self) -> int:
        """Release units that are not in use, as long as memory is short; return how many.

        Safe to call at any time; it asks the system.
        """
        self._looked = time.monotonic()
        if self.pressure is None or not self.pressure.is_high():
            return 0
        released = 0
        with self._lock:
            for unit in list(self._used):
                if unit in self._in_use:
                    continue
                self._used.pop(unit)
                unit.release()
                released += 1
                give_back_freed()
                if not self.pressure.is_high():
                    break
        if released:
            log.warning(
                "memory is short: released the weights of %s", amount(released, "unused layer"),
                extra={"event": "weights_released", "layers": released},
            )  # fmt: skip
        return released

    def _evict(self) -> None:
        total = sum(self._used.values())
        for unit in list(self._used):
            if total <= self.max_bytes:
                return
            if unit not in self._in_use:
                size = self._used.pop(unit)
                unit.release()
                total -= size
                log.debug("released %d bytes of weights, %d resident", size, total)

    def _watch(self) -> None:
        """See to it that a thread looks at the memory also while nothing runs."""
        if self._watcher is not None and self._watcher.is_alive():
            return
        with self._lock:
            if self._watcher is None or not self._watcher.is_alive():
                self._watcher = threading.Thread(
                    target=_look_on, args=(ref(self),), name="aios_db weights", daemon=True
                )
                self._watcher.start()

    def _is_empty(self) -> bool:
        with self._lock:
            return not self._used


def _look_on(managed: ref[ResidencyManager]) -> None:
    """Relieve the memory once a second, until there is nothing left to release."""
    while True:
        time.sleep(LOOK_S)
        manager = managed()
        if manager is None or manager._is_empty():
            return
        manager.relieve()
        del manager
