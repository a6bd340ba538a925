"""Pairs made ready to be fitted, and the space that some strengths make of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.fusion.closed_form import Canonical, Kernel, Matrix, Side, canonical, unit
from aios_db.engine.fusion.joint_space import JointSpace, Projection, Scaling
from aios_db.engine.fusion.pairs import Pairs

MOST_DIRECTIONS = 100
_CROSS_RIDGE = 0.3
_KERNEL_RIDGE = 0.1
_LANDMARKS = 1_000


@dataclass(frozen=True)
class Strength:
    """How a block is fitted.

    Attributes
    ----------
    ridges
        Of the block's modality and of the pivot, in mean eigenvalues.
    nearest
        Whether of several texts of an item only the nearest belongs to the other side: it is what was said.
    part
        Of the modality's features, which part is used.
    """

    ridges: tuple[float, float] = (3.0, 3.0)
    nearest: bool = False
    part: int = 0


class Prepared:
    """Some pairs, centred and scaled, with the decompositions that all strengths share."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self._mean: dict[str, Matrix] = {}
        self._deviation: dict[str, Matrix] = {}
        self._sides: dict[tuple[str, int], Side] = {}
        for name in pairs.modalities:
            rows = np.asarray(pairs.rows[name].features, np.float64)
            self._mean[name], self._deviation[name] = rows.mean(0), rows.std(0)

    def scaling(self, name: str, part: int) -> Scaling:
        """Return how the features of a part of a modality's are centred and scaled."""
        mean, deviation, ends = self._mean[name], self._deviation[name], self.pairs.rows[name].parts
        if name == self.pairs.pivot:  # a vector, whose directions are as they should be
            return Scaling(mean, np.full(len(mean), float(deviation.mean()) + 1e-12))
        start, end = ((0, *ends)[part], ends[part]) if ends else (0, len(mean))
        used = deviation[start:end]
        return Scaling(mean[start:end], used + 1e-3 * float(used.mean()) + 1e-12, start)

    def side(self, name: str, part: int = 0) -> Side:
        """Return the centred and scaled features of a part of a modality's."""
        if (name, part) not in self._sides:
            self._sides[name, part] = Side(self.scaling(name, part)(self.pairs.rows[name].features))
        return self._sides[name, part]

    def block(self, name: str, strength: Strength) -> Canonical:
        """Return the canonical correlation of a modality with the pivot."""
        pairs, pivot = self.pairs, self.pairs.pivot
        mine, theirs = pairs.rows[name], pairs.rows[pivot]
        with_both = np.isin(mine.items, theirs.items)
        left = self.side(name, strength.part).of(with_both)
        items = mine.items[with_both]
        right = self.side(pivot)
        partners = _mean_of(right.rows, theirs.items, items)
        found = canonical(left, right, partners, strength.ridges, MOST_DIRECTIONS)
        if strength.nearest and len(theirs.items) > len(np.unique(theirs.items)):
            for _ in range(2):
                told = unit(right.rows @ found.right)
                partners = _nearest_of(right.rows, told, theirs.items, items, unit(left.rows @ found.left))
                found = canonical(left, right, partners, strength.ridges, MOST_DIRECTIONS)
        return found

    def partners(self, name: str, strength: Strength, block: Canonical) -> tuple[NDArray[np.bool_], Matrix]:
        """Return which rows of a modality have a pivot, and those: a mean, or the nearest by its block."""
        mine, theirs = self.pairs.rows[name], self.pairs.rows[self.pairs.pivot]
        with_both = np.isin(mine.items, theirs.items)
        items, right = mine.items[with_both], self.side(self.pairs.pivot).rows
        if not strength.nearest:
            return with_both, _mean_of(right, theirs.items, items)
        asked = unit(self.side(name, strength.part).rows[with_both] @ block.left)
        return with_both, _nearest_of(right, unit(right @ block.right), theirs.items, items, asked)

    def space(self, strengths: Mapping[str, Strength], encoders: Mapping[str, str]) -> JointSpace:
        """Return the space of these strengths, without what is known of questions."""
        pivot = self.pairs.pivot
        blocks = {name: self.block(name, strength) for name, strength in strengths.items()}
        parts: dict[str, list[Matrix]] = {name: [] for name in self.pairs.modalities}
        reliabilities: dict[str, list[float]] = {name: [] for name in self.pairs.modalities}
        ends, end = [], 0
        for name, block in blocks.items():
            end += block.right.shape[1]
            ends.append((name, end))
            for other, projections in parts.items():
                if other == pivot:
                    projections.append(block.right)
                    reliabilities[other].append(1.0)
                elif other == name:
                    projections.append(block.left)
                    reliabilities[other].append(float(block.correlations.mean()))
                else:
                    with_both, partners = self.partners(other, strengths[other], blocks[other])
                    side = self.side(other, strengths[other].part).of(with_both)
                    projections.append(side.regression(partners @ block.right, _CROSS_RIDGE))
                    reliabilities[other].append(0.5 * float(blocks[other].correlations.mean()))
        kernels = {name: self._kernel(name, blocks, strength) for name, strength in strengths.items()}
        used = {name: strengths[name].part if name in strengths else 0 for name in parts}
        return JointSpace(
            encoders={name: encoders[name] for name in parts},
            blocks=tuple(ends),
            projections={
                name: Projection(self.scaling(name, used[name]), np.hstack(found), kernels.get(name))
                for name, found in parts.items()
            },
            reliabilities={name: tuple(found) for name, found in reliabilities.items()},
        )

    def _kernel(self, name: str, blocks: Mapping[str, Canonical], strength: Strength) -> Kernel:
        """Return the regression of a modality on its pivot's coordinates in all blocks."""
        with_both, partners = self.partners(name, strength, blocks[name])
        targets = np.hstack([unit(partners @ block.right) for block in blocks.values()])
        return Kernel.fitted(
            self.side(name, strength.part).rows[with_both], targets, _KERNEL_RIDGE, _LANDMARKS
        )


def _mean_of(rows: Matrix, items: NDArray[np.int64], wanted: NDArray[np.int64]) -> Matrix:
    """Return (wanted, width): the mean of the rows of each item that is wanted."""
    names, place = np.unique(items, return_inverse=True)
    order = np.argsort(place, kind="stable")
    counts = np.bincount(place)
    sums = np.add.reduceat(rows[order], np.cumsum(counts) - counts)
    return (sums / counts[:, None])[np.searchsorted(names, wanted)]


def _nearest_of(
    rows: Matrix, told: Matrix, items: NDArray[np.int64], wanted: NDArray[np.int64], asked: Matrix
) -> Matrix:
    """Return (wanted, width): of each item the row whose coordinates are nearest to what asks."""
    order = np.argsort(items, kind="stable")
    starts = np.searchsorted(items[order], wanted)
    stops = np.searchsorted(items[order], wanted, side="right")
    chosen = np.empty(len(wanted), np.int64)
    for row, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        some = order[start:stop]
        chosen[row] = some[int((told[some] @ asked[row]).argmax())]
    return rows[chosen]
