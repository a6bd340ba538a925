"""The formats that can be imported; a new one is a module with a `Format` and one entry here."""

from __future__ import annotations

from aios_db.importers.base import Format, Source
from aios_db.importers.chat import CHAT
from aios_db.importers.chroma import CHROMA
from aios_db.importers.documents import MARKDOWN, TEXT
from aios_db.importers.facebook import FACEBOOK
from aios_db.importers.keep import KEEP
from aios_db.importers.legacy import LEGACY
from aios_db.importers.locomo import LOCOMO
from aios_db.importers.logs import LOG
from aios_db.importers.mail import MAIL
from aios_db.importers.office import DOCX, PDF
from aios_db.importers.pages import HTML
from aios_db.importers.rows import JSON, JSONL
from aios_db.importers.slack import SLACK
from aios_db.importers.tables import ARROW, CSV, PARQUET
from aios_db.schema.errors import ProgrammingError

# The first that recognises a file reads it, so the special come before the general.
FORMATS: tuple[Format, ...] = (
    LOCOMO, SLACK, FACEBOOK, KEEP, CHROMA, CHAT, JSON, JSONL, CSV, LEGACY, PARQUET, ARROW, MARKDOWN, HTML,
    MAIL, LOG, TEXT, PDF, DOCX,
)  # fmt: skip


def format_names() -> list[str]:
    """Return the names of the formats."""
    return [candidate.name for candidate in FORMATS]


def find_format(source: Source, name: str | None = None) -> Format | None:
    """Return the format of that name, or the first that recognises the file; None when none does.

    Raises
    ------
    ProgrammingError
        There is no format of that name.
    UnreadableError
        The file is not what its ending says.
    """
    if name is None:
        return next((candidate for candidate in FORMATS if candidate.detect(source)), None)
    return format_called(name)


def format_called(name: str) -> Format:
    """Return the format of that name, or raise `ProgrammingError` when there is none."""
    for candidate in FORMATS:
        if candidate.name == name:
            return candidate
    raise ProgrammingError(f"there is no format {name!r}; known are {', '.join(format_names())}")
