"""What was folded into a memory goes along as that is deleted: whoever deletes a fact means it each time."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.lifecycle.near_duplicates import SAID_BY, words_of
from aios_db.schema.memories import KEY, TIMESTAMP
from aios_db.store.snapshot import Snapshot

_SAYING = [*SAID_BY, "text"]


def folded_into(now: Snapshot, row_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of what has expired and says the same as one of some memories that count more than one.

    No column names what a memory was folded into; it is told by its words, as when it was folded.

    Parameters
    ----------
    now
        Has the memories.
    row_ids
        int64, shape (n,): rows that are there.
    """
    counts = now.memories._take_rows(row_ids.tolist(), columns=["occurrences"])["occurrences"]
    counting: NDArray[np.int64] = row_ids[pc.greater(counts, 1).fill_null(False).to_numpy()]
    if not len(counting):
        return counting
    said = set(_said(now.memories._take_rows(counting.tolist(), columns=_SAYING)))
    hidden = pc.field("expires_at") <= pa.scalar(datetime.now(timezone.utc), TIMESTAMP)
    found: list[str] = []
    for batch in now.memories.scanner(columns=[KEY, *_SAYING], filter=hidden).to_batches():
        names = batch[KEY].to_pylist()
        found += [name for name, key in zip(names, _said(batch), strict=True) if key in said and key[0]]
    rows = now.index.find_ids(found)
    return np.setdiff1d(rows[rows >= 0], row_ids)


def _said(memories: pa.Table | pa.RecordBatch) -> list[tuple[object, ...]]:
    """Return the words of each memory, and whose they are."""
    return [
        (words_of(each["text"] or "", each["speaker"]), *(each[name] for name in SAID_BY))
        for each in memories.to_pylist()
    ]
