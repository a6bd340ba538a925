"""Keep the number of fragments and versions small while readers and writers go on.

Every commit adds a fragment, and a scan opens each of them. Rewriting a whole table every few commits would
cost more than it saves, so a compaction takes only the tail: a fragment is merged when what lies behind it
has at least a quarter of its rows. A row is then rewritten a number of times that is logarithmic in the
table's size (the size-tiered merge of log-structured stores). What is merged at once is at most a quarter of
the table, since it is on the disk twice until the replaced version goes.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import lance
from filelock import FileLock, Timeout
from lance.fragment import FragmentMetadata
from lance.optimize import Compaction, RewriteResult

from aios_db.disk.durable import DurableTable, data_files, manifest, versions
from aios_db.disk.lock import WriteLock
from aios_db.schema.config import StorageConfig
from aios_db.store.cold import cold_fragments
from aios_db.store.kept import remove_versions
from aios_db.store.row_versions import new_files, with_one_version
from aios_db.store.snapshot import handle, newest

logger = logging.getLogger("aios_db.store")

LOCK = "compact.lock"
_GROWTH = 4
_FEW_ROWS = 128  # are merged whatever their share
_SMALL_ROWS = 4096  # in all
_MANY_FRAGMENTS = 48  # left before the tail, as writes in bulk do: more are merged whatever their share
_TARGET_ROWS = 1_000_000
_DELETED_SHARE = 0.1
_MANY_DELETED = 1_000
_LEAST_AGE_S, _ENOUGH_S = 3.0, 30.0
_FEW_VERSIONS = 32  # have manifests that are read in some 10 ms
_BYTES_A_SECOND = 1_000_000  # of the tables, in a slow statement: a thousandth of what a scan reads
_SCANNED_ROWS = 10_000  # are scanned about as fast as looked up
_SCANNED_WHEN_COMPRESSED = 65_536  # are scanned in milliseconds


def mergeable(rows: Sequence[int]) -> int:
    """Return where the tail to merge begins, given the rows of each fragment in order."""
    start = _tail(rows, max(sum(rows) // _GROWTH, _FEW_ROWS))
    return start if start <= _MANY_FRAGMENTS else _tail(rows, sum(rows))


def _tail(rows: Sequence[int], most: int) -> int:
    """Return where the fragments begin that are merged, of no more than ``most`` rows."""
    behind = 0
    for place in range(len(rows) - 1, -1, -1):
        if behind and (rows[place] > _GROWTH * behind or rows[place] + behind > most):
            return place + 1
        behind += rows[place]
    return 0


def is_due(dataset: lance.LanceDataset, fragments: int) -> bool:
    """Say whether the tail has ``fragments`` fragments, or a quarter of all rows is deleted.

    In a small table not all of the tail may be merged at once, since that is much of the table.
    """
    found = dataset.get_fragments()
    rows = [each.metadata.physical_rows for each in found]
    deleted = sum(each.num_deletions for each in found)
    if deleted >= max(_MANY_DELETED, sum(rows) // 4):
        return True
    start = mergeable(rows) if sum(rows) > _SMALL_ROWS else _tail(rows, sum(rows))
    return len(rows) - start >= fragments


def compact(dataset: lance.LanceDataset, lock: WriteLock, *, everything: bool = False) -> lance.LanceDataset:
    """Merge the tail, or ``everything``, and rewrite fragments of which a tenth is deleted.

    The new files are written without the lock, which is taken for the commit only. When rows of the old ones
    were deleted or updated meanwhile, the work is done again under the lock. Files that are not committed go:
    no version names them, so that no clean-up finds them.

    Returns
    -------
    lance.LanceDataset
        The dataset at the version written, or as it was when there was nothing to do.
    """
    options = _options(dataset, everything=everything)
    tasks = Compaction.plan(dataset, options).tasks
    if not tasks:
        return dataset
    results: list[RewriteResult] = []
    try:
        results.extend(with_one_version(task.execute(dataset)) for task in tasks)
        with lock.hold():
            current = handle(newest(dataset))
            if not any(_changed(current, task.fragments) for task in tasks):
                try:
                    Compaction.commit(current, results, options)
                    results.clear()
                    return current
                except (OSError, ValueError, RuntimeError):  # Lance sees conflicts in more than that
                    current = handle(newest(dataset))
            logger.debug("compacting again, under the lock", extra={"table": dataset.uri})
            _remove_unnamed(current, results)
            results.clear()
            rewrite_fragments(current, _options(current, everything=everything))
        return current
    finally:
        if results:  # the disk was full, or another process held the lock for too long
            _remove_unnamed(handle(newest(dataset)), results)


def _remove_unnamed(dataset: lance.LanceDataset, results: Iterable[RewriteResult]) -> None:
    """Remove the files of results that are not in the newest version, since they were not committed."""
    named = {path for path, _ in data_files(dataset)}
    for path in {path for result in results for path in new_files(result)} - named:
        Path(dataset.uri, path).unlink(missing_ok=True)


def rewrite_fragments(dataset: lance.LanceDataset, options: Any) -> None:
    """Compact with options of Lance's, in one commit, while nobody else writes."""
    results = [with_one_version(task.execute(dataset)) for task in Compaction.plan(dataset, options).tasks]
    if results:
        Compaction.commit(dataset, results, options)


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
        "excluded_fragment_ids": [*large, *(each.fragment_id for each in cold_fragments(dataset))],
        "num_threads": 1,
    }


