"""The database directory: made whole or not at all, recognised, and refused with a reason."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from aios_db import __version__
from aios_db.migrations.tables import ensure_table
from aios_db.schema import (
    association_links,
    memories,
    schema_migrations,
    validation_reports,
    weight_versions,
)
from aios_db.schema.database import FORMAT_VERSION, INDEX, LOCK, MARKER, table_path
from aios_db.schema.errors import OperationalError, SchemaVersionError
from aios_db.store.compaction import LOCK as COMPACTION_LOCK
from aios_db.store.failures import operational
from aios_db.store.lock import WriteLock

__all__ = ["INDEX", "LOCK", "Marker", "open_directory", "read_marker", "table_path"]

_UNINDEXED = (weight_versions, validation_reports, schema_migrations)
_TABLES = (memories.TABLE, association_links.TABLE, *(module.TABLE for module in _UNINDEXED))
# What a creation that was interrupted may leave; anything else means the directory is not ours.
_OWN = {MARKER + ".new", LOCK, COMPACTION_LOCK, INDEX, *(f"{table}.lance" for table in _TABLES)}


@dataclass(frozen=True)
class Marker:
    """The content of `aios.json`, written last when a database is made."""

    format_version: int
    """Version of the layout; only `FORMAT_VERSION` is opened."""
    dimension: int
    """Length of a text vector."""
    created_by: str
    """Version of aios_db that made the database."""


def open_directory(directory: Path, *, read_only: bool, dimension: int, lock: WriteLock) -> Marker:
    """Return the marker of the database in ``directory``, making the database when there is none.

    Parameters
    ----------
    directory
        An aios_db database, an empty directory, or a path where there is nothing yet.
    read_only
        Write nothing, not even a missing database.
    dimension
        Length of a text vector, for a new database.
    lock
        The directory's write lock; held while a database is made.

    Raises
    ------
    SchemaVersionError
        When a newer aios_db made the database.
    OperationalError
        When the path is a file, holds something else, has an older format, cannot be written, or is absent
        though ``read_only``.
    """
    if directory.exists() and not directory.is_dir():
        raise OperationalError(f"{directory} is a file; a database is a directory")
    if (directory / MARKER).exists():
        return read_marker(directory)
    if read_only:
        raise OperationalError(f"{directory} holds no aios_db database; open it once without read_only")
    _refuse_foreign(directory)
    with operational(f"creating the database {directory}"):
        directory.mkdir(parents=True, exist_ok=True)
    with lock.hold():
        if (directory / MARKER).exists():  # another process made it while this one waited
            return read_marker(directory)
        return _create(directory, dimension)


def read_marker(directory: Path) -> Marker:
    """Read and check `aios.json`."""
    path = directory / MARKER
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version, dimension = int(content["format_version"]), int(content["dimension"])
    except OSError as error:
        raise OperationalError(f"cannot read {path}: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise OperationalError(f"{path} is not the marker of an aios_db database: {error!r}") from error
    if version > FORMAT_VERSION:
        raise SchemaVersionError(
            f"{directory} has format {version}, made by aios_db {content.get('created_by', '?')}; "
            f"this aios_db {__version__} reads up to {FORMAT_VERSION}: upgrade it"
        )
    if version < FORMAT_VERSION:
        raise OperationalError(
            f"{directory} has format {version}, this aios_db {__version__} works with {FORMAT_VERSION}: "
            f"aios migrate {directory}"
        )
    return Marker(version, dimension, str(content.get("created_by", "?")))


def _refuse_foreign(directory: Path) -> None:
    if not directory.exists():
        return
    with operational(f"reading {directory}"):
        foreign = sorted({entry.name for entry in directory.iterdir()} - _OWN)
    if foreign:
        raise OperationalError(
            f"{directory} holds {foreign[0]!r} and no {MARKER}: not an aios_db database, and nothing is made "
            "in a directory that is not empty"
        )


def _create(directory: Path, dimension: int) -> Marker:
    """Make the tables, then the marker: without it the directory counts as having no database."""
    with operational(f"creating the database {directory}"):
        # A creation that was killed leaves tables without a marker; what they may hold is kept.
        found = ensure_table(directory, memories.TABLE, memories.memories_schema(dimension), [memories.KEY])
        ends = ["source_id", "target_id"]
        ensure_table(directory, association_links.TABLE, association_links.SCHEMA, ends)
        for module in _UNINDEXED:
            ensure_table(directory, module.TABLE, module.SCHEMA, [])
        marker = Marker(FORMAT_VERSION, found.field("text_embedding").type.list_size, __version__)
        new = directory / (MARKER + ".new")
        with new.open("w", encoding="utf-8") as file:
            json.dump(asdict(marker), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        new.replace(directory / MARKER)
    return marker
