"""Lists of structs as SQL has them, made row by row."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.deadlines import check


def none_of(item: pa.StructType) -> pa.StructArray:
    """Return no structs of a type."""
    return pa.array([], item)


def for_each(rows: pa.Array, found: pa.StructArray) -> pa.ListArray:
    """Return the same structs for each of some rows."""
    offsets = pa.array(np.arange(len(rows) + 1) * len(found), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.concat_arrays([found] * len(rows) or [found.slice(0, 0)]))


def lists(found: list[pa.StructArray], item: pa.StructType) -> pa.ListArray:
    """Return a list for each array of structs."""
    offsets = pa.array(list(accumulate(map(len, found), initial=0)), pa.int32())
    structs = pa.concat_arrays(found) if len(found) > 1 else found[0] if found else none_of(item)
    return pa.ListArray.from_arrays(offsets, structs)


def each_row(
    item: pa.StructType,
    one: Callable[..., pa.StructArray],
    *columns: pa.Array | list[Any],
    beside: pa.Array | list[Any] | None = None,
) -> pa.ListArray:
    """Call ``one`` with each row's values, a list as an array; a NULL among them gives no rows.

    The last value is that of ``beside``, if it is given, None for NULL.
    """
    found = []
    for number, row in enumerate(zip(*columns, strict=True)):
        check()
        values = [_value(scalar) for scalar in row]
        last = () if beside is None else (_value(beside[number]),)
        found.append(none_of(item) if any(value is None for value in values) else one(*values, *last))
    return lists(found, item)


def _value(scalar: Any) -> Any:
    if isinstance(scalar, pa.ListScalar):
        return scalar.values
    return scalar.as_py() if isinstance(scalar, pa.Scalar) else scalar


def numbers(values: pa.Array, dtype: npt.DTypeLike = np.float32) -> NDArray[Any]:
    """Return numbers, NaN for NULL."""
    found: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return found.astype(dtype, copy=False)


def texts_of(ids: pa.Array) -> pa.StringArray:
    """Return memory_ids as the index takes them, empty for null."""
    ids = ids if ids.type == pa.string() else ids.cast(pa.string())
    return ids.fill_null("") if ids.null_count else ids
