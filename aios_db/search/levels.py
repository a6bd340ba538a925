"""What memories of one trust are answered with: those that are trusted as much or more, and no others.

A memory is in one of three classes of trust, or held in quarantine. Each class is searched by itself, with
statistics of its own and of those above it, and over links among these: what is found of a class, and how
it scores, follows from what is trusted at least as much (noninterference: Goguen and Meseguer, 1982). So
however many memories a source writes, none of those that are trusted more than it are found less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import RowIds
from aios_db.search.rowtable import RowTable
from aios_db.search.totals import Totals

if TYPE_CHECKING:
    from aios_db.search.part import Part

FULLY, ENOUGH, LITTLE, HELD = range(4)
"""The classes: trusted fully, enough not to be held, less, and held."""
_NONE = 255  # of memories that are not there


class Level:
    """One class of trust, with those above it.

    Attributes
    ----------
    number
        The class.
    totals
        What scores are relative to: the memories of the class and of those above it.
    """

    def __init__(self, number: int, totals: Totals, classes: RowTable, *, lowest: bool, only: bool) -> None:
        self.number, self.totals = number, totals
        self._classes, self._lowest, self._only = classes, lowest, only
        self._masks: dict[tuple[Part, bool], NDArray[np.bool_]] = {}

    def counted(self, part: Part) -> NDArray[np.bool_] | None:
        """Return which documents of a part are of the class or one above: bool, None for all."""
        return None if self._lowest else self._mask(part, own=False)

    def own(self, part: Part) -> NDArray[np.bool_] | None:
        """Return which documents of a part are of the class: bool, None for all."""
        return None if self._only else self._mask(part, own=True)

    def has(self, rows: RowIds) -> NDArray[np.bool_]:
        """Tell which memories are of the class."""
        found: NDArray[np.bool_] = self._classes[rows] == self.number
        return found

    def counts(self, rows: RowIds) -> NDArray[np.bool_]:
        """Tell which memories are of the class or one above."""
        found: NDArray[np.bool_] = self._classes[rows] <= self.number
        return found

    @property
    def is_all(self) -> bool:
        """Whether there is no memory of another class."""
        return self._only

    def _mask(self, part: Part, *, own: bool) -> NDArray[np.bool_]:
        mask = self._masks.get((part, own))
        if mask is None:
            classes = self._classes[part.rows]
            mask = (classes == self.number if own else classes <= self.number) & part.alive
            self._masks[part, own] = mask
        return mask


def members(levels: Sequence[Level], rows: RowIds, level: Level) -> NDArray[np.bool_]:
    """Tell which memories are of one of the ``levels``; those of none, which are held, are of the last."""
    if len(levels) == 1:
        return np.ones(len(rows), np.bool_)
    return ~levels[-2].counts(rows) if level is levels[-1] else level.has(rows)


class Classes:
    """Which class each living memory is in, and the totals of the classes below others.

    Parameters
    ----------
    dimension
        Length of the vectors.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._of = RowTable(np.uint8, _NONE)
        self._counts = dict.fromkeys((ENOUGH, LITTLE, HELD), 0)
        self._totals: dict[int, Totals] = {}  # of those that were asked for

    def move(self, part: Part, documents: NDArray[np.int64], classes: NDArray[np.uint8] | int) -> None:
        """Put living documents of a part into classes."""
        rows = part.rows[documents]
        before = self._of[rows]
        for number in self._counts:
            joined = (classes == number) & (before != number)
            left = (before == number) & (classes != number)
            self._counts[number] += int(joined.sum()) - int(left.sum())
            if number in self._totals:
                self._totals[number].add(part, documents[joined])
                self._totals[number].add(part, documents[left], -1)
        self._of[rows] = classes

    def kill(self, part: Part, documents: NDArray[np.int64]) -> None:
        """Take documents of a part out that are no longer there."""
        self.move(part, documents, _NONE)

    def table(self) -> RowTable:
        """Return the class of each memory, uint8, as it is now; a number above all where it is not there."""
        return self._of.copy()

    @property
    def there(self) -> list[int]:
        """The classes below the first that any memory is in, those of what is held among them."""
        return [number for number, count in self._counts.items() if count]

    def levels(self, parts: Sequence[Part], everything: Totals) -> Sequence[Level]:
        """Return the classes that any memory is in, the most trusted first; one at least.

        What is held is in none. ``everything`` is the totals of all memories.
        """
        below, table = self.there, self.table()
        fully = everything.documents - sum(self._counts.values())
        found = [number for number in below if number != HELD]
        if fully or not found:
            found.insert(0, FULLY)
        return tuple(
            Level(
                number,
                everything.without([self._total(parts, each) for each in below if each > number]),
                table,
                lowest=not below or number >= max(below),
                only=len(found) == 1 and HELD not in below,
            )
            for number in found
        )

    def _total(self, parts: Sequence[Part], number: int) -> Totals:
        """Return the totals of a class: counted once, then kept up."""
        if number not in self._totals:
            totals = self._totals[number] = Totals.empty(self._dimension)
            for part in parts:
                totals.add(part, np.flatnonzero((self._of[part.rows] == number) & part.alive))
        return self._totals[number]
