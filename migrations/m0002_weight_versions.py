"""Format 2: the tables of weight versions, of their validation reports and of migrations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aios_db.migrations.registry import migration
from aios_db.migrations.tables import ensure_table
from aios_db.schema import schema_migrations, validation_reports, weight_versions


@migration
def add_tables(directory: Path) -> Iterator[str]:
    """Make the three tables, empty."""
    for module in (weight_versions, validation_reports, schema_migrations):
        ensure_table(directory, module.TABLE, module.SCHEMA, [])
        yield f"made table {module.TABLE}"
