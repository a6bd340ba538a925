"""A weight file as a table: what `model_weights` shows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile

DESCRIPTION = pa.schema(
    [
        pa.field("layer_name", pa.string(), nullable=False),
        pa.field("shape", pa.list_(pa.int32()), nullable=False),
        pa.field("dtype", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),  # as stored, without scales and zero points
        pa.field("quant_type", pa.string()),  # NULL in V1 files
        pa.field("resident", pa.bool_(), nullable=False),  # wholly in memory (the page cache)
    ]
)


def describe_weights(path: str | Path) -> pa.Table:
    """Return one row a tensor of a weight file, or of a model directory, with the columns of `DESCRIPTION`.

    Reads the footer and the small columns, no tensor. Only tensors of a mappable file can be resident.

    Raises
    ------
    ModelNotFoundError
        ``path`` is a directory without weights.
    WeightsError
        The file cannot be read.
    """
    path = Path(path)
    with WeightFile(ModelDirectory.open(path).weights if path.is_dir() else path) as file:
        rows = [
            {
                "layer_name": info.name,
                "shape": info.shape,
                "dtype": info.dtype,
                "bytes": file.stored_bytes(info.name),
                "quant_type": info.quant_type or None,
                "resident": info.nbytes > 0 and file.cached(info.name) >= info.nbytes,
            }
            for info in file.layers.values()
        ]
    return pa.Table.from_pylist(rows, schema=DESCRIPTION)
