"""Reading all of a database, and comparing what it says of itself in two places."""

from __future__ import annotations

from aios_db.checking.checking import CheckReport, check
from aios_db.checking.faults import Fault

__all__ = ["CheckReport", "Fault", "check"]
