"""Features of paired texts, pictures and sounds, as fitting takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.modalities import MODALITIES


@dataclass(frozen=True)
class Rows:
    """Things of one modality.

    Attributes
    ----------
    features
        float32 (n, width).
    items
        int64 (n,): the item that each belongs to; several texts may belong to one.
    parts
        Where each part of the features ends, of which fitting uses one; none for features of one part.
    """

    features: NDArray[np.float32]
    items: NDArray[np.int64]
    parts: tuple[int, ...] = ()

    def of(self, chosen: NDArray[np.bool_]) -> Rows:
        """Return those of some items; bool (items,)."""
        keep = chosen[self.items]
        return Rows(self.features[keep], self.items[keep], self.parts)


@dataclass(frozen=True)
class Pairs:
    """Items of which at least two modalities are there.

    Attributes
    ----------
    rows
        By modality.
    classes
        int64 (items,): items with the same number have the same text, and answer for each other.
    groups
        int64 (items,): what is tried out is tried on other groups than it was fitted on; a group may be one
        item, or all recordings of a speaker.
    """

    rows: Mapping[str, Rows]
    classes: NDArray[np.int64]
    groups: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those of which there is any row."""
        return tuple(each for each in MODALITIES if each in self.rows and len(self.rows[each].items))

    @property
    def pivot(self) -> str:
        """What the others are related to: text, where there is any."""
        return self.modalities[0]

    def of(self, chosen: NDArray[np.bool_]) -> Pairs:
        """Return the pairs of some items, which keep their numbers."""
        return Pairs({name: rows.of(chosen) for name, rows in self.rows.items()}, self.classes, self.groups)

    def folds(self, count: int, seed: int) -> list[NDArray[np.bool_]]:
        """Return bool (items,) for each of some folds: what is held out in it; whole groups are."""
        names = np.unique(self.groups)
        order = np.random.default_rng(seed).permutation(names)
        parts = np.array_split(order, min(count, len(order)))
        return [np.isin(self.groups, part) for part in parts]
