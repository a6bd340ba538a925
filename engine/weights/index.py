"""What is in a weight file and where: from the footer of our own files, from the small columns of others."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq

from aios_db.engine.weights.format import BINARY_COLUMNS, INDEX_KEY
from aios_db.engine.weights.layer import LayerInfo
from aios_db.schema.errors import WeightsError
from aios_db.schema.weights import V2

LENGTH_PREFIX = 4  # bytes before a PLAIN binary value


@dataclass(frozen=True)
class Extent:
    """A part of the file."""

    offset: int
    length: int


@dataclass(frozen=True)
class Index:
    """The tensors of a file by name, in its order, and how to get at them."""

    layers: Mapping[str, LayerInfo]
    extents: Mapping[str, Mapping[str, Extent]] = field(default_factory=dict)
    """By layer and column, where the raw bytes lie; empty in files of other writers."""
    checksums: Mapping[str, int] = field(default_factory=dict)
    """CRC-32 of each layer; empty in files of other writers."""
    rows: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Row group and row in it of each layer; empty where the extents are known."""

    @property
    def is_located(self) -> bool:
        """Whether the place of every tensor's bytes is known."""
        return bool(self.extents)

    def parts(self, name: str) -> Iterator[Extent]:
        """Yield the parts of the file that hold a layer's bytes, if their place is known."""
        yield from self.extents.get(name, {}).values()


def sealed_index(metadata: pq.FileMetaData) -> Index | None:
    """Return the index in the footer of a file of ours; None when the file is compressed and has none."""
    stored = (metadata.metadata or {}).get(INDEX_KEY.encode())
    if stored is None:
        return None
    entries = json.loads(stored)
    positions = {metadata.schema.column(i).path: i for i in range(metadata.num_columns)}
    extents, checksums, infos = {}, {}, []
    for number, entry in enumerate(entries):
        info = LayerInfo(**{**entry["layer"], "shape": tuple(entry["layer"]["shape"])})
        group = metadata.row_group(number)
        extents[info.name] = {
            column: _extent(group.column(positions[column]), int(entry["lengths"][column]))
            for column in BINARY_COLUMNS
            if column in positions
        }
        checksums[info.name] = int(entry["crc32"])
        infos.append(info)
    return Index(_by_name(infos), extents=extents, checksums=checksums)


def scan_rows(parquet: pq.ParquetFile) -> Index:
    """Return the index of any weight file by reading every column but the binary ones.

    Raises
    ------
    WeightsError
        A row contradicts itself.
    """
    names = [name for name in V2.names if name not in BINARY_COLUMNS and name in parquet.schema_arrow.names]
    infos, rows = [], {}
    for group in range(parquet.num_row_groups):
        for row, values in enumerate(parquet.read_row_group(group, columns=names).to_pylist()):
            info = _layer_info(values)
            info.check()
            infos.append(info)
            rows[info.name] = (group, row)
    return Index(_by_name(infos), rows=rows)


def _extent(chunk: Any, length: int) -> Extent:
    """Return where the one value, of ``length`` bytes, of an uncompressed column chunk lies: at its end."""
    return Extent(chunk.data_page_offset + chunk.total_compressed_size - length, length)


def _layer_info(row: Mapping[str, Any]) -> LayerInfo:
    name, shape, dtype = row["layer_name"], row["shape"], row["dtype"]
    if name is None or dtype is None or shape is None or None in shape:
        raise WeightsError(f"layer {name!r}: its name, shape or dtype is NULL")
    count = row["num_params"] if row["num_params"] is not None else math.prod(shape)
    axis = row.get("quant_axis")
    return LayerInfo(
        name, tuple(shape), dtype, count,
        row.get("quant_type") or "", -1 if axis is None else axis, row.get("group_size") or 0,
    )  # fmt: skip


def _by_name(infos: Iterable[LayerInfo]) -> Mapping[str, LayerInfo]:
    layers: dict[str, LayerInfo] = {}
    for info in infos:
        if info.name in layers:
            raise WeightsError(f"layer {info.name!r} occurs twice")
        layers[info.name] = info
    return layers
