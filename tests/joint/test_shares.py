"""Two modalities that ask together are the better one alone, unless the other surely adds something."""

from __future__ import annotations

import numpy as np

from aios_db.engine.fusion.fitting import surely_best
from aios_db.engine.fusion.measuring import quality

ALONE = np.repeat([0, 9], 100)


def test_a_gain_by_few_queries_is_none() -> None:
    lucky = ALONE.copy()
    lucky[100:106] = 0
    assert quality(lucky) > 1.04 * quality(ALONE)
    assert surely_best({1.0: ALONE, 0.0: ALONE + 1, 0.5: lucky}) == 1.0
    assert surely_best({1.0: ALONE + 1, 0.0: ALONE, 0.5: lucky}) == 0.0


def test_a_small_gain_by_many_queries_is_one() -> None:
    better = np.repeat([0, 6], 100)
    assert surely_best({1.0: ALONE, 0.0: ALONE + 1, 0.5: better, 0.2: ALONE + 2}) == 0.5


def test_a_sure_gain_of_next_to_nothing_is_none() -> None:
    mostly_first = np.repeat([0, 9], [1900, 100])
    hardly_better = np.repeat([0, 4], [1900, 100])
    assert quality(hardly_better) > quality(mostly_first)
    assert surely_best({1.0: mostly_first, 0.0: mostly_first + 1, 0.5: hardly_better}) == 1.0


def test_without_queries_the_first_asks_alone() -> None:
    none = np.empty(0, np.int64)
    assert surely_best({1.0: none, 0.0: none, 0.5: none}) == 1.0
