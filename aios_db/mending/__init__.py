"""Making files of a database anew that are damaged and hold nothing, or nothing that is not elsewhere."""

from __future__ import annotations

from aios_db.mending.repairing import Repaired, repair

__all__ = ["Repaired", "repair"]
