"""The `lora_cards` table: one row per version of a LoRA card that this database has."""

from __future__ import annotations

import pyarrow as pa

from aios_db.schema.memories import TIMESTAMP

TABLE = "lora_cards"
KEY = "card_id"
CONTENT = ("card", "delta")
"""The columns with bytes, which the view leaves out."""

SCHEMA = pa.schema(
    [
        pa.field("card_id", pa.string(), nullable=False),  # name, / and number
        pa.field("name", pa.string(), nullable=False),
        pa.field("number", pa.int64(), nullable=False),  # of the version, from 1; the highest is the head
        pa.field("version", pa.string(), nullable=False),  # name@ and 12 hex digits of sha256
        pa.field("sha256", pa.string(), nullable=False),  # of what the card does
        pa.field("parent_sha256", pa.string()),  # of the version that it was made of
        pa.field("origin", pa.string(), nullable=False),
        # new, trained, file, owed (with what is owed added), pulled, pushed, received or aggregated
        pa.field("agent", pa.string()),  # who made or sent it
        pa.field("base_model", pa.string()),  # the weight version that it is for
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("alpha", pa.float64(), nullable=False),
        pa.field("target_modules", pa.list_(pa.string()), nullable=False),
        pa.field("parameters", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),  # of its numbers
        pa.field("samples", pa.int64(), nullable=False),  # that it was trained on since its parent
        pa.field("created_at", TIMESTAMP, nullable=False),
        pa.field("metadata", pa.string(), nullable=False),  # JSON
        pa.field("card", pa.binary(), nullable=False),  # a *.lora.arrow file
        pa.field("delta", pa.binary()),  # from the parent, as it was published
    ]
)
