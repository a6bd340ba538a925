"""One version of the versions that several agents made of one: averaged, with outliers held back.

Averaging the factors A and B apart is not averaging their products: the mean of B·A is of a higher rank. So
the products are averaged, and factored again into the rank of the card, beginning at the mean of the factors
(alternating least squares), so that the new factors are near the old ones and their change is cheap to send.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aios_db.federation.card import Factors, LoraCard
from aios_db.federation.delta import moved, vector
from aios_db.federation.robust import Judgement, judge
from aios_db.schema.errors import DataError, ProgrammingError

log = logging.getLogger("aios_db.federation")

_ROUNDS = 3  # of alternating least squares
_TETHER = 1e-3  # to the mean of the factors, in shares of a factor's own size


@dataclass(frozen=True)
class Contribution:
    """What an agent made of a version."""

    agent: str
    base: LoraCard
    card: LoraCard
    samples: int

    @property
    def change(self) -> NDArray[np.float32]:
        """What it changed, in the order of `aios_db.federation.delta.vector`."""
        difference: NDArray[np.float32] = vector(self.card) - vector(self.base)
        return difference


@dataclass(frozen=True)
class Aggregate:
    """The version that comes of it.

    Attributes
    ----------
    judgement
        The rule, and what each agent's change was multiplied by; 0 is left out.
    factors_error, products_error
        How far the mean of the factors, and the version, are from the mean of the products, as shares of how
        far that is from the head.
    """

    card: LoraCard
    judgement: Judgement
    factors_error: float
    products_error: float


def aggregate(head: LoraCard, contributions: Sequence[Contribution], rule: str = "auto") -> Aggregate:
    """Return the version that the contributions make of ``head``.

    Those of older versions count as the same change of the head.

    Parameters
    ----------
    rule
        See `aios_db.federation.robust.RULES`.

    Raises
    ------
    ProgrammingError
        There are no contributions, or no such rule.
    DataError
        A contribution is of another card.
    """
    if not contributions:
        raise ProgrammingError("there is nothing to aggregate")
    for each in contributions:
        if (reason := head.mismatch(each.card)) is not None:
            raise DataError(f"what {each.agent} sent is no version of {head.version}: {reason}")
    changes = np.stack([each.change for each in contributions])
    judgement = judge(changes, [each.samples for each in contributions], rule)
    if judgement.change is not None:  # coordinate by coordinate, which products have none of
        return Aggregate(moved(head, judgement.change), judgement, 0.0, 0.0)
    shares, scales = judgement.shares, judgement.scales
    mean = (shares * scales) @ changes
    card = moved(head, mean.astype(np.float32))
    counted = [
        (float(share), moved(head, (scale * change).astype(np.float32)))
        for share, scale, change in zip(shares, scales, changes, strict=True)
        if share > 0 and scale > 0
    ]
    modules, errors = {}, np.zeros(3)
    for module, factors in card.modules.items():
        wanted = np.asarray(sum(share * _product(version.modules[module]) for share, version in counted))
        modules[module] = refactored(wanted, factors)
        before, naive, after = (
            float(np.square(wanted - _product(each)).sum())
            for each in (head.modules[module], factors, modules[module])
        )
        errors += (before, naive, after)
    total = errors[0] or 1.0
    made = replace(card, modules=modules)
    return Aggregate(made, judgement, float((errors[1] / total) ** 0.5), float((errors[2] / total) ** 0.5))


def refactored(wanted: NDArray[np.float64], near: Factors) -> Factors:
    """Return factors near ``near``, and of its rank, whose product is near ``wanted``."""
    mean_a, mean_b = near.a.astype(np.float64), near.b.astype(np.float64)
    a, b = mean_a, mean_b
    for _ in range(_ROUNDS):
        b = _solved(a @ a.T, wanted @ a.T, mean_b)
        a = _solved(b.T @ b, (b.T @ wanted).T, mean_a.T).T
    return Factors(a.astype(near.a.dtype), b.astype(near.b.dtype))


def _solved(
    gram: NDArray[np.float64], right: NDArray[np.float64], near: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return x for which x·gram is near ``right``, tethered to ``near``: also where the gram is singular."""
    tether = _TETHER * max(float(np.trace(gram)) / len(gram), 1e-12)
    held = gram + tether * np.eye(len(gram))
    return np.linalg.solve(held, (right + tether * near).T).T.astype(np.float64)


def _product(factors: Factors) -> NDArray[np.float64]:
    product: NDArray[np.float64] = factors.b.astype(np.float64) @ factors.a.astype(np.float64)
    return product
