"""Format 3: names given by the user, and messages told apart by when they were said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lance

from aios_db.migrations.registry import migration
from aios_db.schema import memories
from aios_db.schema.database import table_path
from aios_db.schema.identity import TIME


@migration
def add_identity(directory: Path) -> Iterator[str]:
    """Add the columns, and to the hash of each message its time."""
    dataset = lance.dataset(table_path(directory, memories.TABLE))
    named = [each for each in memories.IDENTITY_FIELDS if each.name != "occurrences"]
    missing = [each for each in named if each.name not in dataset.schema.names]
    if missing:
        dataset.add_columns(missing)
    yield "added columns"
    if "occurrences" not in dataset.schema.names:
        dataset.add_columns({"occurrences": "CAST(1 AS BIGINT)"})
    yield "counted occurrences"
    dataset.update(
        {"content_hash": f"content_hash || '{TIME}' || CAST(CAST(occurred_at AS BIGINT) AS STRING)"},
        where=f"kind = 'message' AND occurred_at IS NOT NULL AND content_hash NOT LIKE '%{TIME}%'",
    )
    yield "dated messages"
