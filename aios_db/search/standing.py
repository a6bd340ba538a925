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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.retrieval import Filter, RowIds
from aios_db.search.expiry import Expiries
from aios_db.search.levels import ENOUGH, FULLY, HELD, LITTLE, Classes, Level
from aios_db.search.lineage import Find, Lineage
from aios_db.search.ranking import digest64
from aios_db.search.rowtable import RowTable
from aios_db.search.totals import Totals
from aios_db.trust.patterns import suspicion
from aios_db.trust.policy import EVERY_SOURCE, SourceTrust

if TYPE_CHECKING:
    from aios_db.search.part import Part

Documents = NDArray[np.int64] | slice
Releases = Mapping[str, str]
"""By memory_id, the `fingerprint` of the text that was released."""

_BLOCK = 4096
_MANY = 256


class Take(Protocol):
    """Returns rows of memories by row id, all columns or some."""

    def __call__(self, row_ids: RowIds, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        """Return the rows in their order."""
        ...


def fingerprint(title: str | None, text: str) -> str:
    """Return what names the text of a memory that was released: another text is looked at anew."""
    return hashlib.sha256(f"{title or ''}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Permitted:
    """What stands in a filter for ``min_trust``: enough trust, and one of the memories that there are.

    Attributes
    ----------
    standing
        It knows the trust.
    least
        So much is enough.
    there
        Returns which documents of a part there are; None for all.
    """

    standing: Standing
    least: float
    there: Callable[[Part], NDArray[np.bool_] | None]

    def mask(self, part: Part, documents: Documents) -> NDArray[np.bool_]:
        """Tell which documents of a part may be found."""
        there = self.there(part)
        mask = np.ones(len(part), np.bool_)[documents] if there is None else there[documents]
        if self.least > 0:
            mask = mask & (self.standing.trust(part.rows[documents]) >= np.float32(self.least))
        return mask


class Standing:
    """Trust and quarantine of the memories of one index, which calls it under its lock.

    `look` comes before all that asks for what was found.

    Parameters
    ----------
    policy
        Trust by source.
    releases
        Returns what was released from quarantine.
    now
        Returns the time in seconds since 1970, by which memories expire.

    Attributes
    ----------
    classes
        Which class of trust each memory is in.
    """

    classes: Classes

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

    def reads(self, rows: Take, find: Find, dimension: int) -> None:
        """Say what returns the rows of memories by row id, and these by memory_id; all is looked at anew."""
        self._rows, self._find = rows, find
        self.classes = Classes(dimension)
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
        self.classes.kill(part, documents)
        self._lineage.forget(rows.tolist())
        self._expiries.forget(rows.tolist())
        for row in rows.tolist():
            self._reasons.pop(row, None)
        self.changed(rows)  # what was made of them is trusted otherwise

    def look(self, parts: Sequence[Part]) -> None:
        """Look at what has changed among the memories of an index, and at what was released."""
        if due := self._expiries.due():
            self.changed(np.array(due, np.int64))
        if self._changed == [] and not self._reasons:
            return
        if self.policy.active:
            released = self._releases()
            if released != self._released:
                self._released, self._changed = dict(released), None
        if self._changed == []:
            return
        rows = _rows_of(parts) if self._changed is None else np.unique(np.concatenate(self._changed))
        self._look(parts, rows)
        self._changed = []

    def levels(self, parts: Sequence[Part], everything: Totals) -> Sequence[Level]:
        """Return the classes of trust that there are; ``everything`` is the totals of all memories."""
        return self.classes.levels(parts, everything)

    def of(self, rows: RowIds) -> NDArray[np.uint8]:
        """Return the class that each memory is in."""
        return self.classes.of(rows) if self._any_low else np.full(len(rows), FULLY, np.uint8)

    def trust(self, rows: RowIds) -> NDArray[np.float32]:
        """Return the trust in memories: the least of their own, of their source's and of their origins'."""
        return self._trust[rows]

    def restrict(self, where: Filter | None, level: Level | None = None) -> Filter | None:
        """Return a filter that leaves out what is held, and compares trust as it is now.

        With a level it leaves out what is of other classes, too.
        """
        least = where.values.get("min_trust") if where else None
        if least is None and (level.is_all if level else not (self._reasons or self._expiries)):
            return where
        there = level.own if level else lambda part: self.classes.of(part.rows) != HELD
        return (where or Filter()).replaced(min_trust=Permitted(self, least or 0.0, there))

    def seen_from(self, where: Filter, number: int) -> Filter:
        """Return a filter that leaves out what is of a class below one."""
        there = lambda part: self.of(part.rows) <= number  # noqa: E731 - one of two
        return where.replaced(min_trust=Permitted(self, 0.0, there))

    def held(self) -> Mapping[int, str]:
        """Return the memories that are held, by row id, with the reason."""
        return self._reasons

    def shown(self, batch: pa.RecordBatch, rows: RowIds) -> pa.RecordBatch:
        """Return rows of memories with the trust that they have now."""
        if not self._any_low or not len(batch):
            return batch
        place = batch.schema.get_field_index("trust")
        return batch.set_column(place, batch.schema.field(place), pa.array(self.trust(rows)))

    def _look(self, parts: Sequence[Part], rows: RowIds) -> None:
        for part, at in _alive(parts, rows):
            of = part.rows[at]
            self._expiries.put(of, self._rows(of, ["expires_at"]).column(0))
        if not self._any_low:
            if not self._expiries and all(
                (self._of_source(part, at) >= 1).all() for part, at in _alive(parts, rows)
            ):
                return
            self._any_low = True
            rows = _rows_of(parts)  # their classes, and what they were made of, matter from now on
        for part, at in _alive(parts, rows):
            of = part.rows[at]
            self._own[of] = self._of_source(part, at)
            self._lineage.put(of.tolist(), self._rows(of, ["derived_from"]).column(0).to_pylist())
        made, trust = self._lineage.settle(self._own, self._find)
        followed = made[trust[made] != self._trust[made]]
        self._trust = trust
        for part, at in _alive(parts, np.union1d(rows, followed)):
            self._judge(part, at)

    def _of_source(self, part: Part, documents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the trust in documents of a part: the least of their own and that in their source."""
        own: NDArray[np.float32] = part.columns["trust"][documents]
        if not self.policy.active:
            return own
        hashes = part.columns["source"][documents]
        at, known = self._place(hashes)
        if not known.all():
            self._learn(part.rows[documents][~known], hashes[~known])
            at, known = self._place(hashes)
        return np.minimum(own, np.where(known, self._shares[at], np.float32(0)))

    def _place(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        at = np.minimum(np.searchsorted(self._known, hashes), len(self._known) - 1)
        return at, self._known[at] == hashes

    def _learn(self, rows: RowIds, hashes: NDArray[np.uint64]) -> None:
        """Read which sources hashes stand for."""
        distinct, first = np.unique(hashes, return_index=True)
        sources = self._rows(rows[first], ["source"]).column(0).to_pylist()
        for value, source in zip(distinct, sources, strict=True):
            if source is not None and digest64(source) == int(value):
                at = int(np.searchsorted(self._known, value))
                self._known = np.insert(self._known, at, value)
                self._shares = np.insert(self._shares, at, np.float32(self.policy.of(source)))

    def _judge(self, part: Part, documents: NDArray[np.int64]) -> None:
        """Put documents into their classes; look at the texts of those that are not trusted enough."""
        rows = part.rows[documents]
        trust = self.trust(rows)
        little = trust < np.float32(self.policy.quarantine_below)
        classes = np.where(trust >= 1, FULLY, np.where(little, LITTLE, ENOUGH)).astype(np.uint8)
        for row in rows.tolist() if self._reasons else ():
            self._reasons.pop(row, None)
        suspects = np.flatnonzero(little) if self.policy.active else np.empty(0, np.int64)
        for start in range(0, len(suspects), _BLOCK):
            some = suspects[start : start + _BLOCK]
            columns: dict[str, list[Any]] = self._rows(rows[some], ["memory_id", "title", "text"]).to_pydict()
            for place, name, title, text in zip(some.tolist(), *columns.values(), strict=True):
                reason = suspicion(f"{title}\n{text}" if title else text)
                if reason and self._released.get(name) != fingerprint(title, text):
                    self._reasons[int(rows[place])] = reason
                    classes[place] = HELD
        classes[self._expiries.among(rows)] = HELD
        self.classes.move(part, documents, classes)


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
