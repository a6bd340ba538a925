"""Filters on their way through SQL, as text, and the index that one asks."""

from __future__ import annotations

import json
import re
from functools import lru_cache

import pyarrow as pa

from aios_db.schema.retrieval import Filter
from aios_db.udfs.functions import ScalarFunction
from aios_db.udfs.searchable import Index, Searchable
from aios_db.udfs.types import VARCHAR, VARCHARS

FILTER = VARCHAR
"""The SQL type of what `memory_filter` returns."""


def memory_filter(store: Searchable, named: pa.Array, filters: pa.Array) -> pa.Array:
    """Return filters as text: conditions given by name and those of another filter besides.

    Parameters
    ----------
    named
        A struct of the conditions as JSON, and its SQL type: a list of two.
    filters
        What this function has returned, or NULL.
    """
    given = zip(named.to_pylist(), filters.to_pylist(), strict=True)
    found = (_named(*first).joined(Filter.parse(second or "")) for first, second in given)
    return pa.array([each.text() for each in found], pa.string())


def filters_of(wheres: pa.StringArray) -> list[Filter]:
    """Return the filters of a column of texts."""
    return [Filter.parse(text or "") for text in wheres.to_pylist()]


def index_of(store: Searchable, where: Filter) -> Index:
    """Return the index to ask: that of an earlier time where the filter looks back."""
    as_of = where.values.get("as_of")
    return store.index if as_of is None else store.history.index(as_of)


@lru_cache(256)
def _named(text: str, types: str) -> Filter:
    """Return the filter of some conditions; a list that is NULL, as list() of no rows is, is an empty one."""
    values = json.loads(text)
    for name, value in values.items():
        if value is None and re.search(rf"""[(\s]"?{name}"? [^\s,]*\][,)]""", types):
            values[name] = []
    return Filter(**values)


FUNCTIONS = (
    ScalarFunction("aios_filter", [VARCHARS, FILTER], FILTER, memory_filter, retrieves="memory_filter"),
)
