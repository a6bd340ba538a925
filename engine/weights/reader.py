"""Read weight files, V1 or V2, on demand.

Opening reads the footer (in files of other writers also the small columns). A file of our own writer is
mapped, and its tensors are views of the mapping: the pages are shared between processes and read when they
are used. Other files are decompressed one row group at a time, when a layer in it is asked for.
"""

from __future__ import annotations

import json
import logging
import math
import mmap
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aios_db.engine.weights.layer import LayerInfo, tensor_view
from aios_db.engine.weights.quantized import dequantize
from aios_db.engine.weights.writer import (
    ALIGNMENT,
    BINARY_COLUMNS,
    CONTENT_KEY,
    INDEX_KEY,
    Layer,
    check_finite,
)
from aios_db.schema.errors import WeightsError
from aios_db.schema.weights import V1, V2

if TYPE_CHECKING:
    import torch

log = logging.getLogger("aios_db.engine.weights")

_PREFIX = 4  # bytes of a PLAIN binary value's length
_ERRORS = (
    pa.ArrowException,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    MemoryError,
    OverflowError,
)


@dataclass(frozen=True)
class Extent:
    """Where the raw bytes of a tensor lie in the file."""

    offset: int
    length: int


class WeightFile:
    """A weight file, open for reading; safe to use from several threads.

    Attributes
    ----------
    version : int
        1, or 2 when the file has a ``quant_type`` column.
    layers : Mapping[str, LayerInfo]
        The tensors by name, in the file's order.
    extents : Mapping[str, Extent]
        Where each tensor's bytes are mapped; empty when the file is not mapped.
    """

    def __init__(self, path: str | Path, *, mapped: bool = True) -> None:
        """Open ``path``; reads no tensor.

        Raises
        ------
        WeightsError
            The file is missing, truncated, no Parquet file, or not of the columns of V1 or V2.
        """
        self.path = Path(path)
        self._lock = threading.Lock()
        self._group: tuple[int, pa.Table] | None = None
        self._rows: dict[str, tuple[int, int]] = {}
        self._blocks: dict[str, dict[str, Extent]] = {}
        self._mapping: mmap.mmap | None = None
        try:
            self._source = self._open(mapped)
            self._parquet = pq.ParquetFile(self._source, page_checksum_verification=True)
            self.version = self._detect()
            self.layers: Mapping[str, LayerInfo] = self._read_index()
            for info in self.layers.values():
                info.check()
        except WeightsError as error:
            raise WeightsError(f"{self.path}: {error}") from error
        except _ERRORS as error:
            raise WeightsError(f"{self.path} is no readable weights file: {error}") from error
        log.info(
            "opened %s: V%d, %d tensors, %s",
            self.path,
            self.version,
            len(self.layers),
            "mapped" if self.is_mapped else "read by row group",
        )

    @property
    def is_mapped(self) -> bool:
        """Whether tensors are views of the mapped file."""
        return bool(self._blocks) and self._mapping is not None

    @property
    def content_sha256(self) -> str | None:
        """The content's SHA-256 as the writer put it into the footer; None in files of other writers."""
        value = (self._parquet.metadata.metadata or {}).get(CONTENT_KEY.encode())
        return value.decode("ascii", "replace") if value else None

    def raw(self, name: str) -> Layer:
        """Return a tensor's description and its stored buffers, without a copy where the file is mapped.

        Raises
        ------
        WeightsError
            There is no such layer, or its bytes cannot be read or are of the wrong length.
        """
        info = self.layers.get(name)
        if info is None:
            raise WeightsError(f"{self.path} has no layer {name!r}")
        try:
            layer = Layer(info, **(self._located(name) if name in self._blocks else self._decoded(name)))
            info.stored_dtype(layer.data.size)
            if name not in self._blocks:  # our own writer has looked already
                check_finite(layer)
        except WeightsError as error:
            raise WeightsError(f"{self.path}: {error}") from error
        except _ERRORS as error:
            raise WeightsError(f"{self.path}: layer {name!r} cannot be read: {error}") from error
        return layer

    def tensor(self, name: str) -> torch.Tensor:
        """Return a tensor in its stored float dtype; quantized ones dequantized to float32.

        A float tensor shares memory with the mapped file, or with the decompressed row group.

        Raises
        ------
        WeightsError
            As `raw`.
        """
        import torch

        layer = self.raw(name)
        info = layer.info
        if info.is_quantized:
            return torch.from_numpy(self.array(name))
        return tensor_view(layer.data, info.stored_dtype(layer.data.size), info.shape)

    def array(self, name: str) -> Any:
        """Return a tensor as a NumPy array in its stored dtype (bfloat16 and quantized ones as float32)."""
        layer = self.raw(name)
        info = layer.info
        try:
            if info.is_quantized:
                return dequantize(
                    layer.data, info.quant_type, layer.scales, layer.zero_points,
                    info.shape, info.group_size, info.quant_axis,
                )  # fmt: skip
        except WeightsError as error:
            raise WeightsError(f"{self.path}: layer {name!r}: {error}") from error
        dtype = info.stored_dtype(layer.data.size)
        if dtype == "bfloat16":  # the upper half of a float32
            upper = np.frombuffer(layer.data, dtype=np.uint16).astype(np.uint32) << 16
            return upper.view(np.float32).reshape(info.shape)
        return np.frombuffer(layer.data, dtype=dtype).reshape(info.shape)

    def drop_cache(self) -> None:
        """Forget the last decompressed row group."""
        with self._lock:
            self._group = None

    def close(self) -> None:
        """Close the file. Tensors that still view the mapping keep it alive."""
        self.drop_cache()
        self._parquet.close()

    def _open(self, mapped: bool) -> Any:
        if not mapped:
            return pa.OSFile(str(self.path))
        with self.path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise WeightsError("the file is empty")
            # Copy on write: a stray in-place operation changes one process's memory, not the file, and torch
            # takes the buffer as writable.
            self._mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._buffer = pa.py_buffer(self._mapping)
        return pa.BufferReader(self._buffer)

    def _detect(self) -> int:
        names = set(self._parquet.schema_arrow.names)
        missing = [name for name in V1.names if name not in names]
        if missing:
            raise WeightsError(f"columns {', '.join(missing)} are missing: no weights file")
        return 2 if "quant_type" in names else 1

    def _read_index(self) -> Mapping[str, LayerInfo]:
        stored = (self._parquet.metadata.metadata or {}).get(INDEX_KEY.encode())
        if stored is not None:
            try:
                return self._trusted_index(json.loads(stored))
            except (*_ERRORS, WeightsError) as error:
                self._blocks.clear()
                log.warning("%s: the index in the footer is not used: %s", self.path, error)
        return self._scan_index()

    def _scan_index(self) -> Mapping[str, LayerInfo]:
        columns = [name for name in (V1 if self.version == 1 else V2).names if name not in BINARY_COLUMNS]
        present = [name for name in columns if name in self._parquet.schema_arrow.names]
        entries = []
        for group in range(self._parquet.num_row_groups):
            for row, values in enumerate(self._parquet.read_row_group(group, columns=present).to_pylist()):
                entries.append(_layer_info(values))
                self._rows[entries[-1].name] = (group, row)
        return _by_name(entries)

    def _trusted_index(self, stored: list[dict[str, Any]]) -> Mapping[str, LayerInfo]:
        """Return the layers of the footer's index, checked against Parquet's own account of the file."""
        metadata = self._parquet.metadata
        if not metadata.num_row_groups == metadata.num_rows == len(stored):
            raise WeightsError(f"{len(stored)} entries for {metadata.num_rows} rows")
        positions = {
            metadata.schema.column(i).path: i
            for i in range(metadata.num_columns)
            if metadata.schema.column(i).path in BINARY_COLUMNS
        }
        entries = []
        for number, entry in enumerate(stored):
            info = LayerInfo(**{**entry["layer"], "shape": tuple(entry["layer"]["shape"])})
            info.check()
            group = metadata.row_group(number)
            self._blocks[info.name] = {
                column: _extent(group.column(position), int(entry["lengths"][column]))
                for column, position in positions.items()
            }
            info.stored_dtype(self._blocks[info.name]["data"].length)
            entries.append(info)
        return _by_name(entries)

    def _located(self, name: str) -> dict[str, Any]:
        """Return the buffers of a layer whose place in the file is known: views of the mapping, or read."""
        buffers = {}
        for column, extent in self._blocks[name].items():
            start = extent.offset - _PREFIX
            if self._mapping is not None:
                value = self._buffer.slice(start, _PREFIX + extent.length)
            else:
                with self._lock:
                    self._source.seek(start)
                    value = self._source.read_buffer(_PREFIX + extent.length)
            if (
                int.from_bytes(memoryview(value)[:_PREFIX], "little") != extent.length
                or value.size != _PREFIX + extent.length
            ):
                raise WeightsError(
                    f"layer {name!r}: no {extent.length} bytes of {column} at offset {extent.offset}"
                )
            buffers[column] = value.slice(_PREFIX)
        return buffers

    def _decoded(self, name: str) -> dict[str, Any]:
        group, row = self._rows[name]
        with self._lock:
            if self._group is None or self._group[0] != group:
                columns = [name for name in BINARY_COLUMNS if name in self._parquet.schema_arrow.names]
                self._group = None  # before the next is read: two need not fit
                self._group = (group, self._parquet.read_row_group(group, columns=columns))
            table = self._group[1]
        buffers = {column: table.column(column)[row].as_buffer() for column in table.column_names}
        if buffers["data"] is None:
            raise WeightsError(f"layer {name!r}: data is NULL")
        return buffers


