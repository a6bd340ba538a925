"""The `sync_log` table: one row per exchange of a card with another agent, failed ones included."""

from __future__ import annotations

import pyarrow as pa

from aios_db.schema.memories import TIMESTAMP

TABLE = "sync_log"
KEY = "sync_id"

SCHEMA = pa.schema(
    [
        pa.field("sync_id", pa.string(), nullable=False),
        pa.field("started_at", TIMESTAMP, nullable=False),
        pa.field("side", pa.string(), nullable=False),  # client, server
        pa.field("peer", pa.string()),  # the server's location, or the agent's name
        pa.field("card", pa.string()),
        pa.field("operation", pa.string()),  # push, pull, sync
        pa.field("kind", pa.string()),  # full, lossless, sparse, none: the largest of what was transferred
        pa.field("base_version", pa.string()),  # the common version
        pa.field("version", pa.string()),  # the client's version at the end
        pa.field("bytes_sent", pa.int64(), nullable=False),  # in messages, without the transport's frames
        pa.field("bytes_received", pa.int64(), nullable=False),
        pa.field("bytes_full", pa.int64(), nullable=False),  # what full transfers would have been
        pa.field("duration_s", pa.float64(), nullable=False),
        pa.field("protocol", pa.int32()),
        pa.field("code", pa.string()),  # why it was refused or failed
        pa.field("error", pa.string()),
    ]
)
