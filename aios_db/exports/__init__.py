"""All memories and links of a database in files that other programs read, and taking them in again."""

from __future__ import annotations

from aios_db.exports.reading import Taken, is_export, read_export
from aios_db.exports.writing import ExportReport, export

__all__ = ["ExportReport", "Taken", "export", "is_export", "read_export"]
