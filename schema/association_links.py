"""The `association_links` table: one row a directed, weighted link between two memories."""

from __future__ import annotations

import pyarrow as pa

from aios_db.schema.memories import TIMESTAMP

TABLE = "association_links"
KINDS = (
    "next_in_session",
    "similar",
    "same_entity",
    "cross_modal",
    "derived_from",
    "recalled_together",
    "user",
    "superseded_by",
)
NAMED = ("derived_from", "superseded_by")
"""Kinds whose other end is named in a column of the memory that they start at, which has the kind's name."""

SCHEMA = pa.schema(
    [
        pa.field("source_id", pa.string(), nullable=False),
        pa.field("target_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("weight", pa.float32(), nullable=False),  # (0, 1]
        pa.field("evidence_count", pa.int32(), nullable=False),
        pa.field("created_at", TIMESTAMP, nullable=False),
        pa.field("reinforced_at", TIMESTAMP, nullable=False),
    ]
)
