"""How much of each agent's change counts: weights by samples, and rules against outliers.

Sparse changes of agents with different data hardly overlap: of most numbers only one agent sends something,
and the median of each number is zero. So which rule fits depends on how alike the changes are.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.errors import ProgrammingError

log = logging.getLogger("aios_db.federation")

RULES = ("auto", "mean", "clip", "median", "trimmed")
_ALIKE = 0.5  # the median cosine between two changes from which numbers can be compared one by one
_FEWEST = 4  # agents among whom one can be told from the rest
_MEDIAN_OF_NORMAL = 1.2533  # its standard deviation, in those of the mean
_MOST_SAMPLES = 4.0  # times the median that an agent is believed

Changes = NDArray[np.float32]


@dataclass(frozen=True)
class Judgement:
    """What a rule makes of several changes.

    Attributes
    ----------
    rule
        The one that was used; ``auto`` chooses one.
    shares
        float64 (agents,), of the average; they add up to 1.
    scales
        float64 (agents,), by which each change is made smaller; 0 where it is left out.
    spread
        1 less the median cosine between two changes.
    change
        float32 (numbers,), of rules that go number by number; otherwise None.
    """

    rule: str
    shares: NDArray[np.float64]
    scales: NDArray[np.float64]
    spread: float
    change: Changes | None = None


def judge(changes: Changes, samples: Sequence[int], rule: str = "auto") -> Judgement:
    """Judge the changes of several agents.

    Parameters
    ----------
    changes
        float32 (agents, numbers).
    samples
        That each was trained on.
    rule
        ``mean``: FedAvg (McMahan et al. 2017), whatever is sent. ``clip``: none is larger than the median one
        (Sun et al. 2019). ``median`` and ``trimmed``: of each number the median, or the mean without the
        quarter at either end (Yin et al. 2018). ``auto``: ``trimmed`` where the changes are alike; otherwise
        ``clip``, and a change that goes against the others is left out.

    Raises
    ------
    ProgrammingError
        There is no such rule.
    """
    if rule not in RULES:
        raise ProgrammingError(f"rule {rule!r} is not one of {', '.join(RULES)}")
    norms = np.linalg.norm(changes.astype(np.float64), axis=1)
    directions = changes / np.maximum(norms, 1e-30)[:, None]
    cosines = (directions @ directions.T).astype(np.float64)
    others = cosines[~np.eye(len(changes), dtype=bool)]
    spread = 1.0 - float(np.median(others)) if len(others) else 0.0
    used = rule
    if rule == "auto":
        alike = len(changes) >= _FEWEST and spread <= 1 - _ALIKE
        used = "trimmed" if alike else "clip" if len(changes) > 1 else "mean"
    scales = np.ones(len(changes))
    believed = np.maximum(np.asarray(samples, np.float64), 1.0)
    if used != "mean":
        scales = np.minimum(1.0, np.median(norms) / np.maximum(norms, 1e-30))
        believed = np.minimum(believed, _MOST_SAMPLES * np.median(believed))
    if rule == "auto" and used == "clip" and len(changes) >= _FEWEST:
        squares = np.square(directions)
        against = _against(cosines, np.sqrt((squares @ squares.T).astype(np.float64)))
        if against.any():
            log.warning("left out, as against the others: %d of %d changes", against.sum(), len(changes))
            scales, believed = np.where(against, 0.0, scales), np.where(against, 0.0, believed)
    shares = believed / believed.sum()
    if used not in ("median", "trimmed"):
        return Judgement(used, shares, scales, spread)
    ordered = np.sort(changes, axis=0)
    quarter = max(1, len(changes) // 4) if len(changes) > 2 else 0
    cut = (len(changes) - 1) // 2 if used == "median" else quarter
    middle = ordered[cut : len(changes) - cut].mean(axis=0, dtype=np.float64).astype(np.float32)
    return Judgement(used, shares, scales, spread, middle)


def _against(cosines: NDArray[np.float64], chance: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which changes go against the rest, among a majority that goes together.

    Parameters
    ----------
    chance
        The standard deviation of each cosine if the signs of the numbers were drawn by lot, (agents, agents).
        Changes of few steps are nearly orthogonal, and an honest one is soon a little below zero.
    """
    count = len(cosines)
    # The median, since the mean of an honest one counts the outlier as well.
    with_rest, by_chance = (
        np.array([np.median(np.delete(row, place)) for place, row in enumerate(each)])
        for each in (cosines, chance)
    )
    by_chance *= _MEDIAN_OF_NORMAL / (count - 1) ** 0.5
    middle, spread = float(np.median(with_rest)), np.maximum(_deviation(with_rest), by_chance)
    against: NDArray[np.bool_] = (with_rest < 0) & (with_rest < middle - 3 * spread)
    return against if middle > 0 and against.sum() * 2 < count else np.zeros(count, np.bool_)


def _deviation(values: NDArray[np.float64]) -> float:
    """Return the standard deviation that the median distance to the median of a normal one tells."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
