"""What changed in the Lance tables since a version: the only place where the index meets Lance."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from aios_db.schema.retrieval import Rows

if TYPE_CHECKING:
    from lance import LanceDataset

logger = logging.getLogger("aios_db.search")

MEMORY_COLUMNS = (
    "memory_id", "content_hash", "title", "text", "text_embedding", "session_id", "agent_id", "user_id",
    "occurred_at", "created_at", "tier",
)  # fmt: skip
LINK_COLUMNS = ("source_id", "target_id", "kind", "weight")
_BATCH_ROWS = 8192


def changed(dataset: LanceDataset, since: int, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Yield the rows inserted or updated after version ``since`` with their ``_rowid``; all when it is -1."""
    scanner = dataset.scanner(
        columns=[*columns, "_rowid"],
        filter=f"_row_last_updated_at_version > {since}" if since >= 0 else None,
        batch_size=_BATCH_ROWS,
    )
    yield from scanner.to_batches()


def deleted(dataset: LanceDataset, since: int, known: Callable[[], Rows]) -> Rows:
    """Return the row ids deleted after version ``since``.

    When that version has been cleaned up, they are those of ``known()`` that the table no longer has.
    """
    try:
        batches = list(dataset.delta(compared_against=since).get_deleted_row_ids())
    except (OSError, ValueError, RuntimeError):  # which of them differs between Lance's versions
        logger.info("version %d was cleaned up, comparing row ids", since, extra={"table": dataset.uri})
        present = dataset.to_table(columns=["_rowid"])["_rowid"].to_numpy().astype(np.int64)
        return np.setdiff1d(known(), present)
    return np.concatenate(
        [np.empty(0, np.int64), *(batch.column(0).to_numpy().astype(np.int64) for batch in batches)]
    )
