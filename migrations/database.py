"""Bring a database directory to the newest format, one numbered migration after the other.

The marker `aios.json` says which format a database has. A migration works beside what is there; the marker is
replaced, atomically, when the migration is done, recorded and on the disk. Killed before that, or without
power, the database still has the old format, and the next run repeats the migration, whose steps notice what
is done.
"""

from __future__ import annotations

import json
import logging
import shutil
import stat
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
from filelock import FileLock, Timeout

from aios_db.engine.weights.files import atomic_write, force_file, force_tree
from aios_db.migrations.registry import Migration, migrations
from aios_db.schema import schema_migrations
from aios_db.schema.advice import with_advice
from aios_db.schema.amounts import amount
from aios_db.schema.database import FORMAT_VERSION, LOCK, MARKER, table_path
from aios_db.schema.errors import IntegrityError, OperationalError, ProgrammingError, SchemaVersionError
from aios_db.schema.progress import Progress, silent

log = logging.getLogger("aios_db.migrations")

LOCK_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class AppliedMigration:
    """A row of `schema_migrations`."""

    number: int
    name: str
    applied_at: datetime


def applied(database: str | Path) -> list[AppliedMigration]:
    """Return the migrations that were applied to a database, oldest first. This is a read-only operation.

    A database starts at the format of the version that made it, so a new one has none.

    Raises
    ------
    OperationalError
        There is no database.
    """
    directory = Path(database)
    _read_marker(directory)
    path = table_path(directory, schema_migrations.TABLE)
    if not (path / "_versions").is_dir():
        return []
    rows = lance.dataset(path).to_table().sort_by("number").to_pylist()
    return [AppliedMigration(**row) for row in rows]


def pending(database: str | Path, to: int | None = None) -> list[Migration]:
    """Return the migrations that `migrate` would apply, in order. This is a read-only operation.

    Parameters
    ----------
    to
        The format version to stop at; the newest by default.

    Raises
    ------
    OperationalError
        There is no database.
    SchemaVersionError
        A newer aios_db made the database.
    ProgrammingError
        ``to`` is lower than the format the database has, or there is no such format.
    """
    version = _format(Path(database))
    target = FORMAT_VERSION if to is None else to
    if target > FORMAT_VERSION:
        raise ProgrammingError(f"there is no format {target}; the newest is {FORMAT_VERSION}")
    if target < version:
        raise ProgrammingError(
            f"{database} has format {version}: migrations only go forward, not to {target}"
        )
    return [each for each in migrations() if version < each.number <= target]


def migrate(database: str | Path, *, to: int | None = None, progress: Progress = silent) -> list[Migration]:
    """Apply what is `pending`, holding the write lock; return what was applied.

    Raises
    ------
    OperationalError
        The database is being written by another process, or the disk fails. What was applied stays; run it
        again.
    SchemaVersionError, ProgrammingError
        As `pending`.
    """
    directory = Path(database)
    _format(directory)
    try:
        with FileLock(directory / LOCK, timeout=LOCK_TIMEOUT_S):
            _discard_unborn(directory)
            done = []
            for each in pending(directory, to):
                _apply(directory, each, progress)
                done.append(each)
            return done
    except Timeout as error:
        raise OperationalError(
            f"another process has been writing to {directory} for {LOCK_TIMEOUT_S:g} s; "
            "close it and try again"
        ) from error
    except (OSError, RuntimeError, ValueError, pa.ArrowException) as error:
        raise OperationalError(
            f"migrating {directory} failed: {with_advice(error, 'run it again', 'fix the permissions')}"
        ) from error


def _apply(directory: Path, migration: Migration, progress: Progress) -> None:
    before = _row_counts(directory)
    for step in migration.steps(directory):
        log.info("%s: %s", migration.name, step, extra={"event": "migrated", "path": str(directory)})
        progress(step, 0, 0)
    after = _row_counts(directory)
    for table, rows in before.items():
        if after.get(table, -1) < rows:
            raise IntegrityError(
                f"{migration.name} left {after.get(table, 'none')} of {amount(rows, 'row')} of {table} in "
                f"{directory}; the database keeps its old format"
            )
    progress("verified", 0, 0)
    _record(directory, migration)
    progress("recorded", 0, 0)
    for path in directory.glob("*.lance"):
        force_tree(path)
    _write_marker(directory, {**_read_marker(directory), "format_version": migration.number})
    progress("switched", 0, 0)


def _discard_unborn(directory: Path) -> None:
    """Remove tables that a loss of power left without a whole version before they had a row.

    The migration that was making them makes them again.
    """
    for table in directory.glob("*.lance"):
        if any(each.stat().st_size for each in (table / "data").glob("*")):
            continue
        try:
            lance.dataset(table)
        except (OSError, ValueError):
            log.warning("%s was being made when the power failed, and is made again", table)
            shutil.rmtree(table)


def _record(directory: Path, migration: Migration) -> None:
    dataset = lance.dataset(table_path(directory, schema_migrations.TABLE))
    row = {"number": migration.number, "name": migration.name, "applied_at": datetime.now(timezone.utc)}
    rows = pa.Table.from_pylist([row], schema=schema_migrations.SCHEMA)
    dataset.merge_insert(schema_migrations.KEY).when_not_matched_insert_all().execute(rows)


def _row_counts(directory: Path) -> dict[str, int]:
    return {
        path.stem: lance.dataset(path).count_rows()
        for path in directory.glob("*.lance")
        if (path / "_versions").is_dir() and any((path / "_versions").iterdir())
    }


def _format(directory: Path) -> int:
    marker = _read_marker(directory)
    try:
        version = int(marker["format_version"])
    except (KeyError, TypeError, ValueError) as error:
        raise OperationalError(f"{directory / MARKER} names no format version: {error!r}") from error
    if version > FORMAT_VERSION:
        raise SchemaVersionError(
            f"{directory} has format {version}; this aios_db knows formats up to {FORMAT_VERSION}: upgrade it"
        )
    return version


def _read_marker(directory: Path) -> dict[str, Any]:
    path = directory / MARKER
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OperationalError(f"{directory} holds no aios_db database: {MARKER} is missing") from None
    except (OSError, ValueError) as error:
        raise OperationalError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise OperationalError(f"{path} is not the marker of an aios_db database")
    return content


def _write_marker(directory: Path, content: dict[str, Any]) -> None:
    with atomic_write(directory / MARKER, forced=True, alone=True) as new:
        new.touch(stat.S_IMODE((directory / MARKER).stat().st_mode))
        new.write_text(json.dumps(content, indent=2), encoding="utf-8")
    force_file(directory)
