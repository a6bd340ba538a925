"""Fragments of what is compressed, which a compaction keeps apart.

In a Lance page a vector that is missing takes as much room as one that is there, but a page in which all are
missing takes none. So compressed memories lie in fragments of their own, and so do their links, in few bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lance
import numpy as np
from numpy.typing import NDArray

from aios_db.disk.durable import fragment_files
from aios_db.store.dense import is_dense

if TYPE_CHECKING:
    from lance.fragment import LanceFragment

_VECTOR = "text_embedding"
_MOST = 4096

_known: dict[tuple[str, ...], bool] = {}
"""Whether fragments are cold, by their files, which never change. A fragment itself would keep its whole
version of the table in memory."""


def cold_fragments(dataset: lance.LanceDataset) -> list[LanceFragment]:
    """Return the fragments of `memories` that hold no vector, or those of links that are dense."""
    has_vectors = _VECTOR in dataset.schema.names
    return [each for each in dataset.get_fragments() if _is_cold(each, has_vectors)]


def rows_of(fragments: list[LanceFragment]) -> NDArray[np.int64]:
    """Return the row ids of the rows of fragments that are not deleted."""
    found = [each.scanner(columns=[], with_row_id=True).to_table()["_rowid"].to_numpy() for each in fragments]
    return np.concatenate([np.empty(0, np.int64), *found]).astype(np.int64)


def _is_cold(fragment: LanceFragment, has_vectors: bool) -> bool:
    files = tuple(path for path, _ in fragment_files([fragment.metadata]) if path.startswith("data/"))
    cold = _known.get(files)
    if cold is None:
        cold = _has_no_vector(fragment) if has_vectors else is_dense(fragment)
        if len(_known) >= _MOST:
            _known.clear()
        _known[files] = cold
    return cold


def _has_no_vector(fragment: LanceFragment) -> bool:
    scanner = fragment.scanner(columns=[], filter=f"{_VECTOR} IS NOT NULL", limit=1, with_row_id=True)
    return sum(map(len, scanner.to_batches())) == 0
