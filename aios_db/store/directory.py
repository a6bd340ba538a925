"""The database directory: made whole or not at all, recognised, and refused with a reason."""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pyarrow as pa

from aios_db.disk.durable import FORCED, VERSIONS, forced_version
from aios_db.disk.failures import DAMAGED, operational
from aios_db.disk.lock import WriteLock
from aios_db.engine.weights.files import force_file, force_tree
from aios_db.migrations.tables import ensure_table
from aios_db.schema import association_links, memories
from aios_db.schema.advice import NO_PLACE
from aios_db.schema.amounts import amount
from aios_db.schema.database import (
    BEGUN,
    CHANGES,
    FORMAT_VERSION,
    INDEX,
    LOCK,
    MARKER,
    MEDIA_READ,
    RECALLS,
    UNSHOWN,
    table_path,
)
from aios_db.schema.errors import OperationalError
from aios_db.schema.regular import refuse_special
from aios_db.schema.tables import BESIDE, RECORDS
from aios_db.security.permissions import DIRECTORY_MODE
from aios_db.store.change_log import step_back
from aios_db.store.compaction import LOCK as COMPACTION_LOCK
from aios_db.store.kept import ASIDE
from aios_db.store.marker import COPY, Marker, has_marker, keep_copy, read_marker, remedy, write_marker
from aios_db.store.torn import go_back, is_torn, lost_newest, torn_versions
from aios_db.version import __version__

logger = logging.getLogger("aios_db.store")

__all__ = ["INDEX", "LOCK", "MEDIA_READ", "RECALLS", "Marker", "Opened", "open_directory", "table_path"]

TABLES = (memories.TABLE, *BESIDE)
# What a creation that was interrupted may leave; anything else means the directory is not ours.
_OWN = {
    f".{MARKER}.new", f".{COPY}.new", "aios.yaml", LOCK, COMPACTION_LOCK, INDEX, CHANGES, BEGUN,
    UNSHOWN,
    *(f"{table}.lance" for table in TABLES),
}  # fmt: skip


