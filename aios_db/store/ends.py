"""Until when a memory held that something supersedes: until what is so instead happened, or was stored."""

from __future__ import annotations

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.memories import TIMESTAMP
from aios_db.search.answers import Answers

_TIMES = ["occurred_at", "created_at"]


def ends(
    superseded_by: pa.Array, valid_until: pa.Array, memories: lance.LanceDataset, index: Answers
) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Return ``valid_until``, filled where something that is stored supersedes a memory and no end is given.

    Parameters
    ----------
    superseded_by, valid_until
        Row by row; NULL where nothing is given.
    memories, index
        Level with each other.

    Returns
    -------
    pyarrow.Array
        The times.
    numpy.ndarray
        Bool: the rows whose ``superseded_by`` is no memory.
    """
    named = superseded_by.is_valid().to_numpy(zero_copy_only=False)
    rows = np.full(len(named), -1, np.int64)
    rows[named] = index.find_ids(superseded_by.filter(pa.array(named)).to_pylist())
    open_ = named & (rows >= 0) & valid_until.is_null().to_numpy(zero_copy_only=False)
    if not open_.any():
        return valid_until, named & (rows < 0)
    stored = memories._take_rows(rows[open_].tolist(), columns=_TIMES)
    happened = pc.coalesce(stored["occurred_at"], stored["created_at"]).combine_chunks()
    places = np.full(len(named), -1, np.int64)
    places[open_] = np.arange(int(open_.sum()))
    filled = happened.take(pa.array(places, mask=places < 0))
    return pc.coalesce(valid_until.cast(TIMESTAMP), filled.cast(TIMESTAMP)), named & (rows < 0)
