"""Text vectors as they are stored: float32, of unit length, one fixed-size list per row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.directions import directions, why_not
from aios_db.schema.errors import DataError


def as_array(vectors: NDArray[np.float32]) -> pa.FixedSizeListArray:
    """Return float32 ``(n, dimension)`` as an Arrow column, without a copy."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def as_numpy(column: pa.FixedSizeListArray | pa.ChunkedArray) -> NDArray[np.float32]:
    """Return a vector column without NULLs as float32 ``(n, dimension)``."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    size = column.type.list_size
    values: NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(-1, size)


def unit_vectors(column: pa.Array, dimension: int) -> pa.FixedSizeListArray:
    """Return a column of numeric lists as float32 vectors of unit length.

    Parameters
    ----------
    column
        Any list type of any numeric type; NULL where a row has no vector.
    dimension
        Length every vector must have.

    Raises
    ------
    DataError
        With the row's number, for a wrong length, or a vector without a direction (`directions`).
    """
    stored = pa.list_(pa.float32(), dimension)
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), stored)
    if not (
        pa.types.is_list(column.type)
        or pa.types.is_large_list(column.type)
        or pa.types.is_fixed_size_list(column.type)
    ):
        raise DataError(f"text_embedding is {column.type}; give lists of {dimension} numbers")
    present = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    lengths = pc.list_value_length(column).take(pa.array(present)).to_numpy(zero_copy_only=False)
    for row, length in zip(present[lengths != dimension], lengths[lengths != dimension], strict=True):
        raise DataError(f"row {row}: text_embedding has {length} numbers; this database stores {dimension}")
    flat = pc.list_flatten(column)
    try:
        numbers = flat if pa.types.is_float32(flat.type) else flat.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"text_embedding does not hold numbers: {error}") from error
    vectors = pc.fill_null(numbers, float("nan")).to_numpy(zero_copy_only=False).reshape(-1, dimension)
    unit, has_direction = directions(vectors)
    for place in np.flatnonzero(~has_direction):
        raise DataError(f"row {present[place]}: text_embedding {why_not(vectors[place])}")
    return scatter(as_array(unit), present, len(column))


def scatter(vectors: pa.FixedSizeListArray, rows: NDArray[np.int64], length: int) -> pa.FixedSizeListArray:
    """Return a column of ``length`` rows that holds ``vectors`` at ``rows`` and NULL elsewhere."""
    if len(rows) == length:
        return vectors
    places = np.full(length, -1, np.int64)
    places[rows] = np.arange(len(rows))
    return vectors.take(pa.array(places, mask=places < 0))
