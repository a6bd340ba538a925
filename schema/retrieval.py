"""What goes into a search and what comes out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Filter:
    """Which memories count, as equalities and a half-open time range; None does not restrict.

    Attributes
    ----------
    session_id, agent_id, user_id, tier
        The value that the column must have.
    since, until
        Microseconds since 1970 (UTC): ``since <= time < until``, where time is occurred_at, or created_at
        where that is missing.
    """

    session_id: str | None = None
    agent_id: str | None = None
    user_id: str | None = None
    tier: str | None = None
    since: int | None = None
    until: int | None = None

    def __bool__(self) -> bool:
        return any(value is not None for value in vars(self).values())


@dataclass(frozen=True)
class Hits:
    """The best memories of one search.

    Attributes
    ----------
    row_ids
        int64 ``(n,)``, best first, ties by row id.
    scores
        float32 ``(n,)``.
    mean, std
        Of the score over the whole collection, so that scores of different searches can be standardised.
    """

    row_ids: Rows
    scores: NDArray[np.float32]
    mean: float = 0.0
    std: float = 1.0