# They say nothing about what is in a file.
_NO_DAMAGE = {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


@dataclass(frozen=True)
class Opened:
    """A database directory that can be used."""

    marker: Marker
    damaged: dict[str, str] = field(default_factory=dict)
    """Of each table beside the memories that cannot be opened, what is wrong with it."""


def open_directory(directory: Path, *, read_only: bool, dimension: int, lock: WriteLock) -> Opened:
    """Return what is known of the database in ``directory``, making the database when there is none.

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
    refuse_special(directory, directory / INDEX)
    if has_marker(directory):
        marker = read_marker(directory)
        if not read_only:
            keep_copy(directory, marker)
        return Opened(marker, step_over_torn(directory, read_only=read_only, lock=lock))
    if (table_path(directory, memories.TABLE) / VERSIONS).is_dir() and (read_only or _foreign(directory)):
        raise OperationalError(f"{directory / MARKER} is missing; {remedy(directory)}")
    if read_only:
        raise OperationalError(f"{directory} holds no aios_db database; aios init makes one there")
    _refuse_foreign(directory)
    with operational(f"creating the database {directory}", refused=NO_PLACE):
        directory.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
    with lock.hold():
        if has_marker(directory):  # another process made it while this one waited
            return Opened(read_marker(directory))
        return Opened(_create(directory, dimension))


def check_dimension(directory: Path, marker: Marker, schema: pa.Schema) -> None:
    """Refuse a marker that says another length of vectors than the memories have.

    Raises
    ------
    OperationalError
        It does.
    """
    size = schema.field("text_embedding").type.list_size
    if size != marker.dimension:
        raise OperationalError(
            f"{directory / MARKER} is damaged: vectors have {marker.dimension} numbers by it, and {size} in "
            f"the memories; {remedy(directory)}"
        )


def step_over_torn(directory: Path, *, read_only: bool, lock: WriteLock) -> dict[str, str]:
    """Bring each table to its newest whole version, after a loss of power; return what has none, and why.

    Raises
    ------
    OperationalError
        It is the memories that cannot be opened.
    """
    damaged: dict[str, str] = {}
    torn, lost = [], {}
    for table in TABLES:
        with _opening(directory, table, damaged):
            path = table_path(directory, table)
            if is_torn(path):
                if not read_only:
                    torn.append(table)
                elif torn_versions(path)[0]:  # raises where it is damage
                    raise _torn(path)
            elif gone := lost_newest(path):
                if not read_only and forced_version(path) >= gone[0]:
                    raise _lost(path, *gone)
                lost[table] = gone
    for table, (version, instead) in lost.items():
        logger.error(
            "%s: version %d of %s is gone, its manifest was removed; version %d opens in its place. What was "
            "changed or forgotten after that is as before: bring a backup back with aios restore",
            directory, version, table, instead, extra={"event": "lost_version", "table": table},
        )  # fmt: skip
    if read_only or not (torn or lost):
        return damaged
    with lock.hold(), operational(f"stepping over torn versions of {directory}"):
        for table in torn:
            back = None
            with _opening(directory, table, damaged):
                back = go_back(table_path(directory, table))
            if back:
                _give_numbers_again(directory, back.table, back.version)
                logger.error(
                    "%s: torn, as after a loss of power: the last %s of %s, which is back at "
                    "version %d, with %s. What was written after that is lost; the torn manifests lie "
                    "in %s",
                    directory, amount(len(back.torn), "version"), back.table, back.version,
                    amount(back.rows, "row"),
                    table_path(directory, table) / ASIDE,
                    extra={"event": "torn_versions", "torn": list(back.torn)},
                )  # fmt: skip
        for table in lost:
            if gone := lost_newest(table_path(directory, table)):  # nobody has written that version meanwhile
                (table_path(directory, table) / FORCED).unlink(missing_ok=True)
                _give_numbers_again(directory, table, gone[1])
    return damaged


def _give_numbers_again(directory: Path, table: str, version: int) -> None:
    """Let nothing take the next versions of a table for those that had their numbers before."""
    shutil.rmtree(directory / INDEX, ignore_errors=True)
    step_back(directory, table, version)


@contextmanager
def _opening(directory: Path, table: str, damaged: dict[str, str]) -> Iterator[None]:
    """Note what is wrong with a table, unless it is that of the memories: without it there is nothing."""
    try:
        with operational(f"opening {table_path(directory, table)}", DAMAGED):
            yield
    except OperationalError as error:
        cause = error.__cause__
        if table == memories.TABLE or (isinstance(cause, OSError) and cause.errno in _NO_DAMAGE):
            raise
        damaged[table] = str(error)


def _torn(table: Path) -> OperationalError:
    return OperationalError(
        f"the newest version of {table.stem} in {table.parent} is torn, as after a loss of power. Take what "
        f"can be read first (aios salvage {table.parent} OUT); then open it once without read_only, which "
        "goes back to the newest whole version and gives up what came after"
    )


def _lost(table: Path, version: int, instead: int) -> OperationalError:
    return OperationalError(
        f"opening {table} failed: version {version} was on the disk as a whole, and its manifest is gone "
        f"since. Nothing was changed; with read_only=True, version {instead} opens. What only the lost one "
        f"names, the next write would bury: {DAMAGED}"
    )


def _foreign(directory: Path) -> list[str]:
    """Return what a directory holds that no creation leaves in it."""
    if not directory.exists():
        return []
    with operational(f"reading {directory}"):
        return sorted({entry.name for entry in directory.iterdir()} - _OWN)


def _refuse_foreign(directory: Path) -> None:
    if foreign := _foreign(directory):
        raise OperationalError(
            f"{directory} holds {foreign[0]!r} and no {MARKER}: not an aios_db database, and nothing is made "
            "in a directory that is not empty"
        )


def _create(directory: Path, dimension: int) -> Marker:
    """Make the tables, then the marker: without it the directory counts as having no database."""
    with operational(f"creating the database {directory}", refused=NO_PLACE):
        # A creation that was killed leaves tables without a marker; what they may hold is kept.
        for table in TABLES:
            _forget_torn(table_path(directory, table))
        found = ensure_table(directory, memories.TABLE, memories.memories_schema(dimension), [memories.KEY])
        ends = ["source_id", "target_id"]
        ensure_table(directory, association_links.TABLE, association_links.SCHEMA, ends)
        for table, module in RECORDS.items():
            ensure_table(directory, table, module.SCHEMA, [])
        for table in TABLES:
            table_path(directory, table).chmod(DIRECTORY_MODE)
            force_tree(table_path(directory, table))
        marker = Marker(
            FORMAT_VERSION, found.field("text_embedding").type.list_size, __version__, uuid4().hex
        )
        write_marker(directory, marker)
        force_file(directory.parent)
    return marker


def _forget_torn(table: Path) -> None:
    """Remove a table of a creation that lost its power: without a marker, nothing in it was acknowledged."""
    if table.exists() and is_torn(table):
        shutil.rmtree(table)
