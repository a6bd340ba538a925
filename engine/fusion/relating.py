"""Whether a modality and the pivot belong together: what held-out pairs find of each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.fusion.closed_form import Matrix
from aios_db.engine.fusion.held_out import HeldOut
from aios_db.engine.fusion.joint_space import Pair, Ranking
from aios_db.engine.fusion.measuring import wilson

_Z = 2.575829  # of a 99 % interval: one modality in 200 passes that has nothing to do with the pivot
_MANY = 20  # candidates, from which on ten answers are looked at


@dataclass(frozen=True)
class Relation:
    """How well a modality and the pivot find each other, both ways, on pairs that were held out.

    Attributes
    ----------
    modality, pivot
        The two.
    k, items
        Answers that are looked at, and items that asked.
    value, low, high
        Share that found theirs, and its 99 % interval (Wilson, 1927).
    chance
        The same were each item to ask for any other's: what hubs and frequent texts are found by.
    """

    modality: str
    pivot: str
    k: int
    items: int
    value: float
    low: float
    high: float
    chance: float

    @property
    def is_by_chance(self) -> bool:
        """Whether the two may have nothing to do with each other."""
        return self.low <= self.chance

    def __str__(self) -> str:
        return (
            f"{self.modality} and {self.pivot} find each other: recall@{self.k} {self.value:.3f} "
            f"[{self.low:.3f}, {self.high:.3f}] of {self.items}, by chance {self.chance:.3f}"
        )


def relations(
    held: Sequence[HeldOut], rankings: Mapping[Pair, Ranking], pivot: str, modalities: Sequence[str]
) -> tuple[Relation, ...]:
    """Return how well each of some modalities and the pivot find each other, where any were held out."""
    found = (_relation(held, rankings, pivot, each) for each in modalities)
    return tuple(each for each in found if each is not None)


def _relation(
    held: Sequence[HeldOut], rankings: Mapping[Pair, Ranking], pivot: str, modality: str
) -> Relation | None:
    candidates = [len(np.unique(each.classes[each.rows[pivot].items])) for each in held]
    k = 10 if np.mean(candidates or [0]) >= _MANY else 1
    shares, chances, items = [], [], 0
    for each in held:
        for asks, finds in ((modality, pivot), (pivot, modality)):
            similar = each.similar(asks, finds, rankings[asks, finds].blocks)
            asked, named = each.rows[asks].items, each.classes[each.rows[finds].items]
            found, chance = _found(similar, each.classes[asked], named, k)
            by_item = [
                (found[asked == item].mean(), chance[asked == item].mean())
                for item in np.unique(asked[np.isfinite(found)])
            ]
            shares += [share for share, _ in by_item]
            chances += [by_chance for _, by_chance in by_item]
            items += len(by_item)
    if not items:
        return None
    items //= 2  # each asks both ways, and counts once
    value = float(np.mean(shares))
    low, high = wilson(value, max(1, items), _Z)
    return Relation(modality, pivot, k, items, value, low, high, float(np.mean(chances)))


def _found(
    similar: Matrix, asked: NDArray[np.int64], named: NDArray[np.int64], k: int
) -> tuple[Matrix, Matrix]:
    """Return whether each query finds its class among the first k, and how likely it finds any other query's.

    Both are NaN for a query of whose class there is no candidate.
    """
    classes, place = np.unique(named, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(classes)))
    best = np.maximum.reduceat(similar[:, order], starts, axis=1)
    hits = np.argsort(np.argsort(-best, axis=1, kind="stable"), axis=1) < k
    at = np.searchsorted(classes, asked).clip(max=len(classes) - 1)
    known = classes[at] == asked
    often = np.bincount(at[known], minlength=len(classes)) / max(1, int(known.sum()))
    found = np.where(known, hits[np.arange(len(asked)), at], np.nan)
    return found, np.where(known, hits @ often, np.nan)
