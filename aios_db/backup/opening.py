"""A backup seen as the database that it is of, without copying it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lance

from aios_db.backup.manifest import Manifest, TableState
from aios_db.backup.objects import Objects
from aios_db.disk.failures import operational
from aios_db.schema.amounts import amount
from aios_db.schema.database import table_path
from aios_db.schema.errors import OperationalError


@contextmanager
def opened(manifest: Manifest, objects: Objects) -> Iterator[Path]:
    """Yield a temporary directory with a link for each file of a backup; it is to be read only."""
    with tempfile.TemporaryDirectory(prefix="aios-backup-", suffix=".aios") as name:
        for entry in manifest.files:
            place = Path(name, entry.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(objects.path(entry))
        yield Path(name)


def check_counts(database: Path, tables: dict[str, TableState]) -> None:
    """Open each table and count its rows.

    Raises
    ------
    OperationalError
        A table cannot be opened, or is at another version or of another number of rows.
    """
    for table, wanted in tables.items():
        with operational(f"opening {table} of the backup"):
            dataset = lance.dataset(table_path(database, table))
            found = TableState(dataset.version, dataset.count_rows())
        if found != wanted:
            raise OperationalError(
                f"{table} of the backup is version {found.version} with {amount(found.rows, 'row')}, "
                f"and not version {wanted.version} with {wanted.rows}"
            )
