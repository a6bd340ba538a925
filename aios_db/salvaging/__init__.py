"""What can still be read of a damaged database, written as an export."""

from __future__ import annotations

from aios_db.salvaging.report import REPORT, Loss, SalvageReport
from aios_db.salvaging.writing import salvage

__all__ = ["REPORT", "Loss", "SalvageReport", "salvage"]
