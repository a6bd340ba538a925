"""How the memories of a view stand: their trust, their class of it, and which are held."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.retrieval import Filter, RowIds
from aios_db.search.levels import FULLY, HELD, Level
from aios_db.search.rowtable import RowTable

if TYPE_CHECKING:
    from aios_db.search.part import Part

Documents = NDArray[np.int64] | slice


@dataclass(frozen=True)
class Permitted:
    """What stands in a filter for ``min_trust``: enough trust, and one of the memories that there are.

    Attributes
    ----------
    stand
        It knows the trust.
    least
        So much is enough.
    there
        Returns which documents of a part there are; None for all.
    """

    stand: Stand
    least: float
    there: Callable[[Part], NDArray[np.bool_] | None]

    def mask(self, part: Part, documents: Documents) -> NDArray[np.bool_]:
        """Tell which documents of a part may be found."""
        there = self.there(part)
        mask = np.ones(len(part), np.bool_)[documents] if there is None else there[documents]
        if self.least > 0:
            mask = mask & (self.stand.trust(part.rows[documents]) >= np.float32(self.least))
        return mask


@dataclass(frozen=True, eq=False)
class Stand:
    """What `Standing` found of the memories of one view, and does not change.

    Attributes
    ----------
    levels
        The classes of trust that there are, the most trusted first.
    there
        The classes below the first that any memory is in.
    reasons
        Why a memory is quarantined, by row id.
    any_expired
        Whether there is a memory that has expired.
    classes, trusts
        Of each memory by row id; None where all are trusted fully.
    """

    levels: Sequence[Level]
    there: Sequence[int]
    reasons: Mapping[int, str]
    any_expired: bool
    classes: RowTable | None
    trusts: RowTable | None

    def of(self, rows: RowIds) -> NDArray[np.uint8]:
        """Return the class that each memory is in."""
        return np.full(len(rows), FULLY, np.uint8) if self.classes is None else self.classes[rows]

    def has_below(self, number: int) -> bool:
        """Tell whether any memory is in a class below one."""
        return any(each > number for each in self.there)

    def trust(self, rows: RowIds) -> NDArray[np.float32]:
        """Return the trust in memories: the least of their own, of their source's and of their origins'."""
        return np.ones(len(rows), np.float32) if self.trusts is None else self.trusts[rows]

    def restrict(self, where: Filter | None, level: Level | None = None) -> Filter | None:
        """Return a filter that leaves out what is held, and compares trust as it is now.

        With a level it leaves out what is of other classes, too.
        """
        least = where.values.get("min_trust") if where else None
        if least is None and (level.is_all if level else not (self.reasons or self.any_expired)):
            return where
        there = level.own if level else lambda part: self.of(part.rows) != HELD
        return (where or Filter()).replaced(min_trust=Permitted(self, least or 0.0, there))

    def seen_from(self, where: Filter, number: int) -> Filter:
        """Return a filter that leaves out what is of a class below one."""
        there = lambda part: self.of(part.rows) <= number  # noqa: E731 - one of two
        return where.replaced(min_trust=Permitted(self, 0.0, there))

    def shown(self, batch: pa.RecordBatch, rows: RowIds) -> pa.RecordBatch:
        """Return rows of memories with the trust that they have now."""
        if self.trusts is None or not len(batch):
            return batch
        place = batch.schema.get_field_index("trust")
        return batch.set_column(place, batch.schema.field(place), pa.array(self.trust(rows)))
