"""Rows of one call that are one memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.store.identity import first_of_each


def grouped(
    given: pa.Table, keys: Sequence[str], whole: Sequence[bool]
) -> tuple[pa.Table, NDArray[np.int64]]:
    """Bring rows with the same key into one.

    Parameters
    ----------
    given
        As from `rows.normalise`.
    keys
        What each row is known by.
    whole
        True for a row that replaces those before it; of the others each column has the last value given.

    Returns
    -------
    tuple of pa.Table and int64 ``(len(given),)``
        The distinct rows in the order in which they come first, and for every row its place among them.
    """
    first, of_row = first_of_each(keys)
    if len(first) == len(given):
        return given, of_row
    every = np.arange(len(given))
    replacing = np.flatnonzero(np.asarray(whole, np.bool_))
    columns = {}
    for name in given.column_names:
        column = given[name].combine_chunks()
        valid = every[column.is_valid().to_numpy(zero_copy_only=False)]
        last = np.full(len(first), -1, np.int64)
        np.maximum.at(last, of_row[valid], valid)
        if len(replacing):
            last[of_row[replacing]] = -1
            newest = np.full(len(first), -1, np.int64)
            np.maximum.at(newest, of_row[replacing], replacing)
            last = np.where(newest >= 0, newest, last)
        columns[name] = column.take(pa.array(last, mask=last < 0))
    return pa.table(columns), of_row
