"""Format 5: the table of what was released from quarantine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aios_db.migrations.registry import migration
from aios_db.migrations.tables import ensure_table
from aios_db.schema import quarantine_releases


@migration
def add_quarantine_releases(directory: Path) -> Iterator[str]:
    """Make the table, empty."""
    ensure_table(directory, quarantine_releases.TABLE, quarantine_releases.SCHEMA, [])
    yield f"made table {quarantine_releases.TABLE}"
