"""The keys, besides its content hash, that a memory is looked up by when it is remembered again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aios_db.schema.identity import TIME, any_time_key, external_key
from aios_db.schema.retrieval import RowIds
from aios_db.search.keys import Keys


def other_keys(batch: pa.RecordBatch, rows: RowIds) -> Iterator[tuple[Keys, RowIds]]:
    """Yield keys with the row ids of the memories they name.

    They are `external_key` of those with an id of the user's, and `any_time_key` of those outside of sessions
    whose content hash depends on their time.
    """
    hashes = batch["content_hash"]
    named = batch["external_id"].is_valid()
    if pc.any(named).as_py():
        columns = (batch[name].filter(named).to_pylist() for name in ("user_id", "agent_id", "external_id"))
        keys = [external_key(user, agent, name) for user, agent, name in zip(*columns, strict=True)]
        yield keys, rows[named.to_numpy(zero_copy_only=False)]
    timed = pc.and_(pc.match_substring(hashes, TIME), batch["session_id"].is_null())
    if pc.any(timed).as_py():
        keys = [any_time_key(each) for each in hashes.filter(timed).to_pylist()]
        yield keys, rows[np.asarray(timed.to_numpy(zero_copy_only=False), np.bool_)]
