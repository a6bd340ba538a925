"""Keep the weights in memory under a limit: the least recently used unit goes first."""

from __future__ import annotations

import logging
import threading
from functools import lru_cache
from typing import Protocol
from weakref import WeakKeyDictionary

log = logging.getLogger("aios_db.engine.weights")


class Unit(Protocol):
    """Weights that are loaded and released together, like a layer of a model."""

    def resident_bytes(self) -> int:
        """Return how many bytes of them are in this process's memory."""

    def release(self) -> None:
        """Let go of that memory; the next use brings it back."""


@lru_cache
def shared_residency(max_bytes: int) -> ResidencyManager:
    """Return the manager of this process's models with that limit: together they stay under it."""
    return ResidencyManager(max_bytes)


class ResidencyManager:
    """The units in memory, of one model or of several that share a limit; safe to use from several threads.

    Parameters
    ----------
    max_bytes
        Most bytes resident between two uses; 0 is no limit. One unit in use may be larger.
    """

    def __init__(self, max_bytes: int = 0) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._resident: WeakKeyDictionary[Unit, int] = WeakKeyDictionary()  # least recently used first
        self._in_use: dict[Unit, int] = {}

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
            if not self.max_bytes:
                return
            self._resident.pop(unit, None)
            self._resident[unit] = unit.resident_bytes()
            self._evict()

    def forget(self, unit: Unit) -> None:
        """Note that ``unit`` has been released."""
        with self._lock:
            self._resident.pop(unit, None)

    def _evict(self) -> None:
        total = sum(self._resident.values())
        for unit in list(self._resident):
            if total <= self.max_bytes:
                return
            if unit not in self._in_use:
                size = self._resident.pop(unit)
                unit.release()
                total -= size
                log.debug("released %d bytes of weights, %d resident", size, total)
