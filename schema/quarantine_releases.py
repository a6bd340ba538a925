"""The `quarantine_releases` table: one row per memory that was let out of quarantine."""

from __future__ import annotations

import pyarrow as pa

from aios_db.schema.memories import TIMESTAMP

TABLE = "quarantine_releases"
KEY = "memory_id"

SCHEMA = pa.schema(
    [
        pa.field("memory_id", pa.string(), nullable=False),
        pa.field("fingerprint", pa.string(), nullable=False),  # of title and text: another text is held again
        pa.field("reason", pa.string(), nullable=False),  # why it was held
        pa.field("released_at", TIMESTAMP, nullable=False),
    ]
)
