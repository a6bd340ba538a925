"""What a space finds of pairs that were held out from its fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.fusion.closed_form import Matrix, hubness
from aios_db.engine.fusion.joint_space import JointSpace
from aios_db.engine.fusion.measuring import ranks_of_classes
from aios_db.engine.fusion.pairs import Pairs, Rows

BANK = 1_024


@dataclass(frozen=True)
class HeldOut:
    """What a fold's space makes of the pairs that were held out, and of those it was fitted on.

    Attributes
    ----------
    space
        Of the fold.
    coordinates, rows
        Of what was held out, by modality.
    banks, known
        Coordinates and features of some of the pairs that the space was fitted on, by modality.
    classes
        Of all items.
    """

    space: JointSpace
    coordinates: Mapping[str, Matrix]
    banks: Mapping[str, Matrix]
    known: Mapping[str, NDArray[np.float32]]
    rows: Mapping[str, Rows]
    classes: NDArray[np.int64]

    @classmethod
    def of(cls, space: JointSpace, held: Pairs, fitted: Pairs) -> HeldOut:
        """Return what a space that was fitted on some pairs makes of others."""
        found = {
            name: space.coordinates(name, held.rows[name].features)
            for name in held.modalities
            if name in space.projections
        }
        known = _some_of(fitted, 0)
        banks = {name: space.coordinates(name, features) for name, features in known.items()}
        return cls(space, found, banks, known, held.rows, held.classes)

    def similar(self, asks: str, finds: str, blocks: Sequence[float]) -> Matrix:
        """Return (queries, candidates): scores less hubness."""
        weights = np.zeros(self.space.dimension)
        for span, weight in zip(self.space.spans, blocks, strict=True):
            weights[span] = weight
        points = self.coordinates[finds]
        return self.coordinates[asks] * weights @ points.T - hubness(self.banks[asks] * weights, points) / 2

    def said_ranks(self, asks: str, finds: str, blocks: Sequence[float]) -> NDArray[np.int64]:
        """Return the ranks of the items' queries, of several texts of an item the one that scores highest.

        Of what was said in one of several texts, the others are no question.
        """
        similar, asked = self.similar(asks, finds, blocks), self.rows[asks].items
        items = np.unique(asked)
        if len(items) < len(asked):
            own = self.classes[asked][:, None] == self.classes[self.rows[finds].items][None]
            score = np.where(own, similar, -np.inf).max(1)
            order = np.lexsort((score, asked))
            last = np.searchsorted(asked[order], items, side="right") - 1
            similar, asked = similar[order[last]], items
        return self.ranks(similar, asked, finds)

    def ranks(self, similar: Matrix, asks: NDArray[np.int64], finds: str) -> NDArray[np.int64]:
        """Return the rank of the first candidate with each query's class."""
        return ranks_of_classes(similar, self.classes[asks], self.classes[self.rows[finds].items])


def banks_of(space: JointSpace, pairs: Pairs, seed: int) -> dict[str, Matrix]:
    """Return coordinates of some of the pairs, by modality."""
    some = _some_of(pairs, seed)
    return {name: space.coordinates(name, some[name]) for name in space.projections}


def _some_of(pairs: Pairs, seed: int) -> dict[str, NDArray[np.float32]]:
    """Return features of some of the pairs, by modality."""
    random = np.random.default_rng(seed)
    found = {}
    for name in pairs.modalities:
        features = pairs.rows[name].features
        found[name] = features[np.sort(random.permutation(len(features))[:BANK])]
    return found
