"""What changes of stored rows: the columns that differ, and which links follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.memories import SCOPE

_SAME = 1e-6  # greatest difference of a number in two vectors that are one

# The kinds of links that nobody made by hand, and the columns that they follow from.
_FOLLOW = {
    "similar": {"text_embedding", "user_id", "agent_id"},
    "same_entity": {"title", "text", "speaker", "user_id", "agent_id"},
    "next_in_session": {*SCOPE},
    "derived_from": {"derived_from"},
    "superseded_by": {"superseded_by"},
}


@dataclass(frozen=True)
class Change:
    """New values of columns in some rows."""

    row_ids: NDArray[np.int64]
    columns: dict[str, pa.Array]
    """Row by row of ``row_ids``; a column in which no row changes is left out."""
    changed: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    """For each column in which rows differ, which do."""

    @classmethod
    def between(
        cls,
        row_ids: NDArray[np.int64],
        stored: pa.Table,
        columns: Mapping[str, pa.Array],
        counts: Mapping[str, pa.Array] | None = None,
    ) -> Change:
        """Return what changes when stored rows get these columns, and besides them ``counts``."""
        counts = counts or {}
        differing = {name: differs(stored[name], each) for name, each in {**columns, **counts}.items()}
        changed = {name: each for name, each in differing.items() if each.any()}
        if not changed:
            return NO_CHANGE
        moved = np.logical_or.reduce(list(changed.values()))
        chosen = pa.array(moved)
        new = {**columns, **counts}
        return cls(
            row_ids[moved],
            {name: new[name].filter(chosen) for name in changed},
            {name: each[moved] for name, each in changed.items() if name not in counts},
        )

    def to_link(self) -> tuple[NDArray[np.int64], list[str]]:
        """Return the rows whose links have to be made anew, and the kinds of them."""
        kinds = [kind for kind, columns in _FOLLOW.items() if columns & self.changed.keys()]
        if not kinds:
            return self.row_ids[:0], []
        followed = set().union(*(_FOLLOW[kind] for kind in kinds))
        concerned = [each for name, each in self.changed.items() if name in followed]
        return self.row_ids[np.logical_or.reduce(concerned)], kinds


NO_CHANGE = Change(np.empty(0, np.int64), {})


def differs(old: pa.Array | pa.ChunkedArray, new: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    """Tell which rows of two columns differ; NULL is equal to NULL."""
    old, new = (each.combine_chunks() if isinstance(each, pa.ChunkedArray) else each for each in (old, new))
    if pa.types.is_fixed_size_list(old.type):
        return _vectors_differ(old, new)
    if pa.types.is_nested(old.type):
        return np.array([a != b for a, b in zip(old.to_pylist(), new.to_pylist(), strict=True)], np.bool_)
    one_missing = pc.not_equal(old.is_null(), new.is_null())
    other = pc.fill_null(pc.not_equal(old, new.cast(old.type)), False)
    return np.asarray(pc.or_(one_missing, other).to_numpy(zero_copy_only=False), np.bool_)


def _vectors_differ(old: pa.FixedSizeListArray, new: pa.FixedSizeListArray) -> NDArray[np.bool_]:
    there = [each.is_valid().to_numpy(zero_copy_only=False) for each in (old, new)]
    both = there[0] & there[1]
    differ: NDArray[np.bool_] = there[0] ^ there[1]
    if both.any():
        first, second = (
            column.filter(pa.array(both)).flatten().to_numpy().reshape(int(both.sum()), -1)
            for column in (old, new)
        )
        differ[both] = np.abs(first - second).max(axis=1) > _SAME
    return differ
