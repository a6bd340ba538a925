"""How the memories of a search index stand: their trust, their class of it, and which are held.

Held is what is in quarantine, and what has expired.

All follow from the memories' rows and the configuration, so nothing is stored of them and a changed
configuration holds at once. The index keeps a hash of each source; what it stands for is read from one memory
that has it, once. A text is looked at once, when its source is not trusted enough.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.retrieval import RowIds
from aios_db.search.expiry import Expiries
from aios_db.search.levels import ENOUGH, FULLY, HELD, LITTLE, Classes
from aios_db.search.lineage import Lineage
from aios_db.search.ranking import digest64
from aios_db.search.rowtable import RowTable
from aios_db.search.stand import Stand
from aios_db.search.totals import Totals
from aios_db.trust.patterns import suspicion
from aios_db.trust.policy import EVERY_SOURCE, SourceTrust

if TYPE_CHECKING:
    from aios_db.search.part import Part

Releases = Mapping[str, str]
"""By memory_id, the `fingerprint` of the text that was released."""

_BLOCK = 4096
_MANY = 256


class Memories(Protocol):
    """What is looked at."""

    @property
    def parts(self) -> Sequence[Part]:
        """Their documents."""
        ...

    @property
    def totals(self) -> Totals:
        """The totals of all."""
        ...

    def take(self, row_ids: RowIds, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        """Return rows in their order, all columns or some."""
        ...

    def look_up(self, memory_ids: Sequence[str]) -> RowIds:
        """Return the row id of each memory_id, -1 for unknown ones."""
        ...


def fingerprint(title: str | None, text: str) -> str:
    """Return what names the text of a memory that was released: another text is looked at anew."""
    return hashlib.sha256(f"{title or ''}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()


class Standing:
    """Trust and quarantine of the memories of one index, which calls it under its lock.

    It is told what changes, and looks at that when it is asked how the memories stand.

    Parameters
    ----------
    policy
        Trust by source.
    releases
        Returns what was released from quarantine.
    now
        Returns the time in seconds since 1970, by which memories expire.
    """

    def __init__(
        self,
        policy: SourceTrust = EVERY_SOURCE,
        releases: Callable[[], Releases] = dict,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.policy = policy
        self._releases, self._now = releases, now

    def alike(self) -> Standing:
        """Return a new one for another index, with the same trust."""
        return Standing(self.policy, self._releases, self._now)

    def begin(self, dimension: int) -> None:
        """Forget all: memories with vectors of this length are looked at anew."""
        self._classes = Classes(dimension)
        self._known = np.zeros(1, np.uint64)
        self._shares = np.array([self.policy.of(None)], np.float32)
        self._own = RowTable(np.float32, 1.0)
        self._trust = RowTable(np.float32, 1.0)
        self._lineage = Lineage()
        self._reasons: dict[int, str] = {}
        self._expiries = Expiries(self._now)
        self._changed: list[RowIds] | None = None  # None is all
        self._released: Releases = {}
        self._any_low = False
        self._found: tuple[Totals, Stand] | None = None

    def changed(self, rows: RowIds) -> None:
        """Say that memories are new, or have become others."""
        if self._changed is not None:
            self._changed.append(rows)
            if len(self._changed) > _MANY:
                self._changed = [np.concatenate(self._changed)]

    def killed(self, part: Part, documents: NDArray[np.int64]) -> None:
        """Say that documents of a part are no longer there."""
        if not self._any_low:
            return
        rows = part.rows[documents]
        self._classes.kill(part, documents)
        self._lineage.forget(rows.tolist())
        self._expiries.forget(rows.tolist())
        for row in rows.tolist():
            self._reasons.pop(row, None)
        self.changed(rows)  # what was made of them is trusted otherwise

    def look(self, memories: Memories) -> Stand:
        """Look at what has changed among memories, has expired or was released; return how they stand."""
        if due := self._expiries.due():
            self.changed(np.array(due, np.int64))
        if self.policy.active and (self._changed != [] or self._reasons):
            released = self._releases()
            if released != self._released:
                self._released, self._changed = dict(released), None
        if self._changed != []:
            changed = self._changed
            self._found = None
            rows = _rows_of(memories.parts) if changed is None else np.unique(np.concatenate(changed))
            self._look(memories, rows)
            self._changed = []
        if self._found is None or self._found[0] is not memories.totals:
            self._found = memories.totals, self._stand(memories)
        return self._found[1]

    def _stand(self, memories: Memories) -> Stand:
        low, classes = self._any_low, self._classes
        return Stand(
            classes.levels(memories.parts, memories.totals),
            classes.there,
            dict(self._reasons),
            bool(self._expiries),
            classes.table() if low else None,
            self._trust if low else None,
        )

    def _look(self, memories: Memories, rows: RowIds) -> None:
        parts = memories.parts
        for part, at in _alive(parts, rows):
            of = part.rows[at]
            self._expiries.put(of, memories.take(of, ["expires_at"]).column(0))
        if not self._any_low:
            if not self._expiries and all(
                (self._of_source(memories, part, at) >= 1).all() for part, at in _alive(parts, rows)
            ):
                return
            self._any_low = True
            rows = _rows_of(parts)  # their classes, and what they were made of, matter from now on
        for part, at in _alive(parts, rows):
            of = part.rows[at]
            self._own[of] = self._of_source(memories, part, at)
            self._lineage.put(of.tolist(), memories.take(of, ["derived_from"]).column(0).to_pylist())
        made, trust = self._lineage.settle(self._own, memories.look_up)
        followed = made[trust[made] != self._trust[made]]
        self._trust = trust
        for part, at in _alive(parts, np.union1d(rows, followed)):
            self._judge(memories, part, at)

    def _of_source(self, memories: Memories, part: Part, documents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the trust in documents of a part: the least of their own and that in their source."""
        own: NDArray[np.float32] = part.columns["trust"][documents]
        if not self.policy.active:
            return own
        hashes = part.columns["source"][documents]
        at, known = self._place(hashes)
        if not known.all():
            self._learn(memories, part.rows[documents][~known], hashes[~known])
            at, known = self._place(hashes)
        return np.minimum(own, np.where(known, self._shares[at], np.float32(0)))

    def _place(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        at = np.minimum(np.searchsorted(self._known, hashes), len(self._known) - 1)
        return at, self._known[at] == hashes

    def _learn(self, memories: Memories, rows: RowIds, hashes: NDArray[np.uint64]) -> None:
        """Read which sources hashes stand for."""
        distinct, first = np.unique(hashes, return_index=True)
        sources = memories.take(rows[first], ["source"]).column(0).to_pylist()
        for value, source in zip(distinct, sources, strict=True):
            if source is not None and digest64(source) == int(value):
                at = int(np.searchsorted(self._known, value))
                self._known = np.insert(self._known, at, value)
                self._shares = np.insert(self._shares, at, np.float32(self.policy.of(source)))

    def _judge(self, memories: Memories, part: Part, documents: NDArray[np.int64]) -> None:
        """Put documents into their classes; look at the texts of those that are not trusted enough."""
        rows = part.rows[documents]
        trust = self._trust[rows]
        little = trust < np.float32(self.policy.quarantine_below)
        classes = np.where(trust >= 1, FULLY, np.where(little, LITTLE, ENOUGH)).astype(np.uint8)
        for row in rows.tolist() if self._reasons else ():
            self._reasons.pop(row, None)
        suspects = np.flatnonzero(little) if self.policy.active else np.empty(0, np.int64)
        for start in range(0, len(suspects), _BLOCK):
            some = suspects[start : start + _BLOCK]
            columns: dict[str, list[Any]] = memories.take(
                rows[some], ["memory_id", "title", "text"]
            ).to_pydict()
            for place, name, title, text in zip(some.tolist(), *columns.values(), strict=True):
                reason = suspicion(f"{title}\n{text}" if title else text)
                if reason and self._released.get(name) != fingerprint(title, text):
                    self._reasons[int(rows[place])] = reason
                    classes[place] = HELD
        classes[self._expiries.among(rows)] = HELD
        self._classes.move(part, documents, classes)


def _rows_of(parts: Sequence[Part]) -> RowIds:
    return np.unique(np.concatenate([part.rows[part.alive] for part in parts]))


def _alive(parts: Sequence[Part], rows: RowIds) -> Iterator[tuple[Part, NDArray[np.int64]]]:
    """Yield each part with the documents of some memories in it."""
    for part in parts:
        at = part.positions(rows)
        at = at[at >= 0]
        at = at[part.alive[at]]
        if len(at):
            yield part, at
