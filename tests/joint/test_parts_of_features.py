"""Of features of several parts a fit uses the one by which held-out pairs find each other best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aios_db.engine.fusion.files import load_space, save_space
from aios_db.engine.fusion.fitting import fit
from aios_db.engine.fusion.pairs import Pairs, Rows

ITEMS = np.arange(80)
RANDOM = np.random.default_rng(3)
SAID = RANDOM.normal(size=(80, 12)).astype(np.float32)
HEARD = SAID @ RANDOM.normal(size=(12, 20)).astype(np.float32)
NOISE = RANDOM.normal(size=(80, 30)).astype(np.float32)


def pairs(features: NDArray[np.float32], parts: tuple[int, ...]) -> Pairs:
    return Pairs({"text": Rows(SAID, ITEMS), "audio": Rows(features, ITEMS, parts)}, ITEMS, ITEMS)


@pytest.mark.parametrize("part", [0, 1])
def test_the_part_that_says_more_is_used_and_the_other_changes_nothing(part: int) -> None:
    features = np.hstack([HEARD, NOISE] if part == 0 else [NOISE, HEARD])
    fitted = fit(pairs(features, (20, 50) if part == 0 else (30, 50)), {"text": "t", "audio": "a"})
    assert fitted.strengths["audio"].part == part
    assert len(fitted.space.projections["audio"].weights) == 20
    other = features.copy()
    other[:, slice(20, 50) if part == 0 else slice(0, 30)] = np.nan
    np.testing.assert_array_equal(
        fitted.space.coordinates("audio", other), fitted.space.coordinates("audio", features)
    )
    alone = fit(pairs(HEARD, ()), {"text": "t", "audio": "a"})
    np.testing.assert_allclose(
        np.abs(fitted.space.coordinates("audio", features) @ fitted.space.coordinates("text", SAID).T),
        np.abs(alone.space.coordinates("audio", HEARD) @ alone.space.coordinates("text", SAID).T),
        atol=1e-9,
    )


def test_a_file_of_a_space_says_which_part_is_used(tmp_path: Path) -> None:
    features = np.hstack([NOISE, HEARD])
    space = fit(pairs(features, (30, 50)), {"text": "t", "audio": "a"}).space
    save_space(space, tmp_path / "joint", "joint", {})
    read, _ = load_space(tmp_path / "joint")
    np.testing.assert_allclose(
        read.coordinates("audio", features), space.coordinates("audio", features), atol=1e-5
    )
