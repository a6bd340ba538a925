"""The parts of `recall`: search by vector and by keyword, scores of given memories, spreading, rows by id."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.deadlines import check
from aios_db.schema.directions import directions, why_not
from aios_db.schema.errors import DataError
from aios_db.schema.memories import TIMESTAMP, returned_schema
from aios_db.schema.retrieval import Filter, Hits, RowIds
from aios_db.schema.trust import ceilings
from aios_db.udfs.functions import ScalarFunction


class Index(Protocol):
    """What retrieval asks of the search index."""

    def vector_search(
        self, vector: NDArray[np.float32], k: int, where: Filter | None = None, *, by_trust: bool = False
    ) -> Hits:
        """Return the nearest memories, of all or of each class of trust."""
        ...

    def keyword_search(
        self, text: str, k: int, where: Filter | None = None, *, by_trust: bool = False
    ) -> Hits:
        """Return the memories with the highest BM25 scores, of all or of each class of trust."""
        ...

    def vector_scores(self, vector: NDArray[np.float32], row_ids: RowIds) -> Hits:
        """Return the cosines of given memories."""
        ...

    def keyword_scores(self, text: str, row_ids: RowIds) -> Hits:
        """Return the BM25 scores of given memories."""
        ...

    def spread(
        self,
        row_ids: RowIds,
        scores: NDArray[np.float64],
        hops: int,
        where: Filter | None = None,
        most: int | None = None,
    ) -> tuple[RowIds, NDArray[np.float64], RowIds]:
        """Let scores flow over the links."""
        ...

    def neighbors(self, row_id: int, hops: int) -> tuple[RowIds, RowIds]:
        """Return the memories some links away."""
        ...

    def find_ids(self, memory_ids: Sequence[str] | pa.StringArray) -> RowIds:
        """Return row ids, -1 for unknown."""
        ...

    def trust(self, row_ids: RowIds) -> NDArray[np.float32]:
        """Return the trust in memories."""
        ...

    def memory_ids(self, row_ids: RowIds) -> pa.StringArray:
        """Return memory_ids."""
        ...

    def times(self, row_ids: RowIds) -> NDArray[np.int64]:
        """Return when the memories happened."""
        ...

    def ends(self, row_ids: RowIds) -> NDArray[np.int64]:
        """Return until when the memories hold."""
        ...

    def has(self, row_ids: RowIds, column: str, value: str) -> NDArray[np.bool_]:
        """Return which memories have a value in a column."""
        ...

    def memories(
        self, memory_ids: Sequence[str] | pa.StringArray
    ) -> tuple[NDArray[np.bool_], pa.RecordBatch]:
        """Return which memories are there, and of those the columns of `returned_schema`."""
        ...


class History(Protocol):
    """Earlier versions of a store."""

    def versions(self) -> pa.Table:
        """Return the versions that are kept."""
        ...

    def memories(self, version: int | None, time: int | None) -> pa.Table:
        """Return the memories of a version or of a moment."""
        ...

    def index(self, time: int) -> Index:
        """Return an index over what was known at a moment."""
        ...


class Searchable(Protocol):
    """A store with a search index."""

    @property
    def index(self) -> Index:
        """The index over the current snapshot."""
        ...

    @property
    def history(self) -> History:
        """Earlier versions."""
        ...

    def require(self, table: str) -> None:
        """Raise where a table cannot be read."""
        ...

    def touch(self, memory_ids: Sequence[str]) -> None:
        """Note that memories were recalled together."""
        ...

    def asked(self, text: str, where: str, found: Sequence[str]) -> None:
        """Note a question, its filter and what it found."""
        ...

    def searched(self, called: float, items: int, text: str) -> None:
        """Record a search; ``called`` is when this function was, as `time.perf_counter` says it."""
        ...


_FILTER = "VARCHAR"  # as `memory_filter` returns it
_HIT = [("memory_id", pa.string()), ("score", pa.float64()), ("standard_score", pa.float64())]
_NEAREST = pa.struct([*_HIT, ("keyword_score", pa.float64())])
_MATCHING = pa.struct([*_HIT, ("vector_score", pa.float64())])
MATCHED = pa.struct(
    [("memory_id", pa.string()), ("vector_score", pa.float64()), ("keyword_score", pa.float64())]
)
_REACHED = pa.struct(
    [
        ("memory_id", pa.string()),
        ("graph_score", pa.float64()),
        ("distance", pa.int32()),
        ("happened_at", TIMESTAMP),
        ("age", pa.float64()),
        ("given", pa.int32()),
        ("ceiling", pa.float64()),
        ("archived", pa.bool_()),
        ("principle", pa.bool_()),
        ("superseded", pa.bool_()),
    ]
)
_NEIGHBOR = pa.struct([("memory_id", pa.string()), ("distance", pa.int32())])
_MEMORY = pa.struct(list(returned_schema()))
_NAMES = returned_schema().names
_VERSION = pa.struct([("version", pa.int64()), ("written_at", TIMESTAMP)])
_SQL = {
    pa.string(): "VARCHAR",
    pa.list_(pa.string()): "VARCHAR[]",
    pa.float64(): "DOUBLE",
    pa.float32(): "FLOAT",
    pa.int64(): "BIGINT",
    pa.int32(): "INTEGER",
    TIMESTAMP: "TIMESTAMPTZ",
    pa.bool_(): "BOOLEAN",
}


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


def unit_vector(store: Searchable, vectors: pa.ListArray) -> pa.ListArray:
    """Return vectors of unit length, null for null."""
    found: list[NDArray[np.float32] | None] = []
    for given in vectors:
        if not given.is_valid:
            found.append(None)
            continue
        values = numbers(given.values, np.float64)
        unit, has_direction = directions(values[np.newaxis])
        if not has_direction[0]:
            raise DataError(f"the vector {why_not(values)}")
        found.append(unit[0])
    return pa.array(found, pa.list_(pa.float32()))


def vector_search(  # noqa: PLR0917 - one argument a column
    store: Searchable,
    vectors: pa.Array,
    counts: pa.Array,
    wheres: pa.StringArray,
    texts: pa.Array,
    by_trust: pa.Array,
) -> pa.Array:
    """Return the nearest memories of each vector, best first, scored by a text too where there is one."""

    def one(vector: pa.Array, k: int, where: Filter, each: bool, text: str | None) -> pa.StructArray:
        index = index_of(store, where)
        hits = index.vector_search(numbers(vector), k, where, by_trust=each)
        beside = None if text is None else index.keyword_scores(text, hits.row_ids)
        return _hits(index, hits, beside, _NEAREST)

    return each_row(_NEAREST, one, vectors, counts, filters_of(wheres), by_trust, beside=texts)


def keyword_search(  # noqa: PLR0917 - one argument a column
    store: Searchable,
    texts: pa.Array,
    counts: pa.Array,
    wheres: pa.StringArray,
    vectors: pa.Array,
    by_trust: pa.Array,
) -> pa.Array:
    """Return the best memories by BM25 for each text, scored by a vector too where there is one."""

    def one(text: str, k: int, where: Filter, each: bool, vector: pa.Array | None) -> pa.StructArray:
        index = index_of(store, where)
        hits = index.keyword_search(text, k, where, by_trust=each)
        beside = None if vector is None else index.vector_scores(numbers(vector), hits.row_ids)
        return _hits(index, hits, beside, _MATCHING)

    return each_row(_MATCHING, one, texts, counts, filters_of(wheres), by_trust, beside=vectors)


def score(store: Searchable, vectors: pa.Array, texts: pa.Array, memory_ids: pa.ListArray) -> pa.Array:
    """Return the standardised vector and keyword scores of given memories, unknown ones left out."""

    def one(vector: pa.Array, text: str, ids: pa.Array) -> pa.StructArray:
        rows, _ = _known(store, ids)
        return scored(store.index, rows, text, vector)

    return each_row(MATCHED, one, vectors, texts, memory_ids)


def spread(  # noqa: PLR0917 - one argument a column
    store: Searchable,
    memory_ids: pa.ListArray,
    scores: pa.ListArray,
    hops: pa.Array,
    wheres: pa.StringArray,
    most: pa.Array,
) -> pa.Array:
    """Return the memories given or reached over links, and the score that arrived there.

    A ``most`` of 0 and above limits those that were not given.
    """

    def one(ids: pa.Array, seeds: pa.Array, links: int, where: Filter, limit: int) -> pa.StructArray:
        if len(ids) != len(seeds):
            raise DataError(f"spread: {len(ids)} ids and {len(seeds)} scores; give one score an id")
        index = index_of(store, where)
        rows = index.find_ids(_texts(ids))
        rows, first = np.unique(rows, return_index=True)
        rows, first = rows[rows >= 0], first[rows >= 0]
        activation = np.nan_to_num(numbers(seeds, np.float64)[first])
        limited = limit if limit >= 0 else None
        reached, arrived, distances = index.spread(rows, activation, links, where, limited)
        times = index.times(reached)
        columns = [
            index.memory_ids(reached),
            pa.array(arrived),
            pa.array(distances, pa.int32()),
            pa.array(times).cast(TIMESTAMP),
            pa.array(time.time() - times / 1e6),
            _places(first, rows, reached),
            pa.array(ceilings(index.trust(reached))),
            pa.array(index.has(reached, "tier", "archived")),
            pa.array(index.has(reached, "kind", "principle")),
            pa.array(index.ends(reached) <= _looked_at(where)),
        ]
        return pa.StructArray.from_arrays(columns, fields=list(_REACHED))

    return each_row(_REACHED, one, memory_ids, scores, hops, filters_of(wheres), most)


def _looked_at(where: Filter) -> int:
    """Return the time that a question is about, in microseconds: now, or when it looks back to."""
    given = (where.values.get(name) for name in ("valid_at", "as_of"))
    return next((each for each in given if each is not None), time.time_ns() // 1000)


def neighbors(store: Searchable, memory_ids: pa.Array, hops: pa.Array) -> pa.Array:
    """Return the memories up to some links away, nearest first."""
    store.require("association_links")

    def one(memory_id: str, links: int) -> pa.StructArray:
        (row,) = store.index.find_ids([memory_id]).tolist()
        if row < 0:
            return _none(_NEIGHBOR)
        found, distances = store.index.neighbors(row, links)
        columns = [store.index.memory_ids(found), pa.array(distances, pa.int32())]
        return pa.StructArray.from_arrays(columns, fields=list(_NEIGHBOR))

    return each_row(_NEIGHBOR, one, memory_ids, hops)


def memories_by_id(store: Searchable, memory_ids: pa.ListArray) -> pa.Array:
    """Return the rows of given memories, unknown ones left out."""

    def one(ids: pa.Array) -> pa.StructArray:
        _, known = _known(store, ids)
        _, found = store.index.memories(known)
        return _struct(found)

    return each_row(_MEMORY, one, memory_ids)


def recalled(store: Searchable, texts: pa.Array, memory_ids: pa.Array, wheres: pa.StringArray) -> pa.Array:
    """Return the row of each memory, and note that those that answer one text were recalled together.

    One that was forgotten meanwhile is NULL. To look back is not to recall: nothing is noted then.
    """
    filters = filters_of(wheres)
    times = [where.values.get("as_of") for where in filters]
    if len(set(times)) > 1:
        pieces = [
            recalled(store, *(column.slice(row, 1) for column in (texts, memory_ids, wheres)))
            for row in range(len(times))
        ]
        return pa.concat_arrays(pieces)
    began = time.perf_counter()
    memory_ids = _texts(memory_ids)
    known, found = (index_of(store, filters[0]) if filters else store.index).memories(memory_ids)
    together: dict[str | None, list[str]] = {}
    for text, name, is_known in zip(texts.to_pylist(), memory_ids.to_pylist(), known.tolist(), strict=True):
        if is_known:
            together.setdefault(text, []).append(name)
    for text, each in together.items() if not any(times) else ():
        check()
        store.touch(each)
        if text is not None:  # a picture or a sound asked, which is not kept
            store.asked(text, filters[0].text(), each)
    asked = texts[0].as_py() if len(texts) else ""
    store.searched(began, len(found), asked or "")
    rows = _struct(found)
    return rows if known.all() else rows.take(pa.array(np.cumsum(known) - 1, mask=~known))


def memories_at(store: Searchable, points: pa.Array) -> pa.Array:
    """Return all memories of a version, or of a moment in microseconds: a list of both, one of them NULL."""
    found = []
    for version, moment in points.to_pylist():
        check()
        if version is None and moment is None:
            raise DataError("memories_at: give the number of a version, or a time in ISO 8601")
        rows = store.history.memories(version, moment).select(_NAMES).combine_chunks()
        found.append(rows.to_struct_array().combine_chunks().cast(_MEMORY) if len(rows) else _none(_MEMORY))
    offsets = pa.array(list(accumulate(map(len, found), initial=0)), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.concat_arrays([*found, _none(_MEMORY)]))


def memory_versions(store: Searchable, rows: pa.Array) -> pa.Array:
    """Return the versions of the memories that are kept, for each row."""
    kept = store.history.versions().to_struct_array().combine_chunks().cast(_VERSION)
    offsets = pa.array(np.arange(len(rows) + 1) * len(kept), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.concat_arrays([kept] * len(rows) or [_none(_VERSION)]))


def index_of(store: Searchable, where: Filter) -> Index:
    """Return the index to ask: that of an earlier time where the filter looks back."""
    as_of = where.values.get("as_of")
    return store.index if as_of is None else store.history.index(as_of)


def each_row(
    item: pa.StructType,
    one: Callable[..., pa.StructArray],
    *columns: pa.Array | list[Filter],
    beside: pa.Array | None = None,
) -> pa.ListArray:
    """Call ``one`` with each row's values, a list as an array; a NULL among them gives no rows.

    The last value is that of ``beside``, if it is given, None for NULL.
    """
    found = []
    for number, row in enumerate(zip(*columns, strict=True)):
        check()
        values = [_value(scalar) for scalar in row]
        last = () if beside is None else (_value(beside[number]),)
        found.append(_none(item) if any(value is None for value in values) else one(*values, *last))
    offsets = list(accumulate(map(len, found), initial=0))
    rows = pa.concat_arrays(found) if len(found) > 1 else found[0] if found else _none(item)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), rows)


def _value(scalar: Any) -> Any:
    if isinstance(scalar, pa.ListScalar):
        return scalar.values
    return scalar.as_py() if isinstance(scalar, pa.Scalar) else scalar


def _struct(rows: pa.RecordBatch) -> pa.StructArray:
    return pa.StructArray.from_arrays(rows.columns, fields=list(_MEMORY))


def _none(item: pa.StructType) -> pa.StructArray:
    return pa.array([], item)


def filters_of(wheres: pa.StringArray) -> list[Filter]:
    """Return the filters of a column of texts."""
    return [Filter.parse(text or "") for text in wheres.to_pylist()]


@lru_cache(256)
def _named(text: str, types: str) -> Filter:
    """Return the filter of some conditions; a list that is NULL, as list() of no rows is, is an empty one."""
    values = json.loads(text)
    for name, value in values.items():
        if value is None and re.search(rf"""[(\s]"?{name}"? [^\s,]*\][,)]""", types):
            values[name] = []
    return Filter(**values)


def _texts(ids: pa.Array) -> pa.StringArray:
    """Return memory_ids as the index takes them, empty for null."""
    ids = ids if ids.type == pa.string() else ids.cast(pa.string())
    return ids.fill_null("") if ids.null_count else ids


def _known(store: Searchable, ids: pa.StringArray) -> tuple[RowIds, pa.StringArray]:
    """Return row ids and memory_ids of those that exist, each once."""
    ids = _texts(ids)
    rows = store.index.find_ids(ids)
    distinct, first = np.unique(rows, return_index=True)
    if len(distinct) == len(rows) and distinct[:1].tolist() != [-1]:
        return rows, ids
    first = np.sort(first[distinct >= 0])
    return rows[first], ids.take(pa.array(first))


def numbers(values: pa.Array, dtype: npt.DTypeLike = np.float32) -> NDArray[Any]:
    """Return numbers, NaN for NULL."""
    found: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return found.astype(dtype, copy=False)


def _standard(hits: Hits) -> NDArray[np.float64]:
    return (hits.scores.astype(np.float64) - hits.mean) / hits.std


def _hits(index: Index, hits: Hits, beside: Hits | None, item: pa.StructType) -> pa.StructArray:
    columns = [
        index.memory_ids(hits.row_ids),
        pa.array(hits.scores.astype(np.float64)),
        pa.array(_standard(hits)),
        pa.nulls(len(hits.row_ids), pa.float64()) if beside is None else pa.array(_standard(beside)),
    ]
    return pa.StructArray.from_arrays(columns, fields=list(item))


def scored(index: Index, rows: RowIds, text: str | None, vector: Any) -> pa.StructArray:
    """Return memories with their standardised vector and keyword scores, 0 where one is not asked for."""
    nothing = pa.array(np.zeros(len(rows)))
    columns = [
        index.memory_ids(rows),
        nothing if vector is None else pa.array(_standard(index.vector_scores(numbers(vector), rows))),
        nothing if text is None else pa.array(_standard(index.keyword_scores(text, rows))),
    ]
    return pa.StructArray.from_arrays(columns, fields=list(MATCHED))


def _places(first: NDArray[np.int64], given: RowIds, rows: RowIds) -> pa.Array:
    """Return where each of ``rows`` is among those given, from 1, NULL when it is not.

    ``given`` is ascending, and ``first`` the place of each, from 0.
    """
    at = np.searchsorted(given, rows).clip(max=len(given) - 1)
    return pa.array((first[at] + 1).astype(np.int32), mask=given[at] != rows)


def _struct_of(item: pa.StructType) -> str:
    return "STRUCT(" + ", ".join(f"{field.name} {_SQL[field.type]}" for field in item) + ")"


def list_of(item: pa.StructType) -> str:
    """Return the SQL type of a list of structs."""
    return f"{_struct_of(item)}[]"


_SEARCHES = (
    ScalarFunction("aios_unit_vector", ["DOUBLE[]"], "FLOAT[]", unit_vector),
    ScalarFunction("aios_filter", ["VARCHAR[]", _FILTER], _FILTER, memory_filter),
    ScalarFunction(
        "aios_vector_search",
        ["FLOAT[]", "BIGINT", _FILTER, "VARCHAR", "BOOLEAN"],
        list_of(_NEAREST),
        vector_search,
    ),
    ScalarFunction(
        "aios_keyword_search",
        ["VARCHAR", "BIGINT", _FILTER, "FLOAT[]", "BOOLEAN"],
        list_of(_MATCHING),
        keyword_search,
    ),
    ScalarFunction("aios_score", ["FLOAT[]", "VARCHAR", "VARCHAR[]"], list_of(MATCHED), score),
    ScalarFunction(
        "aios_spread", ["VARCHAR[]", "DOUBLE[]", "INTEGER", _FILTER, "BIGINT"], list_of(_REACHED), spread
    ),
    ScalarFunction("aios_neighbors", ["VARCHAR", "INTEGER"], list_of(_NEIGHBOR), neighbors),
    ScalarFunction("aios_memories", ["VARCHAR[]"], list_of(_MEMORY), memories_by_id),
    ScalarFunction("aios_recalled", ["VARCHAR", "VARCHAR", _FILTER], _struct_of(_MEMORY), recalled),
    ScalarFunction("aios_memories_at", ["BIGINT[]"], list_of(_MEMORY), memories_at),
    ScalarFunction("aios_memory_versions", ["BIGINT"], list_of(_VERSION), memory_versions),
)

FUNCTIONS = tuple(replace(each, retrieves=True) for each in _SEARCHES)
