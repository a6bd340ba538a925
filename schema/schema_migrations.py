"""The `schema_migrations` table: one row a migration that was applied to a database."""

from __future__ import annotations

import pyarrow as pa

from aios_db.schema.memories import TIMESTAMP

TABLE = "schema_migrations"
KEY = "number"

SCHEMA = pa.schema(
    [
        pa.field("number", pa.int32(), nullable=False),  # the format version it leads to
        pa.field("name", pa.string(), nullable=False),
        pa.field("applied_at", TIMESTAMP, nullable=False),
    ]
)
