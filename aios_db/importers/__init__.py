"""Reading memories out of files: `import_files(con, paths)`, and the formats it knows."""

from __future__ import annotations

from aios_db.importers.base import Format, Options, Record, Rejected, Row, Skipped, Source, UnreadableError
from aios_db.importers.formats import FORMATS
from aios_db.importers.report import FileReport, ImportReport
from aios_db.importers.run import import_files, import_path, read_path, retry_rejected

__all__ = [
    "FORMATS",
    "FileReport",
    "Format",
    "ImportReport",
    "Options",
    "Record",
    "Rejected",
    "Row",
    "Skipped",
    "Source",
    "UnreadableError",
    "import_files",
    "import_path",
    "read_path",
    "retry_rejected",
]
