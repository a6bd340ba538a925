"""Links that were written together, sorted by their ends: what a bulk write adds to the graph."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import RowIds


@dataclass(frozen=True)
class Links:
    """Links as columns: Lance row id, both ends' row ids, weight and code of the kind."""

    rows: RowIds
    sources: RowIds
    targets: RowIds
    weights: NDArray[np.float32]
    kinds: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, keep: NDArray[np.bool_]) -> Links:
        """Return some of the links."""
        return Links(*(column[keep] for column in vars(self).values()))


_NO_ROWS = np.empty(0, np.int64)
NO_LINKS = Links(_NO_ROWS, _NO_ROWS, _NO_ROWS, np.empty(0, np.float32), np.empty(0, np.uint8))


def joined(links: Sequence[Links]) -> Links:
    """Return the links of all, one after the other."""
    columns: list[Any] = [
        np.concatenate([getattr(each, field.name) for each in links]) for field in fields(Links)
    ]
    return Links(*columns)


INCOMING = np.uint8(128)  # with the code of the kind, where a link is listed under its target


def at_both_ends(kinds: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the kinds as listed under all sources, and then as listed under all targets."""
    return np.concatenate([kinds, kinds | INCOMING])


class LinkRun:
    """Each link twice, under both its ends.

    Parameters
    ----------
    links
        Links with distinct row ids.
    """

    def __init__(self, links: Links) -> None:
        ends = np.concatenate([links.sources, links.targets])
        order = np.argsort(ends, kind="stable")
        self._ends = ends[order]
        self._others = np.concatenate([links.targets, links.sources])[order]
        self._weights, self._kinds = np.tile(links.weights, 2)[order], at_both_ends(links.kinds)[order]
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        by_row = np.argsort(links.rows)
        self._rows = links.rows[by_row]
        self._entries = place.reshape(2, -1)[:, by_row]

    def __len__(self) -> int:
        return len(self._rows)

    def neighbors(self, rows: RowIds) -> tuple[RowIds, RowIds, NDArray[np.float32], NDArray[np.uint8]]:
        """Return links of some memories: position in ``rows``, other end, weight (0 when deleted), kind."""
        starts = np.searchsorted(self._ends, rows)
        lengths = np.searchsorted(self._ends, rows, side="right") - starts
        origin = np.repeat(np.arange(len(rows)), lengths)
        at = np.arange(len(origin)) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
        return origin, self._others[at], self._weights[at], self._kinds[at]

    def find(self, row: int) -> int:
        """Return the place of a link that is not deleted, by its row id, or -1."""
        at = int(np.searchsorted(self._rows, row))
        known = at < len(self._rows) and self._rows[at] == row
        return at if known and self._weights[self._entries[0, at]] > 0 else -1

    def copy(self) -> LinkRun:
        """Return a run of which links may be deleted, while this one stays as it is."""
        copied = copy(self)
        copied._weights = self._weights.copy()
        return copied

    def delete(self, place: int) -> None:
        """Delete the link at a place."""
        self._weights[self._entries[:, place]] = 0

    def links(self) -> Links:
        """Return all links that were not deleted, by row id."""
        everything = self._at(slice(None))
        return everything.where(everything.weights > 0)

    def _at(self, places: slice) -> Links:
        first, second = self._entries[:, places]
        return Links(
            self._rows[places], self._others[second], self._others[first], self._weights[first],
            self._kinds[first],
        )  # fmt: skip
