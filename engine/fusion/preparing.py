"""Pairs made ready to be fitted, and the space that some strengths make of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.fusion.closed_form import Canonical, Kernel, Landmarks, Matrix, Side, canonical, unit
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
        self._landmarks: dict[tuple[str, int], Landmarks] = {}
        self._paired: dict[tuple[str, int], Side] = {}
        self._blocks: dict[tuple[str, Strength], Canonical] = {}
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

    def paired(self, name: str, part: int) -> Side:
        """Return those rows of a side that have a pivot."""
        if (name, part) not in self._paired:
            mine, theirs = self.pairs.rows[name], self.pairs.rows[self.pairs.pivot]
            self._paired[name, part] = self.side(name, part).of(np.isin(mine.items, theirs.items))
        return self._paired[name, part]

    def block(self, name: str, strength: Strength) -> Canonical:
        """Return the canonical correlation of a modality with the pivot."""
        mine, theirs = self.pairs.rows[name], self.pairs.rows[self.pairs.pivot]
        items = mine.items[np.isin(mine.items, theirs.items)]
        left, right = self.paired(name, strength.part), self.side(self.pairs.pivot)
        key = name, replace(strength, nearest=False)
        if key not in self._blocks:
            partners = _mean_of(right.rows, theirs.items, items)
            self._blocks[key] = canonical(left, right, partners, strength.ridges, MOST_DIRECTIONS)
        found = self._blocks[key]
        if strength.nearest and len(theirs.items) > len(np.unique(theirs.items)):
            for _ in range(2):
                told = unit(right.rows @ found.right)
                partners = _nearest_of(right.rows, told, theirs.items, items, unit(left.rows @ found.left))
                found = canonical(left, right, partners, strength.ridges, MOST_DIRECTIONS)
        return found

    def partners(self, name: str, strength: Strength, block: Canonical) -> Matrix:
        """Return the pivots of a modality's rows that have one: a mean, or the nearest by its block."""
        mine, theirs = self.pairs.rows[name], self.pairs.rows[self.pairs.pivot]
        items, right = mine.items[np.isin(mine.items, theirs.items)], self.side(self.pairs.pivot).rows
        if not strength.nearest:
            return _mean_of(right, theirs.items, items)
        asked = unit(self.paired(name, strength.part).rows @ block.left)
        return _nearest_of(right, unit(right @ block.right), theirs.items, items, asked)

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
                    side = self.paired(other, strengths[other].part)
                    partners = self.partners(other, strengths[other], blocks[other])
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
        partners = self.partners(name, strength, blocks[name])
        targets = np.hstack([unit(partners @ block.right) for block in blocks.values()])
        if (name, strength.part) not in self._landmarks:
            self._landmarks[name, strength.part] = Landmarks(
                self.paired(name, strength.part).rows, _LANDMARKS
            )
        return self._landmarks[name, strength.part].kernel(targets, _KERNEL_RIDGE)


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
