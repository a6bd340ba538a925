"""The `validation_reports` table: one row a validation of a version that was installed in a database."""

from __future__ import annotations

import pyarrow as pa

from aios_db.schema.memories import TIMESTAMP

TABLE = "validation_reports"
KEY = "report_id"

SCHEMA = pa.schema(
    [
        pa.field("report_id", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),  # of weight_versions
        pa.field("original_version", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),  # of the weights that were validated
        pa.field("created_at", TIMESTAMP, nullable=False),
        pa.field("passed", pa.bool_(), nullable=False),
        pa.field("inputs", pa.int32(), nullable=False),  # texts, or tokens of a language model
        pa.field("cosine_mean", pa.float64()),
        pa.field("cosine_p5", pa.float64()),
        pa.field("cosine_min", pa.float64()),
        pa.field("spearman", pa.float64()),
        pa.field("recall_at_10", pa.float64()),
        pa.field("perplexity_original", pa.float64()),
        pa.field("perplexity_candidate", pa.float64()),
        pa.field("failures", pa.list_(pa.string()), nullable=False),
        pa.field("warnings", pa.list_(pa.string()), nullable=False),
        pa.field("report", pa.string(), nullable=False),  # JSON: the whole report
    ]
)
