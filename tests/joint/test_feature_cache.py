"""Features that were kept are those that were computed, or are computed again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from aios_db.joint.cache import FeatureCache, digest_of

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "salvaging"))
from salvage_helpers import DAMAGES, damage

ITEMS = [f"item {number}" for number in range(40)]
MADE = dict(zip(ITEMS, np.random.default_rng(0).normal(size=(40, 24)).astype(np.float32), strict=True))


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_costs_time_alone(tmp_path: Path, how: str) -> None:
    cache = FeatureCache(tmp_path, "bands@1")
    cache.add([*map(digest_of, ITEMS[:20])], [MADE[each] for each in ITEMS[:20]])
    [damaged] = tmp_path.rglob("*.parquet")
    cache.add([*map(digest_of, ITEMS[20:])], [MADE[each] for each in ITEMS[20:]])
    damage(damaged, how)
    again = FeatureCache(tmp_path, "bands@1")
    found = [again.get(digest_of(each)) for each in ITEMS]
    for each, features in zip(ITEMS, found, strict=True):
        assert features is None or np.array_equal(features, MADE[each]), each
    assert all(each is not None for each in found[20:])
    again.add([digest_of(ITEMS[0])], [MADE[ITEMS[0]]])
    assert np.array_equal(FeatureCache(tmp_path, "bands@1").get(digest_of(ITEMS[0])), MADE[ITEMS[0]])


def test_where_the_disk_fails_features_are_known_until_the_end_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    cache = FeatureCache(tmp_path / "file", "bands@1")
    for start in (0, 20):
        cache.add([*map(digest_of, ITEMS[start : start + 20])], [MADE[each] for each in ITEMS[start:]][:20])
    assert all(np.array_equal(cache.get(digest_of(each)), MADE[each]) for each in ITEMS)
    assert caplog.text.count("cannot be kept") == 1
