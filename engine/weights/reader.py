"""Read weight files, V1 or V2, on demand.

Opening reads the footer (in files of other writers also the small columns). A file of our own writer is
mapped, and its tensors are views of the mapping: the pages are shared between processes and read when they
are used. Other files are decompressed one row group at a time, when a layer in it is asked for.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aios_db.engine.weights.format import BINARY_COLUMNS, CONTENT_KEY
from aios_db.engine.weights.index import LENGTH_PREFIX, Extent, Index, scan_rows, sealed_index
from aios_db.engine.weights.layer import LayerInfo, tensor_view
from aios_db.engine.weights.quantized import dequantize
from aios_db.engine.weights.seal import footer_is_sealed
from aios_db.engine.weights.source import FileSource, MappedSource, Source
from aios_db.engine.weights.stored import StoredTensor, check_finite, checksum
from aios_db.schema.errors import OperationalError, WeightsError
from aios_db.schema.shortage import lacks_memory
from aios_db.schema.weights import V1

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

log = logging.getLogger("aios_db.engine.weights")

# Whatever pyarrow and JSON raise for a file that is not what it says.
_ERRORS = (
    pa.ArrowException,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    MemoryError,
)


class WeightFile:
    """A weight file, open for reading; safe to use from several threads.

    Attributes
    ----------
    version : int
        1, or 2 when the file has a ``quant_type`` column.
    layers : Mapping[str, LayerInfo]
        The tensors by name, in the file's order.
    """

    def __init__(self, path: str | Path, *, mapped: bool = True) -> None:
        """Open ``path``; reads no tensor.

        Raises
        ------
        WeightsError
            The file is missing, truncated, no Parquet file, or not of the columns of V1 or V2.
        OperationalError
            There is too little memory to map it.
        """
        self.path = Path(path)
        self._lock = threading.Lock()
        self._group: tuple[int, pa.Table] | None = None
        try:
            self._source: Source = MappedSource(self.path) if mapped else FileSource(self.path)
            self._sealed = footer_is_sealed(self._source)
            self._parquet = pq.ParquetFile(self._source.parquet, page_checksum_verification=True)
            self.version = self._detect()
            self._index = self._read_index()
        except (*_ERRORS, WeightsError) as error:
            if isinstance(error, OSError) and lacks_memory(error):
                raise OperationalError(f"{self.path} is not mapped, for want of memory: {error}") from error
            raise WeightsError(f"{self.path} is no readable weights file: {error}") from error
        self.layers: Mapping[str, LayerInfo] = self._index.layers
        log.info(
            "opened %s: V%d, %s, %s",
            self.path, self.version, self.quantization, "mapped" if self.is_mapped else "read by row group",
            extra={
                "event": "weights_opened", "weights": str(self.path), "version": self.version,
                "tensors": len(self.layers),
            },
        )  # fmt: skip

    @property
    def is_mapped(self) -> bool:
        """Whether tensors are views of the mapped file."""
        return isinstance(self._source, MappedSource) and self._index.is_located

    @property
    def quantization(self) -> str:
        """The quantization types in the file, like 'int2, int8'; 'floats' when there are none."""
        return ", ".join(sorted({info.quant_type for info in self.layers.values()} - {""})) or "floats"

    @property
    def content_sha256(self) -> str | None:
        """The content's SHA-256 as the writer put it into the footer; None in files of other writers."""
        value = (self._parquet.metadata.metadata or {}).get(CONTENT_KEY.encode())
        return value.decode("ascii", "replace") if value and self._sealed else None

    def raw(self, name: str) -> StoredTensor:
        """Return a tensor's description and its stored buffers, without a copy where the file is mapped.

        Raises
        ------
        WeightsError
            There is no such layer, its bytes cannot be read or are of the wrong length, or they hold NaN.
        """
        info = self.layers.get(name)
        if info is None:
            raise WeightsError(f"{self.path}: layer {name!r} is missing")
        try:
            layer = StoredTensor(
                info, **(self._located(name) if self._index.is_located else self._decoded(name))
            )
            info.stored_dtype(layer.data.size)
            if not self._index.is_located:  # our own writer has looked already
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
        if layer.info.is_quantized:
            return torch.from_numpy(self.array(name))
        return tensor_view(layer.data, layer.info.stored_dtype(layer.data.size), layer.info.shape)

    def array(self, name: str) -> NDArray[Any]:
        """Return a tensor as a NumPy array in its stored dtype (bfloat16 and quantized ones as float32).

        Raises
        ------
        WeightsError
            As `raw`.
        """
        layer = self.raw(name)
        info = layer.info
        if info.is_quantized:
            try:
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

    def verify(self) -> None:
        """Read every tensor and compare it with the checksum in the footer, where there is one.

        Raises
        ------
        WeightsError
            A tensor cannot be read, holds NaN, or is not what was written; names the layer.
        """
        for name, info in self.layers.items():
            self.check(name)
            self.check_finite(name)
            if info.is_quantized:
                self.array(name)
        self.drop_cache()

    def check(self, name: str) -> None:
        """Read a tensor and raise `WeightsError` when it is not what our writer wrote."""
        expected = self._index.checksums.get(name)
        if expected is not None and checksum(self.raw(name)) != expected:
            raise WeightsError(f"{self.path}: layer {name!r} has changed since it was written")

    def check_finite(self, name: str) -> None:
        """Read a tensor and raise `WeightsError` when it holds NaN or infinity."""
        layer = self.raw(name)
        try:
            check_finite(layer)
        except WeightsError as error:
            raise WeightsError(f"{self.path}: {error}") from error

    def stored_bytes(self, name: str) -> int:
        """Return how many bytes a tensor's values take, without scales and zero points.

        In files that are not mapped the planes of an int2 tensor are not counted.
        """
        data = self._index.extents.get(name, {}).get("data")
        return self.layers[name].nbytes if data is None else data.length

    def resident(self, name: str) -> int:
        """Return how many mapped bytes of a tensor this process has in memory."""
        return sum(self._source.resident(part.offset, part.length) for part in self._index.parts(name))

    def cached(self, name: str) -> int:
        """Return how many mapped bytes of a tensor are in the page cache, this process's or not."""
        if not isinstance(self._source, MappedSource):
            return 0
        return sum(self._source.cached(part.offset, part.length) for part in self._index.parts(name))

    def release(self, name: str) -> None:
        """Give a tensor's mapped pages back; tensors that view them stay valid."""
        for part in self._index.parts(name):
            self._source.release(part.offset, part.length)

    def maps(self, address: int) -> bool:
        """Whether ``address`` lies in the mapped file."""
        return self.offset_of(address) is not None

    def offset_of(self, address: int) -> int | None:
        """Return where in the mapped file ``address`` lies, or None."""
        return self._source.offset_of(address) if isinstance(self._source, MappedSource) else None

    def is_same(self, status: os.stat_result) -> bool:
        """Whether ``status`` is that of the mapped file, unchanged since it was opened."""
        return isinstance(self._source, MappedSource) and self._source.is_same(status)

    def drop_cache(self) -> None:
        """Forget the last decompressed row group."""
        with self._lock:
            self._group = None

    def __enter__(self) -> WeightFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Tensors that still view the mapping keep it alive."""
        self.drop_cache()
        self._parquet.close()
        self._source.close()

    def _detect(self) -> int:
        names = set(self._parquet.schema_arrow.names)
        missing = [name for name in V1.names if name not in names]
        if missing:
            raise WeightsError(f"columns {', '.join(missing)} are missing")
        return 2 if "quant_type" in names else 1

    def _read_index(self) -> Index:
        index = sealed_index(self._parquet.metadata) if self._sealed else None
        return index if index is not None else scan_rows(self._parquet)

    def _located(self, name: str) -> dict[str, pa.Buffer]:
        """Return the buffers of a layer whose place in the file is known."""
        return {column: self._value(name, column, part) for column, part in self._index.extents[name].items()}

    def _value(self, name: str, column: str, part: Extent) -> pa.Buffer:
        value = self._source.buffer(part.offset - LENGTH_PREFIX, LENGTH_PREFIX + part.length)
        prefix = int.from_bytes(memoryview(value)[:LENGTH_PREFIX], "little")
        if value.size != LENGTH_PREFIX + part.length or prefix != part.length:
            raise WeightsError(f"layer {name!r}: no {part.length} bytes of {column} at offset {part.offset}")
        return value.slice(LENGTH_PREFIX)

    def _decoded(self, name: str) -> dict[str, pa.Buffer]:
        """Return the buffers of a layer out of its row group, which is kept for the layers that follow."""
        group, row = self._index.rows[name]
        with self._lock:
            if self._group is None or self._group[0] != group:
                columns = [column for column in BINARY_COLUMNS if column in self._parquet.schema_arrow.names]
                self._group = None  # before the next is read: two need not fit
                self._group = (group, self._parquet.read_row_group(group, columns=columns))
            table = self._group[1]
        buffers = {column: _row_buffer(table.column(column), row) for column in table.column_names}
        if buffers["data"] is None:
            raise WeightsError(f"layer {name!r}: data is NULL")
        return buffers


def _row_buffer(column: pa.ChunkedArray, row: int) -> pa.Buffer | None:
    """Return one value of a binary column as a view of the column's memory."""
    for chunk in column.chunks:
        if row < len(chunk):
            break
        row -= len(chunk)
    if not chunk[row].is_valid:
        return None
    wide = chunk.cast(pa.large_binary())
    _, offsets, values = wide.buffers()
    start, end = np.frombuffer(offsets, dtype=np.int64)[wide.offset + row :][:2]
    return values.slice(start, end - start)
