"""The `consolidation_log` table: one row per consolidation, from when it is about to be written."""

from __future__ import annotations

import pyarrow as pa

from aios_db.schema.memories import TIMESTAMP

TABLE = "consolidation_log"
KEY = "consolidation_id"

STATES = ("begun", "committed", "refused", "broken_off", "undone")
"""``refused``: own past queries would lose too much. ``broken_off``: it ended before its commit."""

SCHEMA = pa.schema(
    [
        pa.field("consolidation_id", pa.string(), nullable=False),  # UUIDv7: by time
        pa.field("state", pa.string(), nullable=False),  # of STATES
        pa.field("trigger", pa.string(), nullable=False),  # manual, schedule or pressure
        pa.field("user_id", pa.string()),  # whose memories it is of, where they are of one
        pa.field("agent_id", pa.string()),
        pa.field("policy", pa.string(), nullable=False),  # what became of the sources: archive or delete
        pa.field("sources", pa.list_(pa.string()), nullable=False),  # memory_ids
        pa.field("principles", pa.list_(pa.string()), nullable=False),  # memory_ids of what was made of them
        pa.field("model", pa.string(), nullable=False),  # who wrote them: extractive, or provider:model
        pa.field("fallbacks", pa.int64(), nullable=False),  # principles for which the model was no use
        pa.field("note", pa.string()),  # why it was no use, or why the consolidation was refused
        pa.field("input_tokens", pa.int64(), nullable=False),  # that the model was sent
        pa.field("output_tokens", pa.int64(), nullable=False),
        pa.field("queries", pa.int64(), nullable=False),  # of the user's own, that recall was compared on
        pa.field("recall_before", pa.float64()),  # share of what they had found that is found still
        pa.field("recall_after", pa.float64()),
        pa.field("change_id", pa.int64()),  # in the log of changes; NULL until it is committed
        pa.field("started_at", TIMESTAMP, nullable=False),
        pa.field("duration_s", pa.float64(), nullable=False),
    ]
)
