"""Merged fragments say of all their rows together when they were last changed, and not of each.

With stable row ids a Lance manifest holds the version in which each row was made and last changed, as runs
of equal ones: after single writes a run is one row, some 12 bytes each and for both, in every manifest. 4,500
memories written one by one, with their links, cost 170 KB per commit, 40 times the row itself, and ever more.

What is needed of them is which rows are new since a version that an index has (`aios_db.search.source`). A
compaction therefore says that all rows of a merged fragment changed at the version it has read. Who had that
version knows them; who is further behind takes in the rows of that fragment again.
"""

from __future__ import annotations

import json
from typing import Any, cast

from lance.optimize import RewriteResult


def with_one_version(result: Any) -> RewriteResult:
    """Return the result of a compaction's task with one run of versions for each new fragment."""
    content: dict[str, Any] = json.loads(result.json())
    for fragment in content["new_fragments"]:
        versions = {"inline": list(_one_run(fragment["physical_rows"], content["read_version"]))}
        fragment["created_at_version_meta"] = fragment["last_updated_at_version_meta"] = versions
    return cast(RewriteResult, cast(Any, RewriteResult).from_json(json.dumps(content)))


def new_files(result: RewriteResult) -> list[str]:
    """Return the paths, within the table, of the files that a compaction's task has written."""
    fragments = json.loads(cast(Any, result).json())["new_fragments"]
    return [f"data/{file['path']}" for fragment in fragments for file in fragment["files"]]


def _one_run(rows: int, version: int) -> bytes:
    """Return a `RowDatasetVersionSequence` (Lance's table.proto) of one run.

    It is a list of runs (field 1), each of a span (1), which is a segment that is a range (1) from 0 to an
    end (2), and of a version (2).
    """
    span = _message(1, _message(1, _number(2, rows)))
    return _message(1, span + _number(2, version))


def _message(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return bytes([field << 3]) + _varint(value)


def _varint(value: int) -> bytes:
    groups = [value & 127]
    while value := value >> 7:
        groups.append(value & 127)
    return bytes([*(each | 128 for each in groups[:-1]), groups[-1]])
