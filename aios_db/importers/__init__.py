"""Reading memories out of files: `import_path(con, path)`, and the formats it knows."""

from __future__ import annotations

from aios_db.importers.base import Format, Record, Rejected, Row, Source, UnreadableError
from aios_db.importers.formats import FORMATS
from aios_db.importers.run import ImportReport, import_path, read_path

__all__ = [
    "FORMATS",
    "Format",
    "ImportReport",
    "Record",
    "Rejected",
    "Row",
    "Source",
    "UnreadableError",
    "import_path",
    "read_path",
]
