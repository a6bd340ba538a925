"""Fragments in which no memory has its vector, and which a compaction keeps apart.

In a Lance page a vector that is missing takes as much room as one that is there, but a page in which all are
missing takes none. So compressed memories lie in fragments of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import lance

if TYPE_CHECKING:
    from lance.fragment import LanceFragment

_VECTOR = "text_embedding"


def cold_fragments(dataset: lance.LanceDataset) -> list[LanceFragment]:
    """Return the fragments of a version of `memories` that hold no vector; none of another table."""
    if _VECTOR not in dataset.schema.names:
        return []
    return [each for each in dataset.get_fragments() if _is_cold(_Files(each))]


class _Files:
    """A fragment as its files, which never change."""

    def __init__(self, fragment: LanceFragment) -> None:
        self.fragment = fragment
        self._paths: Sequence[str] = tuple(each.path for each in fragment.metadata.files)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Files) and self._paths == other._paths

    def __hash__(self) -> int:
        return hash(self._paths)


@lru_cache(4096)
def _is_cold(files: _Files) -> bool:
    scanner = files.fragment.scanner(columns=[], filter=f"{_VECTOR} IS NOT NULL", limit=1, with_row_id=True)
    return sum(map(len, scanner.to_batches())) == 0
