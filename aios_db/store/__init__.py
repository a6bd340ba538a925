"""The Lance tables behind one database directory, and the one way to write them."""

from aios_db.store.store import MemoryStore, RepairReport, StoreStats

__all__ = ["MemoryStore", "RepairReport", "StoreStats"]
