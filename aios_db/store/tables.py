"""What a caller gives as rows, whatever holds them, as an Arrow table of plain columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aios_db.joint.media import with_new_media
from aios_db.schema.errors import DataError, ProgrammingError
from aios_db.schema.memories import KEY, TIMESTAMP, WRITABLE, memories_schema
from aios_db.store.given_media import IMAGE
from aios_db.store.values import is_missing, json_object, read_moment, text_of

_UNREADABLE = (
    pa.ArrowException,
    TypeError,
    ValueError,
    OverflowError,
)  # a UnicodeEncodeError is a ValueError
_WANTED = "give texts, mappings, an Arrow table or a data frame"
UPDATABLE = (KEY, *WRITABLE)
_NUMBERS = ("importance", "trust", "text_embedding")  # NaN is an error there, not a missing value


def table_from(rows: Any, known: Sequence[str] = WRITABLE) -> pa.Table:
    """Return ``rows`` as an Arrow table.

    Parameters
    ----------
    rows
        Texts, mappings (missing keys are NULL) and dataclasses in a list, a generator or anything else that
        yields them; an Arrow table or record batch; or a data frame of pandas, polars or anything else with
        the Arrow C stream interface.
    known
        The columns that it may have.

    Raises
    ------
    ProgrammingError
        When ``rows`` is none of these, or has a column that `remember` does not take.
    DataError
        When a column mixes types or holds text that is not valid Unicode.
    """
    if isinstance(rows, pa.Table):
        return rows
    if isinstance(rows, pa.RecordBatch):
        return pa.Table.from_batches([rows])
    if isinstance(rows, Sequence) and not isinstance(rows, str | bytes | bytearray | memoryview):
        return _from_mappings(mappings(rows), known)
    if hasattr(rows, "iloc") and hasattr(rows, "columns"):  # its stream interface would add the index
        return _from_pandas(rows, known)
    if hasattr(rows, "__arrow_c_stream__"):
        try:
            return pa.table(rows)
        except _UNREADABLE as error:
            raise ProgrammingError(
                f"cannot remember this {type(rows).__name__}: {error}; {_WANTED}"
            ) from error
    if isinstance(rows, Iterable) and not isinstance(rows, str | bytes | bytearray | memoryview | Mapping):
        return _from_mappings(mappings(rows), known)
    raise ProgrammingError(f"cannot remember a {type(rows).__name__}; {_WANTED}")


def mappings(rows: Iterable[Any]) -> list[Mapping[str, Any]]:
    """Return rows as mappings: a text is one with the key ``text``, a dataclass one with its fields."""
    found = []
    for number, row in enumerate(rows):
        mapping = as_mapping(row)
        if mapping is None:
            raise ProgrammingError(
                f"row {number} is a {type(row).__name__}; give a text, or a mapping with a column for a key"
            )
        found.append(mapping)
    return found


def as_mapping(row: Any) -> Mapping[str, Any] | None:
    """Return one row as a mapping, or None when it is nothing that has columns; a named tuple has some."""
    if isinstance(row, str):
        return {"text": row}
    if isinstance(row, Mapping):
        return row
    if is_dataclass(row) and not isinstance(row, type):
        return {each.name: getattr(row, each.name) for each in fields(row)}
    if isinstance(row, tuple) and hasattr(row, "_fields"):
        return dict(zip(row._fields, row, strict=True))
    return None


def update_tables(rows: Any, columns: Mapping[str, Any]) -> list[pa.Table]:
    """Return rows to `update`, and columns for all of them, as tables: one for each set of columns.

    Raises
    ------
    ProgrammingError, DataError
        As `table_from`.
    """
    if isinstance(rows, Mapping) or as_mapping(rows) is not None:
        rows = [rows]
    if isinstance(rows, Iterable) and not hasattr(rows, "__arrow_c_stream__") and not hasattr(rows, "iloc"):
        alike: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
        for row in map(with_new_media, mappings(rows)):
            alike.setdefault(tuple(row), []).append(row)
        tables = [_from_mappings(each, UPDATABLE) for each in alike.values()]
    else:
        tables = [table_from(rows, UPDATABLE)]
    columns = with_new_media(columns)
    for number, table in enumerate(tables):
        if columns and table.num_rows:
            constant = _from_mappings([columns] * table.num_rows, UPDATABLE)
            for name in columns:
                if name in table.column_names:
                    raise ProgrammingError(f"update: {name!r} is given both as an argument and as a column")
                tables[number] = tables[number].append_column(name, constant.column(name))
    return tables


def check_columns(names: Sequence[str], known: Sequence[str] = WRITABLE) -> None:
    """Raise `ProgrammingError` for a column that is not ``known``, or that is there twice."""
    for name in names:
        if name not in known:
            verb = "remember" if known is WRITABLE else "update"
            raise ProgrammingError(f"{verb} has no column {name!r}; it takes {', '.join(known)}")
        if names.count(name) > 1:
            raise ProgrammingError(f"column {name!r} is given twice")


def plain(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece and without the encodings that Arrow's functions do not all read."""
    if pa.types.is_list_view(column.type) or pa.types.is_large_list_view(column.type):
        # Arrow 26 joins and casts views to lists of other values.
        return pa.array(column.to_pylist(), pa.large_list(column.type.value_type))
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(column, pa.ExtensionArray):
        return column
    if pa.types.is_run_end_encoded(column.type):
        return plain(pc.run_end_decode(column))
    if pa.types.is_dictionary(column.type):
        values = column.dictionary
        values = values.cast(pa.string()) if pa.types.is_string_view(values.type) else values
        return plain(values.take(column.indices))
    return column


