"""Fragments in few bytes, for rows that are written once and read seldom.

Lance encodes what it appends as the table's schema says, all rows alike. Here a file's own schema says it:
Zstandard at a high level, in large blocks, and without the columns in which no row has a value, which Lance
reads as NULL. A row that is read unpacks its block, in about a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import lance
import pyarrow as pa
import pyarrow.compute as pc
from lance.file import LanceFileReader, LanceFileWriter
from lance.fragment import DataFile, FragmentMetadata

from aios_db.disk.durable import fragment_files
from aios_db.schema.config import CompressionConfig

if TYPE_CHECKING:
    from lance.fragment import LanceFragment

_LEVEL = "19"
_ENCODING = {
    "lance-encoding:compression": "zstd",
    "lance-encoding:compression-level": _LEVEL,
    "lance-encoding:dict-values-compression": "zstd",
    "lance-encoding:dict-values-compression-level": _LEVEL,
    "lance-encoding:structural-encoding": "miniblock",
    "lance-encoding:minichunk-size": "524288",
}
_VERSION = (2, 2)  # of the file format: blocks of more than 32 KiB
_MOST_ROWS = 1_048_576  # of a file


def plain_columns(config: CompressionConfig) -> frozenset[str]:
    """Return which columns are encoded as Lance does it by itself: one value is read without others."""
    return frozenset({"text"} if config.text == "fsst" else ())


def write_dense(
    dataset: lance.LanceDataset, rows: pa.Table, plain: frozenset[str] = frozenset()
) -> list[FragmentMetadata]:
    """Write rows as new fragments in few bytes, which no version of the table has yet.

    Parameters
    ----------
    dataset
        The table.
    rows
        In the table's schema.
    plain
        As from `plain_columns`.
    """
    return [
        _write(dataset, rows.slice(start, _MOST_ROWS), plain) for start in range(0, len(rows), _MOST_ROWS)
    ]


def is_dense(fragment: LanceFragment) -> bool:
    """Tell whether a fragment was written here; it reads the file's end."""
    uri = Path(fragment._ds.uri)
    paths = [uri / path for path, _ in fragment_files([fragment.metadata]) if path.startswith("data/")]
    schemas = [LanceFileReader(str(path)).metadata().schema for path in paths]
    return all(_is_encoded(schema.field(0)) for schema in schemas)


def _is_encoded(column: pa.Field) -> bool:
    level = "lance-encoding:dict-values-compression-level"
    return (column.metadata or {}).get(level.encode()) == _LEVEL.encode()


def _write(dataset: lance.LanceDataset, rows: pa.Table, plain: frozenset[str]) -> FragmentMetadata:
    rows = rows.select([each for each in rows.column_names if rows[each].null_count < len(rows)])
    names = rows.column_names
    encoded = [names[0], *(each for each in names[1:] if each not in plain and _is_worth_it(rows[each]))]
    schema = pa.schema(
        [each.with_metadata(_ENCODING if each.name in encoded else None) for each in rows.schema]
    )
    name = f"{uuid4().hex}.lance"
    path = Path(dataset.uri, "data", name)
    with LanceFileWriter(str(path), schema, version=".".join(map(str, _VERSION))) as writer:
        writer.write_batch(pa.table(rows.columns, schema=schema))
    fields = [
        leaf.id() for each in dataset.lance_schema.fields() if each.name() in names for leaf in _leaves(each)
    ]
    file = DataFile(name, fields, list(range(len(fields))), *_VERSION, path.stat().st_size)
    return FragmentMetadata(0, [file], len(rows))


def _is_worth_it(column: pa.ChunkedArray) -> bool:
    """Tell whether an encoding saves more than to name it takes."""
    if pa.types.is_nested(column.type) or pa.types.is_large_binary(column.type):
        return False  # media are compressed by themselves
    return bool(pc.count_distinct(column).as_py() > 1)


def _leaves(field: Any) -> Iterator[Any]:
    """Yield the fields of Lance's schema that have values in a file: all but lists and structs."""
    children = field.children()
    for each in children:
        yield from _leaves(each)
    if not children:
        yield field
