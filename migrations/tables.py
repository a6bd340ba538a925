"""Making Lance tables so that an interrupted attempt can be made again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lance
import pyarrow as pa

from aios_db.schema.database import table_path


def ensure_table(directory: Path, table: str, schema: pa.Schema, indexed: Sequence[str]) -> pa.Schema:
    """Make a table and its scalar indices, as far as they are missing; return the schema it has."""
    path = table_path(directory, table)
    if (path / "_versions").exists() and any((path / "_versions").iterdir()):
        dataset = lance.dataset(path)
    else:
        dataset = lance.write_dataset(schema.empty_table(), path, enable_stable_row_ids=True)
    missing = set(indexed) - {name for index in dataset.describe_indices() for name in index.field_names}
    for column in indexed:
        if column in missing:
            dataset.create_scalar_index(column, "BTREE")
    return dataset.schema
