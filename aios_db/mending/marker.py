"""`aios.json` made anew, of its copy and of the tables."""

from __future__ import annotations

import re
from pathlib import Path

import lance
import pyarrow as pa

from aios_db.disk.durable import VERSIONS
from aios_db.disk.failures import DAMAGED, operational
from aios_db.schema import memories
from aios_db.schema.database import FORMAT_VERSION, MARKER, table_path
from aios_db.schema.errors import OperationalError, SchemaVersionError
from aios_db.schema.tables import BESIDE
from aios_db.store.marker import COPY, Marker, Unreadable, parsed, write_marker
from aios_db.version import __version__

_ID = re.compile("[0-9a-f]{32}")
_OLDEST = 6
"""The oldest format whose tables can have the columns of the newest: those of 7 are added to it first."""


def mend_marker(directory: Path) -> str | None:
    """Write the marker and its copy where one is lost or they differ; return what was done, None for nothing.

    The dimension is that of the vectors in the table. The format is the one that both say, or the newest
    when the tables are of that. The caller holds the write lock.

    Raises
    ------
    OperationalError
        There are no memories whose table says what was lost, or the tables are of another format.
    SchemaVersionError
        A newer aios_db made the database.
    """
    said = [_said(directory / name) for name in (MARKER, COPY)]
    known = [each for each in said if each is not None]
    table = table_path(directory, memories.TABLE)
    with operational(f"opening {table}", DAMAGED):
        columns = lance.dataset(table).schema
    if known and all(each.format_version > FORMAT_VERSION for each in known):
        raise SchemaVersionError(f"{directory} was made by a newer aios_db: upgrade this one")
    made = Marker(
        _format(directory, columns, known),
        columns.field("text_embedding").type.list_size,
        known[0].created_by if known else __version__,
        next((each.database_id for each in known if _ID.fullmatch(each.database_id or "")), None),
    )
    if said == [made, made]:
        return None
    write_marker(directory, made)
    if said[0] != made:
        return f"{MARKER}, of " + ("its copy and the tables" if known else "the tables")
    return f"{COPY}, of {MARKER}"


def _said(path: Path) -> Marker | None:
    try:
        return parsed(path)
    except Unreadable:
        return None


def _format(directory: Path, columns: pa.Schema, known: list[Marker]) -> int:
    """Return the format of the tables.

    They alone show whether they have the columns of the newest; what else a format says, a marker does: a
    database that is still to be migrated stays so, and has each migration recorded.
    """
    newest = set(columns.names) == set(memories.memories_schema(1).names) and all(
        _has_columns(table_path(directory, table), module.SCHEMA.names) for table, module in BESIDE.items()
    )
    claimed = [each.format_version for each in known if each.format_version <= FORMAT_VERSION]
    if newest:
        return max((each for each in claimed if each >= _OLDEST), default=FORMAT_VERSION)
    if claimed:
        return claimed[0]
    raise OperationalError(
        f"the tables of {directory} are of an older format, and no file says of which: bring {MARKER} back "
        "from a backup, or write what can be read with aios salvage"
    )


def _has_columns(table: Path, names: list[str]) -> bool:
    """Tell whether a table has these columns; one that is damaged is none to go by."""
    if not (table / VERSIONS).is_dir():
        return False
    try:
        with operational(f"opening {table}"):
            return set(lance.dataset(table).schema.names) == set(names)
    except OperationalError:
        return True
