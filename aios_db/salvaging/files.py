"""Reading one Lance data file as far as that goes: a column, or a stretch of one, without the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from lance.file import LanceFileReader
from numpy.typing import NDArray

from aios_db.disk.failures import operational
from aios_db.schema.amounts import amount
from aios_db.schema.errors import OperationalError

_ROWS = 4_096
# A page is read as a whole or not at all, so that narrower stretches would hardly find more.
_FEWEST = 128


@dataclass(frozen=True)
class Stretch:
    """Rows of a file that lie together."""

    start: int
    rows: pa.Table
    """All columns asked for; NULL where a value is lost, or where the file never had the column."""
    lost: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    """Of each column that could not be read everywhere, in which rows."""


def schema_of(path: Path) -> pa.Schema:
    """Return the columns of a file.

    Raises
    ------
    OperationalError
        Its end, where it says what it holds, cannot be read.
    """
    with operational(f"reading {path}"):
        return LanceFileReader(str(path)).metadata().schema


def row_count(path: Path) -> int:
    """Return how many rows a file says it has.

    Raises
    ------
    OperationalError
        Its end cannot be read, or says what cannot be.
    """
    with operational(f"reading {path}"):
        count = int(LanceFileReader(str(path)).num_rows())
        if count > path.stat().st_size:  # each has an id of its own
            raise ValueError(f"it cannot have {amount(count, 'row')}")
        return count


def read_file(path: Path, schema: pa.Schema, count: int) -> Iterator[Stretch]:
    """Yield the first ``count`` rows of a file with the columns of ``schema``, whatever cannot be read."""
    try:
        there = set(schema_of(path).names)
    except OperationalError:
        there = set()
    lacking = None if there else np.True_
    columns = [each for each in schema if each.name in there]

    @cache
    def reader(name: str | None) -> LanceFileReader:
        return LanceFileReader(str(path), columns=[name] if name else [each.name for each in columns])

    for start in range(0, count, _ROWS):
        size = min(_ROWS, count - start)
        arrays: dict[str, pa.Array] = {}
        lost: dict[str, NDArray[np.bool_]] = {}
        if lacking:
            lost = {each.name: np.ones(size, np.bool_) for each in schema}
        elif columns:
            try:
                with operational(f"reading {path}"):
                    read = reader(None).read_range(start, size).to_table()
                    arrays = {each.name: _checked(read[each.name], each, size) for each in columns}
            except OperationalError:
                for each in columns:
                    arrays[each.name], gone = _column(partial(reader, each.name), each, start, size)
                    if gone.any():
                        lost[each.name] = gone
        values = [arrays.get(each.name, pa.nulls(size, each.type)) for each in schema]
        yield Stretch(start, pa.table(values, names=schema.names), lost)


def _checked(column: pa.ChunkedArray, field_: pa.Field, count: int) -> pa.Array:
    """Return a column in its type, or refuse it when its values are none."""
    whole = column.combine_chunks()
    whole = pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
    whole.validate(full=True)
    whole = whole.cast(field_.type)
    if len(whole) != count:
        raise ValueError(f"{amount(len(whole), 'value')} of {field_.name} for {amount(count, 'row')}")
    return whole


def _column(
    reader: Callable[[], LanceFileReader], field_: pa.Field, start: int, count: int
) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Return a stretch of a column, NULL where it is lost, and where that is."""
    read = None
    try:
        with operational("reading a column"):
            read = reader().read_range(start, count).to_table()[field_.name]
            return _checked(read, field_, count), np.zeros(count, np.bool_)
    except OperationalError:
        if read is not None and len(read) == count and count <= _FEWEST:
            return _values(read, field_)
    if count <= _FEWEST:
        return pa.nulls(count, field_.type), np.ones(count, np.bool_)
    half = count // 2
    first, first_lost = _column(reader, field_, start, half)
    second, second_lost = _column(reader, field_, start + half, count - half)
    return pa.concat_arrays([first, second]), np.concatenate([first_lost, second_lost])


def _values(read: pa.ChunkedArray, field_: pa.Field) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Return those of some values that are ones: a changed byte may make one text no text."""
    lost = np.zeros(len(read), np.bool_)
    found = []
    for number in range(len(read)):
        try:
            with operational("reading a value"):
                found.append(_checked(read.slice(number, 1), field_, 1))
        except OperationalError:
            lost[number] = True
            found.append(pa.nulls(1, field_.type))
    return pa.concat_arrays(found), lost