def _extent(chunk: Any, length: int) -> Extent:
    """Return where the one value, of ``length`` bytes, of an uncompressed column chunk lies: at its end."""
    offset = chunk.data_page_offset + chunk.total_compressed_size - length
    if (
        chunk.compression != "UNCOMPRESSED"
        or chunk.num_values != 1
        or chunk.has_dictionary_page
        or length < 0
        or offset - _PREFIX < chunk.data_page_offset
        or (length and offset % ALIGNMENT)
    ):
        raise WeightsError(f"column {chunk.path_in_schema} does not hold one plain value of {length} bytes")
    return Extent(offset, length)


def _layer_info(row: dict[str, Any]) -> LayerInfo:
    name = row["layer_name"]
    if name is None or row["shape"] is None or None in row["shape"] or row["dtype"] is None:
        raise WeightsError(f"layer {name!r}: name, shape or dtype is NULL")
    shape = tuple(row["shape"])
    count = row["num_params"] if row["num_params"] is not None else math.prod(shape)
    axis, group_size = row.get("quant_axis"), row.get("group_size")
    quant_type = row.get("quant_type") or ""
    return LayerInfo(
        name, shape, row["dtype"], count, quant_type, -1 if axis is None else axis, group_size or 0
    )


def _by_name(entries: list[LayerInfo]) -> Mapping[str, LayerInfo]:
    layers: dict[str, LayerInfo] = {}
    for info in entries:
        if info.name in layers:
            raise WeightsError(f"layer {info.name!r} occurs twice")
        layers[info.name] = info
    return layers
