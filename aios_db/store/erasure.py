"""Removing for good what was deleted or replaced: no file of the database holds it afterwards.

A deleted row stays in its data file until that is compacted, the file until no version names it, and the
search index keeps its own copy. So all of them are written anew, and what no version needs is removed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lance
import numpy as np

from aios_db.engine.weights.files import atomic_write
from aios_db.schema.config import CompressionConfig
from aios_db.security.permissions import write_private
from aios_db.store.cold import cold_fragments, rows_of
from aios_db.store.commit import gather
from aios_db.store.compaction import rewrite_fragments
from aios_db.store.dense import plain_columns
from aios_db.store.kept import remove_versions
from aios_db.store.snapshot import handle, newest

_LEAST_BYTES = 8  # shorter words stand in files by chance
_MOST_NEEDLES = 1_000
_MOST_SCANNED = 4 << 30
_BLOCK = 1 << 24


@dataclass(frozen=True)
class EraseReport:
    """What `Connection.erase` did to the files of the database; backups made before are not touched."""

    memories: int
    """Memories deleted by this call, with what was folded into them and the principles that quote them."""
    rejected: int
    """Records taken out of the files of what imports rejected: they held an erased text, or were
    of an erased source. A connection with a scope has a file of its own."""
    files_removed: int
    bytes_before: int
    bytes_after: int
    bytes_scanned: int
    """Bytes in which the erased texts were looked for; 0 when there were too many."""
    found_in: tuple[str, ...]
    """Files that hold an erased text all the same: of another memory that says it, too."""
    import_notes: int = 0
    """Notes of imports that named an erased source; they are removed, but by a connection with a scope."""


def rewrite(dataset: lance.LanceDataset, config: CompressionConfig) -> lance.LanceDataset:
    """Write every fragment that has deleted rows anew and remove all older versions and stray files.

    The caller holds the write lock and the lock of compaction.
    """
    current = handle(newest(dataset))
    worn = rows_of([each for each in cold_fragments(current) if each.num_deletions])
    if len(worn):
        current = gather(current, np.sort(worn), {}, plain_columns(config))
    options: Any = {
        "materialize_deletions_threshold": 0.0,
        "excluded_fragment_ids": sorted(each.fragment_id for each in cold_fragments(current)),
        "num_threads": 1,
    }
    rewrite_fragments(current, options)
    for index in current.describe_indices():
        current.optimize.optimize_indices(index_names=[index.name])
    remove_versions(current, None)
    return current


def needles(values: Iterable[str | bytes | None]) -> list[bytes]:
    """Return what to look for: distinct values that are long enough to mean something."""
    found = {each.encode("utf-8", "replace") if isinstance(each, str) else each for each in values if each}
    return sorted(each for each in found if len(each) >= _LEAST_BYTES)[:_MOST_NEEDLES]


def files_of(directory: Path) -> list[Path]:
    """Return every file under a directory."""
    return [path for path in sorted(directory.rglob("*")) if path.is_file() and not path.is_symlink()]


def size_of(files: Sequence[Path]) -> int:
    """Return the bytes of files that may be removed meanwhile."""
    return sum(path.stat().st_size for path in files if path.exists())


def scan(directory: Path, wanted: Sequence[bytes]) -> tuple[int, tuple[str, ...]]:
    """Return how many bytes were looked through for ``wanted``, and the files that hold one of them."""
    files = files_of(directory)
    total = size_of(files)
    if not wanted or total > _MOST_SCANNED or total * len(wanted) > 64 * _MOST_SCANNED:
        return 0, ()
    found = [str(path.relative_to(directory)) for path in files if _holds(path, wanted)]
    return total, tuple(found)


def _holds(path: Path, wanted: Sequence[bytes]) -> bool:
    overlap = max(map(len, wanted)) - 1
    tail = b""
    for block in _blocks(path):
        window = tail + block
        if any(each in window for each in wanted):
            return True
        tail = window[-overlap:] if overlap else b""
    return False


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
    except FileNotFoundError:  # removed meanwhile
        return


def without_rejected(path: Path, texts: Sequence[str]) -> int:
    """Take the records that hold one of the texts out of a file of rejected records; return how many."""
    if not texts or not path.exists():
        return 0
    lines = path.read_text("utf-8", errors="replace").splitlines(keepends=True)
    kept = [line for line in lines if not _mentions(line, texts)]
    if len(kept) < len(lines):
        with atomic_write(path, alone=True) as part:
            write_private(part, "".join(kept))
    return len(lines) - len(kept)


def without_rejected_of(path: Path, names: Sequence[str]) -> int:
    """Take the records of these source files out of a file of rejected records; return how many."""
    return _without(path, lambda entry: None if entry.get("file") in names else entry) if names else 0


def without_notes(database: Path, names: Sequence[str]) -> int:
    """Take files whose memories are all gone out of what imports note down; return how many notes named them.

    What was imported stays noted by the hash of its content, so that the same file is not imported again.
    """
    if not names:
        return 0
    notes = _without(
        database / "import_sources.jsonl", lambda entry: None if entry.get("name") in names else entry
    )
    for journal in sorted((database / "imports").glob("*.jsonl")):
        notes += _without(
            journal, lambda entry: {"finished": True} if entry.get("source") in names else entry
        )
    return notes


def _without(path: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> int:
    """Rewrite a file of JSON lines with each object as ``change`` returns it; return how many differ."""
    if not path.exists():
        return 0
    kept, changed = [], 0
    for line in path.read_text("utf-8", errors="replace").splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        new = change(entry) if isinstance(entry, dict) else entry
        if new == entry:
            kept.append(line)
        else:
            changed += 1
            kept += [] if new is None else [json.dumps(new) + "\n"]
    if changed:
        with atomic_write(path, alone=True) as part:
            write_private(part, "".join(kept))
    return changed


def _mentions(line: str, texts: Sequence[str]) -> bool:
    try:
        strings = list(_strings(json.loads(line)))
    except (ValueError, RecursionError):
        strings = [line]
    return any(text in each for text in texts for each in strings)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield str(key)
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
