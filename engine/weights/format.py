"""What reader and writer of weight files agree on, beyond the columns in `aios_db.schema.weights`."""

from __future__ import annotations

from typing import Literal

Compression = Literal["none", "zstd", "lz4", "snappy"]

BINARY_COLUMNS = ("data", "scales", "zero_points")
INDEX_KEY = "aios_db.layers"
"""In the footer: of each tensor its description, the lengths of its columns and its CRC-32, as JSON."""
CONTENT_KEY = "aios_db.content_sha256"
"""In the footer: the digest that `ContentHash` makes."""