def _changed(dataset: lance.LanceDataset, fragments: Sequence[FragmentMetadata]) -> bool:
    """Say whether any of these fragments has gone, or lost rows or columns, since its metadata was read."""
    now = {each.fragment_id: _contents(each.metadata) for each in dataset.get_fragments()}
    return any(now.get(each.id) != _contents(each) for each in fragments)


def _contents(fragment: FragmentMetadata) -> object:
    return fragment.deletion_file, [(each.path, each.fields) for each in fragment.files]


def shed_lookups(dataset: lance.LanceDataset, lock: WriteLock) -> lance.LanceDataset:
    """Empty the scalar indices of a table that is small enough to be scanned; bring others up to date.

    Returns the version written.
    """
    if dataset.count_rows() > _SCANNED_WHEN_COMPRESSED:
        return index_new_rows(dataset, lock)
    with lock.hold():
        current = handle(newest(dataset))
        for index in current.describe_indices():
            if any(list(each.fragment_ids) for each in index.segments):  # of rows that have moved since, too
                (column,) = index.field_names
                current.create_scalar_index(column, "BTREE", name=index.name, replace=True, train=False)
        return current


def index_new_rows(
    dataset: lance.LanceDataset, lock: WriteLock, unindexed: int = _SCANNED_ROWS
) -> lance.LanceDataset:
    """Add rows to the scalar indices when more than ``unindexed`` are missing, which filters must scan.

    It is done at the newest version, under the lock: of two such commits Lance refuses the second.

    Returns the version written.
    """
    with lock.hold():
        current = handle(newest(dataset))
        for index in current.describe_indices():
            if current.stats.index_stats(index.name)["num_unindexed_rows"] > unindexed:
                current.optimize.optimize_indices(index_names=[index.name])
        return current