def _from_mappings(rows: Sequence[Mapping[str, Any]], known: Sequence[str]) -> pa.Table:
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    check_columns(names, known)
    if rows and not names:
        raise DataError("row 0: nothing to remember: the mapping is empty")
    return pa.table({name: _column(name, [row.get(name) for row in rows]) for name in names})


def _from_pandas(frame: Any, known: Sequence[str]) -> pa.Table:
    names = [str(name) for name in frame.columns]
    check_columns([name for name in names if name != IMAGE], known)
    columns = (frame.iloc[:, number] for number in range(len(names)))
    return pa.table(
        {
            name: _column(name, column.tolist())
            if column.dtype == object and name in _READERS
            else _array(name, column, from_pandas=True)
            for name, column in zip(names, columns, strict=True)
        }
    )


def _column(name: str, values: list[Any]) -> pa.Array:
    read = _READERS.get(name)
    if read is not None and not (name in _TEXTS and all(type(each) is str for each in values)):
        values = [None if is_missing(value) else read(value, row) for row, value in enumerate(values)]
    return _array(name, values, from_pandas=name not in _NUMBERS)


def _array(name: str, values: Any, *, from_pandas: bool) -> pa.Array | pa.ChunkedArray:
    try:
        return pa.array(values, from_pandas=from_pandas)
    except _UNREADABLE as error:
        raise DataError(f"column {name!r}: {error}") from error


def _vector(value: Any, row: int) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _names(value: Any, row: int) -> Any:
    several = isinstance(value, list | tuple | set | frozenset | np.ndarray)
    return [text_of(each, "derived_from", row) for each in value] if several else value


def _text_reader(name: str) -> Callable[[Any, int], Any]:
    words = name in ("text", "title")
    return lambda value, row: text_of(value, name, row, words=words)


def _time_reader(name: str) -> Callable[[Any, int], Any]:
    return lambda value, row: read_moment(value, f"row {row}: {name}")


_TIMES = tuple(each.name for each in memories_schema(1) if each.name in UPDATABLE and each.type == TIMESTAMP)
_TEXTS = tuple(
    each.name for each in memories_schema(1) if each.name in UPDATABLE and each.type == pa.string()
)
_READERS: dict[str, Callable[[Any, int], Any]] = {
    **{name: _text_reader(name) for name in sorted(_TEXTS)},
    "metadata": json_object,
    **{name: _time_reader(name) for name in _TIMES},
    "text_embedding": _vector,
    "derived_from": _names,
}
