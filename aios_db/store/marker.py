"""`aios.json`, which makes a directory a database, and its copy `aios.json.bak`, read where it is lost."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aios_db.disk.failures import operational
from aios_db.disk.lock import WriteLock
from aios_db.engine.weights.files import atomic_write, force_file
from aios_db.schema.database import FORMAT_VERSION, MARKER, table_path
from aios_db.schema.errors import OperationalError, SchemaVersionError
from aios_db.schema.memories import TABLE as MEMORIES
from aios_db.security.permissions import write_private
from aios_db.version import __version__

logger = logging.getLogger("aios_db.store")

COPY = MARKER + ".bak"
_NO_MARKER = (ValueError, KeyError, TypeError, RecursionError)


@dataclass(frozen=True)
class Marker:
    """The content of `aios.json`, written last when a database is made."""

    format_version: int
    """Version of the layout; only `FORMAT_VERSION` is opened."""
    dimension: int
    """Length of a text vector."""
    created_by: str
    """Version of aios_db that made the database."""
    database_id: str | None = None
    """Which database it is, wherever it lies; copies and restored backups have the same."""


class Unreadable(OperationalError):
    """A marker is missing, or is none."""


def has_marker(directory: Path) -> bool:
    """Tell whether a directory holds a marker or the copy of one, be it damaged."""
    return (directory / MARKER).exists() or (directory / COPY).exists()


def read_marker(directory: Path) -> Marker:
    """Return the marker, or where it is lost its copy, with a warning.

    Raises
    ------
    SchemaVersionError
        A newer aios_db made the database.
    OperationalError
        Neither can be read, or the database has an older format; the message says what to do.
    """
    try:
        marker = parsed(directory / MARKER)
    except Unreadable as error:
        if not table_path(directory, MEMORIES).is_dir():
            raise OperationalError(f"cannot read {error}: {directory} holds no aios_db database") from error
        try:
            marker = parsed(directory / COPY)
        except Unreadable:
            raise OperationalError(f"{error}; {remedy(directory)}") from error
        logger.warning("%s; its copy %s is used: %s", error, COPY, remedy(directory))
    if marker.format_version > FORMAT_VERSION:
        said = f"; {COPY} says otherwise: {remedy(directory)}" if _copy_knows(directory) else ""
        raise SchemaVersionError(
            f"{directory} has format {marker.format_version}, made by aios_db {marker.created_by}; "
            f"this aios_db {__version__} reads up to {FORMAT_VERSION}: upgrade it{said}"
        )
    if marker.format_version < FORMAT_VERSION:
        raise OperationalError(
            f"{directory} has format {marker.format_version}, this aios_db {__version__} works with "
            f"{FORMAT_VERSION}: aios migrate {directory}"
        )
    return marker


def remedy(directory: Path) -> str:
    """Return what makes a lost marker anew."""
    return f"aios repair --db {directory} makes it anew from the tables"


def parsed(path: Path) -> Marker:
    """Return what a marker file says, whatever its version.

    Raises
    ------
    Unreadable
        It is missing, or says nothing of the kind.
    OperationalError
        It cannot be read, which says nothing about what is in it.
    """
    try:
        return _marker(path.read_bytes())
    except FileNotFoundError as error:
        raise Unreadable(f"{path} is missing") from error
    except OSError as error:
        raise OperationalError(f"cannot read {path}: {error}") from error
    except _NO_MARKER as error:
        raise Unreadable(f"{path} is damaged, or not the marker of an aios_db database: {error!r}") from error


def is_marker(content: bytes | None) -> bool:
    """Tell whether this is the content of a marker."""
    try:
        return content is not None and bool(_marker(content))
    except _NO_MARKER:
        return False


def _marker(text: bytes) -> Marker:
    content = json.loads(text.decode())
    version, dimension = int(content["format_version"]), int(content["dimension"])
    return Marker(version, dimension, str(content.get("created_by", "?")), _id_in(content))


def write_marker(directory: Path, marker: Marker) -> None:
    """Write the marker, then its copy, each as a whole; on the disk when this returns."""
    _write(directory / MARKER, asdict(marker))
    _write(directory / COPY, asdict(marker))


def keep_copy(directory: Path, marker: Marker) -> None:
    """Give a database that has none a copy of its marker, or one of after a migration.

    A copy that says something else stays: which of the two is right, the marker cannot tell.
    """
    try:
        copy = parsed(directory / COPY)
        if copy.format_version >= marker.format_version and (copy.database_id or not marker.database_id):
            return
    except Unreadable:
        pass
    except OperationalError:
        return
    with suppress(OSError):  # it is not needed to go on
        _write(directory / COPY, asdict(marker))


def identify(directory: Path, database_id: str, lock: WriteLock) -> str:
    """Give a database that an older aios_db made an identity, if it has none; return the one it has."""
    with lock.hold(), operational(f"writing {directory / MARKER}"):
        content = json.loads((directory / MARKER).read_text(encoding="utf-8"))
        if not _id_in(content):
            for name in (MARKER, COPY):
                _write(directory / name, {**content, "database_id": database_id})
        return _id_in(content) or database_id


def _copy_knows(directory: Path) -> bool:
    try:
        return parsed(directory / COPY).format_version <= FORMAT_VERSION
    except OperationalError:
        return False


def _id_in(content: dict[str, Any]) -> str | None:
    found = content.get("database_id")
    return found if isinstance(found, str) and found else None


def _write(path: Path, content: dict[str, Any]) -> None:
    with atomic_write(path, forced=True, alone=True) as part:
        write_private(part, json.dumps(content, indent=2))
    force_file(path.parent)
