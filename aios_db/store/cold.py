"""Fragments in which no memory has its vector, and which a compaction keeps apart.

In a Lance page a vector that is missing takes as much room as one that is there, but a page in which all are
missing takes none. So compressed memories lie in fragments of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lance

from aios_db.disk.durable import fragment_files

if TYPE_CHECKING:
    from lance.fragment import LanceFragment

_VECTOR = "text_embedding"
_MOST = 4096

_known: dict[tuple[str, ...], bool] = {}
"""Whether fragments are cold, by their files, which never change. A fragment itself would keep its whole
version of the table in memory."""


def cold_fragments(dataset: lance.LanceDataset) -> list[LanceFragment]:
    """Return the fragments of a version of `memories` that hold no vector; none of another table."""
    if _VECTOR not in dataset.schema.names:
        return []
    return [each for each in dataset.get_fragments() if _is_cold(each)]


def _is_cold(fragment: LanceFragment) -> bool:
    files = tuple(path for path, _ in fragment_files([fragment.metadata]) if path.startswith("data/"))
    cold = _known.get(files)
    if cold is None:
        scanner = fragment.scanner(columns=[], filter=f"{_VECTOR} IS NOT NULL", limit=1, with_row_id=True)
        cold = sum(map(len, scanner.to_batches())) == 0
        if len(_known) >= _MOST:
            _known.clear()
        _known[files] = cold
    return cold