def clean_up(tables: Sequence[lance.LanceDataset], config: StorageConfig) -> None:
    """Delete versions replaced `StorageConfig.keep_versions_s` ago, and the files that only they use.

    Lance reads every manifest to find what may go, so this waits until one was replaced twice that long ago,
    or those of all ``tables`` together take more space than `StorageConfig.keep_versions_bytes` and than
    half of the tables: then a shorter time is enough, but never one under `_least_age_s`. Where there are
    many versions a third must be that old. A reader in another process that still scans a deleted version
    gets an error: so long a statement may always take.
    """
    in_use = sum(map(_bytes_in_use, tables))
    spare = sum(map(_bytes_on_disk, tables)) - in_use
    keep_bytes = max(config.keep_versions_bytes, in_use // 2)
    # Each version taken to cost the same: those that fit are kept, however long ago they were replaced.
    share = keep_bytes / spare / 2 if spare > keep_bytes else inf
    for dataset in tables:
        _clean_up(dataset, config.keep_versions_s, share, _least_age_s(in_use))


def _clean_up(dataset: lance.LanceDataset, keep_s: float, share: float, least_age_s: float) -> None:
    """Delete all but a share of the versions, younger ones than ``keep_s`` as far as they are old enough."""
    replaced_s = _replaced_s(dataset)
    if not replaced_s:
        return
    crowded = share < inf
    if crowded:
        fitting = max(int((len(replaced_s) + 1) * share), 1)
        keep_s = min(keep_s, max(list(replaced_s.values())[-fitting], least_age_s))
    gone = [each for each, ago in replaced_s.items() if ago >= keep_s]
    kept = len(replaced_s) - len(gone)
    worth_it = kept < max(2 * len(gone), _FEW_VERSIONS) if crowded else max(replaced_s.values()) >= 2 * keep_s
    if gone and worth_it:
        DurableTable(Path(dataset.uri)).force(dataset)  # before what a loss of power would go back to is gone
        remove_versions(dataset, gone)


def _least_age_s(in_use: int) -> float:
    """Return how long ago a version was replaced that may go: a statement reads all of it in less."""
    return max(_LEAST_AGE_S, min(in_use / _BYTES_A_SECOND, _ENOUGH_S))


def _replaced_s(dataset: lance.LanceDataset) -> dict[int, float]:
    """Return how many seconds ago each version but the newest was replaced, the oldest first.

    A version was replaced no later than those behind it, also where the clock went back.
    """
    table, now, replaced_s, longest = Path(dataset.uri), time.time(), {}, 0.0
    for newer, version in pairwise(versions(table)):
        longest = max(longest, now - (table / manifest(newer)).stat().st_mtime)
        replaced_s[version] = longest
    return dict(reversed(replaced_s.items()))


def _bytes_on_disk(dataset: lance.LanceDataset) -> int:
    folders = ("_versions", "data", "_deletions", "_transactions")
    files = (place for folder in folders for place in os.walk(Path(dataset.uri, folder)))
    return sum(_size(os.path.join(root, name)) for root, _, names in files for name in names)


def _bytes_in_use(dataset: lance.LanceDataset) -> int:
    files = (file for fragment in dataset.get_fragments() for file in fragment.metadata.files)
    return sum(file.file_size_bytes or _size(os.path.join(dataset.uri, "data", file.path)) for file in files)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:  # removed meanwhile
        return 0


def compact_if_due(
    tables: Iterable[lance.LanceDataset],
    lock: WriteLock,
    directory: Path,
    config: StorageConfig,
    cleaned: dict[str, int],
) -> bool:
    """Compact each table that has too many small fragments, and clean up after so many commits.

    Returns whether there was anything to do.

    Parameters
    ----------
    cleaned
        The version at which each table, by its address, was last cleaned up; brought up to date.
    """
    every = config.compact_after_fragments
    tables = list(tables)
    due = [is_due(each, every) for each in tables]
    if not any(due) and all(each.version - cleaned.get(each.uri, 0) < every for each in tables):
        return False
    try:
        with FileLock(directory / LOCK, blocking=False):
            written = [
                index_new_rows(compact(each, lock), lock) if late else each
                for each, late in zip(tables, due, strict=True)
            ]
            clean_up(written, config)
            cleaned |= {each.uri: each.version for each in written}
    except Timeout:
        logger.debug("another process is compacting", extra={"database": str(directory)})
    return True
