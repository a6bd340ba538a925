"""The Lance tables behind one database directory, and the one way to write them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aios_db.store.repair import RepairReport
    from aios_db.store.stats import StoreStats
    from aios_db.store.store import MemoryStore

__all__ = ["MemoryStore", "RepairReport", "StoreStats"]

_LAZY = {"MemoryStore": "store", "RepairReport": "repair", "StoreStats": "stats"}


def __getattr__(name: str) -> Any:
    """Import a class when it is asked for: the store needs modules that need others of this package."""
    if name in _LAZY:
        return getattr(import_module(f"aios_db.store.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'aios_db.store' has no attribute {name!r}")
