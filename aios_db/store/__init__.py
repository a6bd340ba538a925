"""The Lance tables behind one database directory, and the one way to write them."""

from aios_db.store.repair import RepairReport
from aios_db.store.stats import StoreStats
from aios_db.store.store import MemoryStore

__all__ = ["MemoryStore", "RepairReport", "StoreStats"]
