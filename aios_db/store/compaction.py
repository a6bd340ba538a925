"""Keep the number of fragments and versions small while readers and writers go on.

Every commit adds a fragment, and a scan opens each of them. Rewriting a whole table every few commits would
cost more than it saves, so a compaction takes only the tail: a fragment is merged when what lies behind it
has at least a quarter of its rows. A row is then rewritten a number of times that is logarithmic in the
table's size (the size-tiered merge of log-structured stores).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import lance
from filelock import FileLock, Timeout
from lance.fragment import FragmentMetadata
from lance.optimize import Compaction

from aios_db.schema.config import StorageConfig
from aios_db.store.lock import WriteLock
from aios_db.store.snapshot import handle, newest

logger = logging.getLogger("aios_db.store")

LOCK = "compact.lock"
_GROWTH = 4
_TARGET_ROWS = 1_000_000
_DELETED_SHARE = 0.1


def mergeable(rows: Sequence[int]) -> int:
    """Return where the tail to merge begins, given the rows of each fragment in order."""
    behind = 0
    for place in range(len(rows) - 1, -1, -1):
        if behind and rows[place] > _GROWTH * behind:
            return place + 1
        behind += rows[place]
    return 0


def is_due(dataset: lance.LanceDataset, fragments: int) -> bool:
    """Say whether the tail to merge has at least ``fragments`` fragments."""
    rows = [each.metadata.physical_rows for each in dataset.get_fragments()]
    return len(rows) - mergeable(rows) >= fragments


def compact(dataset: lance.LanceDataset, lock: WriteLock, *, everything: bool = False) -> lance.LanceDataset:
    """Merge the tail, or ``everything``, and rewrite fragments of which a tenth is deleted.

    The new files are written without the lock, which is taken for the commit only. When rows of the old ones
    were deleted or updated meanwhile, the work is done again under the lock.

    Returns
    -------
    lance.LanceDataset
        The dataset at the version written, or as it was when there was nothing to do.
    """
    options = _options(dataset, everything=everything)
    rewritten = [(task.fragments, task.execute(dataset)) for task in Compaction.plan(dataset, options).tasks]
    if not rewritten:
        return dataset
    with lock.hold():
        current = handle(newest(dataset))
        if not any(_changed(current, fragments) for fragments, _ in rewritten):
            try:
                Compaction.commit(current, [result for _, result in rewritten], options)
                return current
            except (OSError, ValueError, RuntimeError):  # Lance sees conflicts in more than that
                current = handle(newest(dataset))
        logger.debug("compacting again, under the lock", extra={"table": dataset.uri})
        Compaction.execute(current, _options(current, everything=everything))
    return current


def _options(dataset: lance.LanceDataset, *, everything: bool) -> Any:
    fragments = dataset.get_fragments()
    start = 0 if everything else mergeable([each.metadata.physical_rows for each in fragments])
    large = [
        each.fragment_id
        for each in fragments[:start]
        if each.num_deletions <= _DELETED_SHARE * each.metadata.physical_rows
    ]
    return {
        "target_rows_per_fragment": _TARGET_ROWS,
        "materialize_deletions_threshold": _DELETED_SHARE,
        "excluded_fragment_ids": large,
        "num_threads": 1,
    }


def _changed(dataset: lance.LanceDataset, fragments: Sequence[FragmentMetadata]) -> bool:
    """Say whether any of these fragments has gone, or lost rows or columns, since its metadata was read."""
    now = {each.fragment_id: _contents(each.metadata) for each in dataset.get_fragments()}
    return any(now.get(each.id) != _contents(each) for each in fragments)


def _contents(fragment: FragmentMetadata) -> object:
    return fragment.deletion_file, [(each.path, each.fields) for each in fragment.files]


def index_new_rows(dataset: lance.LanceDataset, unindexed: int = 10_000) -> None:
    """Add rows to the scalar indices when more than ``unindexed`` are missing, which filters must scan."""
    for index in dataset.describe_indices():
        if dataset.stats.index_stats(index.name)["num_unindexed_rows"] > unindexed:
            dataset.optimize.optimize_indices(index_names=[index.name])


def clean_up(dataset: lance.LanceDataset, keep_s: float) -> None:
    """Delete versions older than ``keep_s`` seconds, and the files that only they use.

    Lance reads every manifest to find what may go, so this waits until some are twice that old. A reader in
    another process that still scans a deleted version gets an error: ``keep_s`` is to be longer than any
    statement takes.
    """
    with os.scandir(Path(dataset.uri, "_versions")) as entries:
        oldest = max(
            (entry for entry in entries if entry.name.endswith(".manifest")), key=lambda each: each.name
        )
        age_s = time.time() - oldest.stat().st_mtime
    if age_s > 2 * keep_s:
        dataset.cleanup_old_versions(older_than=timedelta(seconds=keep_s), error_if_tagged_old_versions=False)


def compact_if_due(
    tables: Iterable[lance.LanceDataset], lock: WriteLock, directory: Path, config: StorageConfig
) -> None:
    """Compact each table that has too many small fragments, unless another process is at it."""
    due = [each for each in tables if is_due(each, config.compact_after_fragments)]
    if not due:
        return
    try:
        with FileLock(directory / LOCK, blocking=False):
            for dataset in due:
                written = compact(dataset, lock)
                index_new_rows(written)
                clean_up(written, config.keep_versions_s)
    except Timeout:
        logger.debug("another process is compacting", extra={"database": str(directory)})
