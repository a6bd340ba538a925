"""The rows of the view `metrics`: what a process has done on a database since it opened it."""

from __future__ import annotations

import pyarrow as pa

from aios_db.schema.memories import TIMESTAMP

SEARCH, UPSERT, UPDATE, DELETE = "search_memory", "upsert_memory", "update_memory", "delete_memory"
"""Operations on memories, as OpenTelemetry's conventions for generative AI name them."""
OPERATIONS = frozenset({SEARCH, UPSERT, UPDATE, DELETE})

SCHEMA = pa.schema(
    [
        pa.field("operation", pa.string(), nullable=False),
        pa.field("calls", pa.int64(), nullable=False),
        pa.field("failed", pa.int64(), nullable=False),  # of the calls
        pa.field("items", pa.int64(), nullable=False),  # memories or links returned or written
        pa.field("total_s", pa.float64(), nullable=False),
        pa.field("mean_ms", pa.float64(), nullable=False),
        pa.field("p50_ms", pa.float64(), nullable=False),  # to within an eighth, as the buckets are
        pa.field("p95_ms", pa.float64(), nullable=False),
        pa.field("max_ms", pa.float64(), nullable=False),
        pa.field("items_per_s", pa.float64(), nullable=False),  # of the time in calls
        pa.field("since", TIMESTAMP, nullable=False),
    ]
)
