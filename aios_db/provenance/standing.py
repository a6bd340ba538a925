"""How the memories of a search index stand: their trust, and which are held in quarantine.

Both follow from a memory's row and the configuration, so nothing is stored of them and a changed
configuration holds at once. The index keeps a hash of each source; what it stands for is read from one memory
that has it, once. A text is looked at once, when its source is not trusted enough.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.provenance.patterns import suspicion
from aios_db.provenance.policy import EVERY_SOURCE, SourceTrust
from aios_db.schema.retrieval import Filter, Rows
from aios_db.search.ranking import digest64

if TYPE_CHECKING:
    from aios_db.search.part import Part

Documents = NDArray[np.int64] | slice
Releases = Mapping[str, str]
"""By memory_id, the `fingerprint` of the text that was released."""

_ALL = slice(None)
_BLOCK = 4096


def fingerprint(title: str | None, text: str) -> str:
    """Return what names the text of a memory that was released: another text is looked at anew."""
    return hashlib.sha256(f"{title or ''}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Permitted:
    """What stands in a filter for ``min_trust``: enough trust, and not held."""

    standing: Standing
    least: float
    held: Rows

    def mask(self, part: Part, documents: Documents) -> NDArray[np.bool_]:
        """Tell which documents of a part may be found."""
        mask = np.ones(len(part), np.bool_)
        at = part.positions(self.held)
        mask[at[at >= 0]] = False
        mask = mask[documents]
        if self.least > 0:
            mask &= self.standing.trust(part, documents) >= np.float32(self.least)
        return mask


class Standing:
    """Trust and quarantine of the memories of one index, which calls it under its lock.

    Parameters
    ----------
    policy
        Trust by source.
    releases
        Returns what was released from quarantine.
    """

    def __init__(self, policy: SourceTrust = EVERY_SOURCE, releases: Callable[[], Releases] = dict) -> None:
        self.policy = policy
        self._releases = releases
        self._rows: Callable[[Rows], pa.RecordBatch] = lambda _: pa.RecordBatch.from_pylist([])
        self.reset()

    def reads(self, rows: Callable[[Rows], pa.RecordBatch]) -> None:
        """Say what returns the rows of memories by row id; all is looked at anew."""
        self._rows = rows
        self.reset()

    def reset(self) -> None:
        """Forget what was looked at."""
        self._known = np.zeros(1, np.uint64)
        self._shares = np.array([self.policy.of(None)], np.float32)
        self._reasons: dict[int, str] = {}
        self._changed: list[Rows] | None = None  # None is all
        self._released: Releases = {}

    def changed(self, rows: Rows) -> None:
        """Say that memories are new, or have become others."""
        if self.policy.active and self._changed is not None:
            self._changed.append(rows)

    def trust(self, part: Part, documents: Documents = _ALL) -> NDArray[np.float32]:
        """Return the trust in documents of a part: the least of their own and that in their source."""
        own: NDArray[np.float32] = part.columns["trust"][documents]
        if not self.policy.active:
            return own
        hashes = part.columns["source"][documents]
        at, known = self._find(hashes)
        unknown = ~known & part.alive[documents]
        if unknown.any():
            self._learn(part.rows[documents][unknown], hashes[unknown])
            at, known = self._find(hashes)
        return np.minimum(own, np.where(known, self._shares[at], np.float32(0)))

    def restrict(self, where: Filter | None, parts: Sequence[Part]) -> Filter | None:
        """Return a filter that leaves out what is held, and compares trust as it is now."""
        if not self.policy.active:
            return where
        held = np.fromiter(self.held(parts), np.int64)
        least = where.values.get("min_trust") if where else None
        if not len(held) and least is None:
            return where
        return (where or Filter()).replaced(min_trust=Permitted(self, least or 0.0, held))

    def held(self, parts: Sequence[Part]) -> Mapping[int, str]:
        """Return the memories that are held, by row id, with the reason."""
        if not self.policy.active:
            return {}
        released = self._releases()
        if released != self._released:
            self._released, self._changed, self._reasons = dict(released), None, {}
        if self._changed is None:
            for part in parts:
                self._judge(part, np.flatnonzero(part.alive))
        elif self._changed:
            rows = np.unique(np.concatenate(self._changed))
            for row in rows.tolist():
                self._reasons.pop(row, None)
            for part in parts:
                at = part.positions(rows)
                at = at[at >= 0]
                self._judge(part, at[part.alive[at]])
        self._changed = []
        return self._reasons

    def shown(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return rows of memories with the trust that they have now."""
        if not self.policy.active or not len(rows):
            return rows
        place = rows.schema.get_field_index("trust")
        shares = pa.array([self.policy.of(each) for each in rows["source"].to_pylist()], pa.float32())
        return rows.set_column(
            place, rows.schema.field(place), pc.min_element_wise(rows.column(place), shares)
        )

    def _find(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        at = np.minimum(np.searchsorted(self._known, hashes), len(self._known) - 1)
        return at, self._known[at] == hashes

    def _learn(self, rows: Rows, hashes: NDArray[np.uint64]) -> None:
        """Read which sources hashes stand for."""
        distinct, first = np.unique(hashes, return_index=True)
        sources = self._rows(rows[first])["source"].to_pylist()
        for value, source in zip(distinct, sources, strict=True):
            if source is not None and digest64(source) == int(value):
                at = int(np.searchsorted(self._known, value))
                self._known = np.insert(self._known, at, value)
                self._shares = np.insert(self._shares, at, np.float32(self.policy.of(source)))

    def _judge(self, part: Part, documents: NDArray[np.int64]) -> None:
        """Look at the texts of documents that are not trusted enough."""
        suspect = self.trust(part, documents) < np.float32(self.policy.quarantine_below)
        rows = part.rows[documents[suspect]]
        for start in range(0, len(rows), _BLOCK):
            some = rows[start : start + _BLOCK]
            columns: dict[str, list[Any]] = (
                self._rows(some).select(["memory_id", "title", "text"]).to_pydict()
            )
            for row, name, title, text in zip(some.tolist(), *columns.values(), strict=True):
                reason = suspicion(f"{title}\n{text}" if title else text)
                if reason and self._released.get(name) != fingerprint(title, text):
                    self._reasons[row] = reason
