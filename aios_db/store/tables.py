"""What a caller gives as rows, whatever holds them, as an Arrow table of plain columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from aios_db.schema.errors import DataError, ProgrammingError
from aios_db.schema.memories import WRITABLE
from aios_db.store.values import is_missing, json_object, moment

_UNREADABLE = (
    pa.ArrowException,
    TypeError,
    ValueError,
    OverflowError,
)  # a UnicodeEncodeError is a ValueError
_WANTED = "give a list of mappings, an Arrow table or a data frame"
_NUMBERS = ("importance", "trust", "text_embedding")  # NaN is an error there, not a missing value


def table_from(rows: Any) -> pa.Table:
    """Return ``rows`` as an Arrow table.

    Parameters
    ----------
    rows
        A list of mappings (missing keys are NULL), an Arrow table or record batch, or a data frame of pandas,
        polars or anything else with the Arrow C stream interface.

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
    if isinstance(rows, Sequence) and not isinstance(rows, str | bytes):
        return _from_mappings(rows)
    if hasattr(rows, "iloc") and hasattr(rows, "columns"):  # its stream interface would add the index
        return _from_pandas(rows)
    if hasattr(rows, "__arrow_c_stream__"):
        try:
            return pa.table(rows)
        except _UNREADABLE as error:
            raise ProgrammingError(
                f"cannot remember this {type(rows).__name__}: {error}; {_WANTED}"
            ) from error
    raise ProgrammingError(f"cannot remember a {type(rows).__name__}; {_WANTED}")


def check_columns(names: Sequence[str]) -> None:
    """Raise `ProgrammingError` for a column that `remember` does not take, or takes once but got twice."""
    for name in names:
        if name not in WRITABLE:
            raise ProgrammingError(f"remember has no column {name!r}; it takes {', '.join(WRITABLE)}")
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


def _from_mappings(rows: Sequence[Any]) -> pa.Table:
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise ProgrammingError(
                f"row {number} is a {type(row).__name__}; give mappings with a column for a key"
            )
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    check_columns(names)
    if rows and not names:
        raise DataError("row 0: nothing to remember: the mapping is empty")
    return pa.table({name: _column(name, [row.get(name) for row in rows]) for name in names})


def _from_pandas(frame: Any) -> pa.Table:
    names = [str(name) for name in frame.columns]
    check_columns(names)
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
    if read is not None:
        values = [None if is_missing(value) else read(value, row) for row, value in enumerate(values)]
    return _array(name, values, from_pandas=name not in _NUMBERS)


def _array(name: str, values: Any, *, from_pandas: bool) -> pa.Array | pa.ChunkedArray:
    try:
        return pa.array(values, from_pandas=from_pandas)
    except _UNREADABLE as error:
        raise DataError(f"column {name!r}: {error}") from error


def _vector(value: Any, row: int) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


_READERS: dict[str, Callable[[Any, int], Any]] = {
    "metadata": json_object,
    "occurred_at": moment,
    "text_embedding": _vector,
}
