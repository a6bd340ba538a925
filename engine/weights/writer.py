"""Write weight files, V1 or V2, so that their tensors can be mapped.

Uncompressed, a tensor is a row group of its own, PLAIN, without a dictionary: a column chunk that holds one
value ends with that value's raw bytes. A padding column before each binary column pushes the bytes to a
multiple of 64. What a reader wants to know about the tensors is repeated in the footer, so that opening a
file reads nothing else. It stays a standard Parquet file of the columns in `aios_db.schema.weights`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aios_db.engine.weights.files import atomic_write
from aios_db.engine.weights.format import BINARY_COLUMNS, CONTENT_KEY, INDEX_KEY, Compression
from aios_db.engine.weights.seal import reserve_seal, seal_footer
from aios_db.engine.weights.stored import ContentHash, StoredTensor, as_buffer, check_finite, checksum
from aios_db.schema.errors import WeightsError
from aios_db.schema.weights import V1, V2

ALIGNMENT = 64
ROWS_PER_GROUP = 10  # of compressed files, as older converters wrote them

# Between 64 and 127 bytes every length in a page header takes the same number of bytes, so that the size of
# the padding moves what follows by exactly that size.
_MIN_PADDING = 64
_PAGE_OVERHEAD = 64  # at least what a data page holds beside its value
_MAGIC = b"PAR1"


def write_weights(
    path: str | Path,
    layers: Iterable[StoredTensor],
    *,
    version: Literal[1, 2] = 1,
    compression: Compression = "none",
) -> str:
    """Write ``layers`` in order to ``path``, atomically, holding one layer (or ten, compressed) in memory.

    Parameters
    ----------
    version
        1 writes floats without the quantization columns, 2 writes all of them.
    compression
        'none' makes the file mappable.

    Returns
    -------
    str
        SHA-256 (hex) of the content: names, shapes, dtypes and bytes, whatever the compression.

    Raises
    ------
    WeightsError
        A layer contradicts itself, holds NaN or infinity, occurs twice, or is quantized in a V1 file.
    """
    path = Path(path)
    checked = _checked(layers, version)
    with atomic_write(path, forced=True) as part:
        with part.open("w+b") as file:
            write = _write_mappable if compression == "none" else _write_compressed
            digest = write(file, checked, V1 if version == 1 else V2, compression)
            seal_footer(file)
        part.chmod(0o644)
    return digest


def _checked(layers: Iterable[StoredTensor], version: int) -> Iterator[StoredTensor]:
    names: set[str] = set()
    for layer in layers:
        layer.info.check()
        if layer.info.name in names:
            raise WeightsError(f"layer {layer.info.name!r} occurs twice")
        if version == 1 and layer.info.quant_type:
            raise WeightsError(
                f"layer {layer.info.name!r} is {layer.info.quant_type}: V1 files hold plain floats"
            )
        names.add(layer.info.name)
        check_finite(layer)
        yield layer


def _write_mappable(file: Any, layers: Iterable[StoredTensor], schema: pa.Schema, _: str) -> str:
    padded = _padded(schema)
    content, index = ContentHash(), []
    with _open(file, padded, "none") as writer:
        for layer in layers:
            row = _row(layer, padded)
            writer.write_table(_table([_pad(file.tell(), row, padded)], padded))
            content.update(layer)
            lengths = {column: len(row[column]) for column in BINARY_COLUMNS if column in row}
            index.append({"layer": asdict(layer.info), "lengths": lengths, "crc32": checksum(layer)})
        writer.add_key_value_metadata({INDEX_KEY: json.dumps(index), CONTENT_KEY: content.hexdigest()})
        reserve_seal(file)
    return content.hexdigest()


def _write_compressed(file: Any, layers: Iterable[StoredTensor], schema: pa.Schema, compression: str) -> str:
    content, rows = ContentHash(), []
    with _open(file, schema, compression) as writer:
        for layer in layers:
            rows.append(_row(layer, schema))
            content.update(layer)
            if len(rows) == ROWS_PER_GROUP:
                writer.write_table(_table(rows, schema))
                rows = []
        if rows:
            writer.write_table(_table(rows, schema))
        writer.add_key_value_metadata({CONTENT_KEY: content.hexdigest()})
        reserve_seal(file)
    return content.hexdigest()


def _padded(schema: pa.Schema) -> pa.Schema:
    fields = []
    for field in schema:
        if field.name in BINARY_COLUMNS:
            fields.append(pa.field(f"padding_{field.name}", pa.binary()))
        fields.append(field)
    return pa.schema(fields)


def _pad(start: int, row: dict[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """Return ``row``, to be written at ``start``, with the padding that aligns its binary columns.

    Found by writing the row to memory with the least padding and looking where each value ends: nothing in
    a row group depends on where in the file it stands, and a value's length matters only by the bytes it
    takes itself.
    """
    columns = [column for column in BINARY_COLUMNS if row.get(column)]
    padded = row | {f"padding_{column}": b"\0" * _MIN_PADDING for column in columns}
    trial = padded | {column: memoryview(row[column])[: _stand_in(len(row[column]))] for column in columns}
    sink = pa.BufferOutputStream()
    with _open(sink, schema, "none") as writer:
        writer.write_table(_table([trial], schema))
    group = pq.ParquetFile(pa.BufferReader(sink.getvalue())).metadata.row_group(0)
    shift = start - len(_MAGIC)
    for column in columns:
        chunk = group.column(schema.get_field_index(column))  # every field has one leaf
        begin = chunk.data_page_offset + chunk.total_compressed_size - len(trial[column]) + shift
        extra = -begin % ALIGNMENT
        padded[f"padding_{column}"] = b"\0" * (_MIN_PADDING + extra)
        shift += extra + len(row[column]) - len(trial[column])
    return padded


def _stand_in(length: int) -> int:
    """Return a smaller length that a page header writes in as many bytes (zigzag varint: 7 bits a byte)."""
    for boundary in (1 << 27, 1 << 20, 1 << 13):
        if length >= boundary + _PAGE_OVERHEAD:
            return boundary + _PAGE_OVERHEAD
        if length > boundary - _PAGE_OVERHEAD:
            break
    return length


def _open(sink: Any, schema: pa.Schema, compression: str) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        sink, schema, compression=compression, compression_level=3 if compression == "zstd" else None,
        use_dictionary=False, write_statistics=False,
        write_page_checksum=compression != "none",  # its length in a page header varies
    )  # fmt: skip


def _row(layer: StoredTensor, schema: pa.Schema) -> dict[str, Any]:
    info = layer.info
    row = {
        "layer_name": info.name, "shape": info.shape, "dtype": info.dtype, "num_params": info.num_params,
        "quant_type": info.quant_type, "quant_axis": info.quant_axis, "group_size": info.group_size,
    }  # fmt: skip
    row |= {column: as_buffer(getattr(layer, column)) for column in BINARY_COLUMNS}
    return {name: row.get(name, b"") for name in schema.names}


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.table(
        [_column([row[field.name] for row in rows], field.type) for field in schema], schema=schema
    )


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if kind != pa.binary():
        return pa.array(values, kind)
    if len(values) == 1:  # without a copy
        offsets = pa.py_buffer(np.array([0, len(values[0])], dtype=np.int32))
        return pa.Array.from_buffers(kind, 1, [None, offsets, as_buffer(values[0])])
    return pa.array([memoryview(value) for value in values], kind)
