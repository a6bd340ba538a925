"""Format 7: a vector of each memory in the joint space, and a sound beside a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lance

from aios_db.migrations.registry import migration
from aios_db.schema import memories
from aios_db.schema.database import table_path


@migration
def add_joint_vectors(directory: Path) -> Iterator[str]:
    """Add the columns, empty."""
    dataset = lance.dataset(table_path(directory, memories.TABLE))
    missing = [each for each in memories.JOINT_FIELDS if each.name not in dataset.schema.names]
    if missing:
        dataset.add_columns(missing)
    yield "added columns"
