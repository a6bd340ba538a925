"""`*.lora.arrow` files: an Arrow IPC file with a row per module."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from aios_db.engine.weights.files import atomic_write
from aios_db.federation.card import Array, Factors, LoraCard
from aios_db.federation.ipc_sizes import unpacked_bytes
from aios_db.schema.advice import with_advice
from aios_db.schema.errors import DataError, OperationalError, WeightsError

SUFFIX = ".lora.arrow"

SCHEMA = pa.schema(
    [
        ("module", pa.string()),
        ("weight_a", pa.binary()),
        ("weight_b", pa.binary()),
        ("shape_a", pa.list_(pa.int32())),
        ("shape_b", pa.list_(pa.int32())),
        ("dtype", pa.string()),
    ]
)
_OWN = ("lora_name", "lora_rank", "lora_alpha", "target_modules")
_TEXTS = (pa.string(), pa.large_string())
_BYTES = (pa.binary(), pa.large_binary())
_SHAPES = tuple(kind(size()) for kind in (pa.list_, pa.large_list) for size in (pa.int32, pa.int64))
_KINDS = {
    "module": _TEXTS,
    "weight_a": _BYTES,
    "weight_b": _BYTES,
    "shape_a": _SHAPES,
    "shape_b": _SHAPES,
    "dtype": _TEXTS,
}
_MOST_BYTES = 1 << 31  # of one factor; a card's are millions of bytes at most
MOST_BYTES = 64 << 20
"""Of a card in memory, where nothing else is said."""


def write_card(card: LoraCard, path: str | Path) -> Path:
    """Write a card as the file ``path``, whole or not at all; return the path.

    Raises
    ------
    OperationalError
        It cannot be written.
    """
    path = Path(path)
    try:
        with atomic_write(path, forced=True) as part:
            part.write_bytes(card_bytes(card))
    except OSError as error:
        raise OperationalError(f"cannot write {path}: {with_advice(error)}") from error
    return path


def read_card(path: str | Path) -> LoraCard:
    """Read a card's file.

    Raises
    ------
    WeightsError
        It is no such file, or its bytes are not what it says.
    OperationalError
        It cannot be opened.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OperationalError(f"cannot read {path}: {error}") from error
    return card_from_bytes(content, where=str(path), name=path.name.removesuffix(SUFFIX))


def card_bytes(card: LoraCard) -> bytes:
    """Return a card as the content of such a file; the same card always gives the same bytes."""
    metadata = {key: str(value) for key, value in sorted(card.metadata.items()) if key not in _OWN}
    metadata |= {
        "lora_name": card.name,
        "lora_rank": str(card.rank),
        "lora_alpha": f"{card.alpha:g}" if float(f"{card.alpha:g}") == card.alpha else repr(card.alpha),
        "target_modules": ",".join(card.target_modules),
    }
    rows = [
        {
            "module": module,
            "weight_a": _bytes(factors.a),
            "weight_b": _bytes(factors.b),
            "shape_a": list(factors.a.shape),
            "shape_b": list(factors.b.shape),
            "dtype": str(factors.a.dtype),
        }
        for module, factors in sorted(card.modules.items())
    ]
    table = pa.Table.from_pylist(rows, schema=SCHEMA.with_metadata(metadata))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def card_from_bytes(
    content: bytes, *, where: str = "card", name: str = "card", most: int | None = None
) -> LoraCard:
    """Return the card in the content of such a file.

    Parameters
    ----------
    name
        For one that says none.
    most
        Bytes that it may have in memory: one that is compressed says so before it is unpacked. By default as
        many as the content, and at least 64 MiB.

    Raises
    ------
    WeightsError
        It is no such file, or its bytes are not what it says.
    """
    table = _table(content, where, max(len(content), MOST_BYTES) if most is None else most)
    metadata = _texts(table.schema.metadata or {})
    try:
        rows = table.to_pylist()
        modules: dict[str, Factors] = {}
        for row in rows:
            if row["module"] is None or row["module"] in modules:
                raise DataError(f"module {row['module']!r} is there twice or has no name")
            modules[row["module"]] = Factors(_array(row, "a"), _array(row, "b"))
        ranks = [each.rank for each in modules.values()]
        rank = int(metadata["lora_rank"]) if metadata.get("lora_rank") else max(ranks, default=0)
        targets = [each.strip() for each in metadata.get("target_modules", "").split(",")]
        return LoraCard(
            name=metadata.get("lora_name") or name,
            rank=rank,
            alpha=float(metadata["lora_alpha"]) if metadata.get("lora_alpha") else float(rank),
            modules=modules,
            target_modules=tuple(filter(None, targets)),
            metadata={key: value for key, value in metadata.items() if key not in _OWN},
        )
    except (DataError, ValueError, TypeError) as error:
        raise WeightsError(f"{where}: {error}") from error


def _table(content: bytes, where: str, most: int) -> pa.Table:
    """Return the columns of a card's file, looked at before anything of it is unpacked."""
    try:
        file = pa.ipc.open_file(pa.BufferReader(content))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise WeightsError(f"{where} is not an Arrow file of a LoRA card: {error}") from error
    for name, kinds in _KINDS.items():
        if (column := file.schema.get_field_index(name)) < 0:
            raise WeightsError(f"{where} is not a LoRA card: it has no column {name!r}, or several")
        if file.schema.field(column).type not in kinds:
            kind = file.schema.field(column).type
            raise WeightsError(f"{where} is not a LoRA card: its column {name!r} is of the type {kind}")
    if (size := unpacked_bytes(content)) > most:
        raise WeightsError(f"{where} has {size} bytes in memory, of at most {most}: write it uncompressed")
    try:
        table = file.read_all().select(SCHEMA.names)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise WeightsError(f"{where} is not an Arrow file of a LoRA card: {error}") from error
    return table


def _bytes(array: Array) -> bytes:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def _array(row: Mapping[str, Any], side: str) -> Array:
    where = f"module {row['module']!r}, weight_{side}"
    shape, content, dtype = row[f"shape_{side}"], row[f"weight_{side}"], row["dtype"]
    if shape is None or content is None or dtype is None or None in shape:
        raise DataError(f"{where}: NULL")
    dtype = str(dtype).removeprefix("torch.")
    if dtype not in ("float16", "float32", "float64", "bfloat16"):
        raise DataError(f"{where}: dtype {dtype!r} is no float")
    stored = np.dtype("<u2" if dtype == "bfloat16" else np.dtype(dtype).newbyteorder("<"))
    count = 1
    for size in shape:
        if size < 1:
            raise DataError(f"{where}: shape {shape}")
        count *= size  # Python's integers do not overflow
    if count * stored.itemsize != len(content) or len(content) > _MOST_BYTES:
        raise DataError(f"{where}: {len(content)} bytes for shape {shape} of {dtype}")
    values = np.frombuffer(content, stored).reshape(shape)
    if dtype == "bfloat16":  # NumPy has none: the upper half of a float32, so nothing is lost
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(dtype)


def _texts(metadata: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in metadata.items()
    }
