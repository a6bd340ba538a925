"""Format 4: the tables of LoRA cards and of their exchange."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aios_db.migrations.registry import migration
from aios_db.migrations.tables import ensure_table
from aios_db.schema import lora_cards, sync_log


@migration
def add_federation(directory: Path) -> Iterator[str]:
    """Make the two tables, empty."""
    for module in (lora_cards, sync_log):
        ensure_table(directory, module.TABLE, module.SCHEMA, [])
        yield f"made table {module.TABLE}"
