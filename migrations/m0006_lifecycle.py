"""Format 6: how long memories hold, what superseded them, when they expire; the log of consolidations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lance

from aios_db.migrations.registry import migration
from aios_db.migrations.tables import ensure_table
from aios_db.schema import consolidation_log, memories
from aios_db.schema.database import table_path


@migration
def add_lifecycle(directory: Path) -> Iterator[str]:
    """Add the columns, with nothing in them, and the table, empty."""
    dataset = lance.dataset(table_path(directory, memories.TABLE))
    missing = [each for each in memories.LIFECYCLE_FIELDS if each.name not in dataset.schema.names]
    if empty := [each for each in missing if each.nullable]:
        dataset.add_columns(empty)
    if "pinned" in {each.name for each in missing}:
        dataset.add_columns({"pinned": "false"})
    if memories.CODE_FIELD.name not in dataset.schema.names:
        dataset.add_columns(memories.CODE_FIELD)
    yield "added columns"
    ensure_table(directory, consolidation_log.TABLE, consolidation_log.SCHEMA, [])
    yield f"made table {consolidation_log.TABLE}"
