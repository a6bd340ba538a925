"""What `source` says of a memory whose caller names none: how it came in. Imports say the file's name."""

from __future__ import annotations

from aios_db.schema.errors import ProgrammingError
from aios_db.schema.text import is_unicode

PYTHON, SQL, SHELL = "python", "sql", "cli"
CONSOLIDATION = "consolidation"
"""The source of principles; what counts of it is the least of the trust in their own sources."""
ENTRIES = (PYTHON, SQL, SHELL)


def check_source(source: object, called: str) -> None:
    """Raise where what all writes are to come from is neither a name nor None; ``called`` is the function."""
    if source is not None and not (isinstance(source, str) and source.strip() and is_unicode(source)):
        raise ProgrammingError(
            f"{called}: source is {source!r}; give a text that names where writes come from"
        )
