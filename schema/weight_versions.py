"""The `weight_versions` table: one row a version of a model's weights that was installed in a database."""

from __future__ import annotations

import pyarrow as pa

from aios_db.schema.memories import TIMESTAMP

TABLE = "weight_versions"
KEY = "version"

SCHEMA = pa.schema(
    [
        pa.field("version", pa.string(), nullable=False),  # name@ and 12 hex digits of sha256
        pa.field("name", pa.string(), nullable=False),  # of the model directory
        # text, image, audio, language or joint: what its vectors are compared with
        pa.field("space", pa.string(), nullable=False),
        pa.field(
            "schema_version", pa.string(), nullable=False
        ),  # of the weight file: V1, V2; plugged: a user's code
        pa.field("quant_type", pa.string(), nullable=False),  # fp32, fp16, int8, int2: of most weights
        pa.field("path", pa.string(), nullable=False),  # the model directory
        pa.field("sha256", pa.string(), nullable=False),  # of the weights' content
        pa.field("bytes", pa.int64(), nullable=False),  # of the weight file
        pa.field("bits_per_weight", pa.float64(), nullable=False),  # scales and zero points included
        pa.field("parent_version", pa.string()),  # what it was converted or quantized from
        pa.field("calibration", pa.string()),  # JSON: the recipe of the quantization
        pa.field("report_id", pa.string()),  # of validation_reports
        pa.field("is_active", pa.bool_(), nullable=False),  # one version a space
        pa.field("installed_at", TIMESTAMP, nullable=False),
        pa.field("activated_at", TIMESTAMP),
    ]
)
