"""Each link by itself: its ends, weight and evidence; and the memories' own column of links."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.checking.faults import Faults
from aios_db.search.keys import digests_of, heads

_MENDED = "aios repair removes it"
_AGAIN = "delete the link, and make it again if it is wanted"
_KEY = ("source_id", "target_id", "kind")


class LinkChecks:
    """Looks at all links, and keeps 8 bytes of each.

    Parameters
    ----------
    faults
        Told what is wrong.
    ids
        The digests of the ids of all memories, sorted.
    """

    def __init__(self, faults: Faults, ids: NDArray[np.bytes_]) -> None:
        self._faults, self._ids = faults, ids
        self._keys = [np.empty(0, np.uint64)]
        self.count = 0

    def look(self, file: Path, batch: pa.RecordBatch) -> None:
        """Check some rows."""
        self.count += len(batch)
        joined = pc.binary_join_element_wise(*(batch[name] for name in _KEY), "\0")
        self._keys.append(heads(digests_of(joined)))
        ends = [self._known(batch[name]) for name in _KEY[:2]]
        self._note(file, ~(ends[0] & ends[1]), "a link without the memory at an end", _MENDED)
        self._note(file, _true(pc.equal(batch[_KEY[0]], batch[_KEY[1]])), "a link to itself", _AGAIN)
        weight, evidence = batch["weight"].to_numpy(), batch["evidence_count"].to_numpy()
        self._note(file, ~((weight > 0) & (weight <= 1)), "the weight of a link is not in (0, 1]", _AGAIN)
        self._note(file, evidence < 1, "the evidence_count of a link is below 1", _AGAIN)
        self._note(file, _true(pc.equal(batch["kind"], "")), "the kind of a link is empty", _AGAIN)

    def end(self) -> None:
        """Note links that are there twice."""
        keys = np.sort(np.concatenate(self._keys))
        for _ in range(int((keys[1:] == keys[:-1]).sum())):
            self._faults.row("association_links.lance", "several links have the same ends and kind", _MENDED)

    def _known(self, column: pa.Array) -> NDArray[np.bool_]:
        if not len(self._ids):
            return np.zeros(len(column), np.bool_)
        digests = digests_of(column)
        at = np.minimum(np.searchsorted(self._ids, digests), len(self._ids) - 1)
        found: NDArray[np.bool_] = self._ids[at] == digests
        return found

    def _note(self, file: Path, wrong: NDArray[np.bool_], what: str, remedy: str) -> None:
        for _ in range(int(wrong.sum())):
            self._faults.row(file, what, remedy)


def _true(values: Any) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(values, False).to_numpy(zero_copy_only=False), np.bool_)
