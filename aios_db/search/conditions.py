"""How each filter of `aios_db.schema.filters` is compared with the documents of a part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.filter_values import wanted
from aios_db.schema.filters import Comparison
from aios_db.search.marks import item_key, leaf_key
from aios_db.search.ranking import digest64

if TYPE_CHECKING:
    from aios_db.search.part import Part
    from aios_db.search.stand import Permitted

_FEW = 8  # values are compared one by one
Documents = NDArray[np.int64] | slice


def _is_one_of(part: Part, column: str, texts: Sequence[str], documents: Documents) -> NDArray[np.bool_]:
    values = part.columns[column][documents]
    mask = np.zeros(len(values), np.bool_)
    for text in texts if len(texts) <= _FEW else ():
        mask |= values == np.uint64(digest64(text))
    return mask if len(texts) <= _FEW else np.isin(values, np.array([*map(digest64, texts)], np.uint64))


def _has(part: Part, column: str, texts: Sequence[str], documents: Documents) -> NDArray[np.bool_]:
    return part.holding([item_key(column, text) for text in texts])[documents]


def _holds(part: Part, column: str, values: dict[str, Any], documents: Documents) -> NDArray[np.bool_]:
    mask = np.ones(len(part), np.bool_)
    for alternatives in wanted(values):
        mask &= part.holding([leaf_key(column, leaf) for leaf in alternatives])
    return mask[documents]


def _is_at_least(part: Part, column: str, least: float, documents: Documents) -> NDArray[np.bool_]:
    return part.columns[column][documents] >= np.float32(least)


def _is_trusted(part: Part, column: str, least: float | Permitted, documents: Documents) -> NDArray[np.bool_]:
    if isinstance(least, float):
        return part.columns[column][documents] >= np.float32(least)
    return least.mask(part, documents)


def _is_since(part: Part, _: str, time: int, documents: Documents) -> NDArray[np.bool_]:
    return part.columns["times"][documents] >= time


def _is_until(part: Part, _: str, time: int, documents: Documents) -> NDArray[np.bool_]:
    return part.columns["times"][documents] < time


def _is_valid_at(part: Part, _: str, time: int, documents: Documents) -> NDArray[np.bool_]:
    return (part.columns["times"][documents] <= time) & (part.columns["ends"][documents] > time)


def _is_within(part: Part, _: str, rows: NDArray[np.int64], documents: Documents) -> NDArray[np.bool_]:
    at = part.positions(rows)
    mask = np.zeros(len(part), np.bool_)
    mask[at[at >= 0]] = True
    return mask[documents]


def _is_there(part: Part, _: str, __: int, documents: Documents) -> NDArray[np.bool_]:
    """Let all pass: who looks back asks the index of that time."""
    return part.alive[documents]


PASSED: dict[Comparison, Callable[[Part, str, Any, Documents], NDArray[np.bool_]]] = {
    Comparison.ONE_OF: _is_one_of,
    Comparison.HAS: _has,
    Comparison.HOLDS: _holds,
    Comparison.AT_LEAST: _is_at_least,
    Comparison.TRUSTED: _is_trusted,
    Comparison.SINCE: _is_since,
    Comparison.UNTIL: _is_until,
    Comparison.WITHIN: _is_within,
    Comparison.AS_OF: _is_there,
    Comparison.VALID_AT: _is_valid_at,
}
