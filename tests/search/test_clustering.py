"""Lists hold every row once, and searching them finds what exact search finds."""

from __future__ import annotations

import numpy as np
import pytest

from aios_db.search.clustering import group
from aios_db.search.vectors import Clusters


@pytest.fixture(scope="module")
def vectors():
    random = np.random.default_rng(3)
    centers = random.standard_normal((50, 16)).astype(np.float32)
    rows = centers[random.integers(50, size=6000)] + 0.4 * random.standard_normal((6000, 16), np.float32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_few_vectors_stay_as_they_are(vectors):
    assert group([vectors], None) is None


def test_lists_are_a_partition_and_reach_the_recall(vectors):
    order, clusters = group([vectors[:4000], vectors[4000:]], None, fewest_rows=1000).order()
    assert sorted(order.tolist()) == list(range(6000))
    assert clusters.offsets[0] == 0
    assert clusters.offsets[-1] == 6000
    assert 0 < clusters.reach < 1
    arranged = vectors[order]
    random = np.random.default_rng(4)
    found = searched = 0
    for row in random.choice(6000, 100, replace=False):
        query = vectors[row] + 0.1 * random.standard_normal(16).astype(np.float32)
        exact = set(np.argsort(-(arranged @ query))[:10].tolist())
        spans = clusters.nearest_rows(query, 10)
        rows = np.concatenate([np.arange(start, stop) for start, stop in spans.tolist()])
        best = rows[np.argsort(-(arranged[rows] @ query))[:10]]
        found += len(exact & set(best.tolist()))
        searched += len(rows)
    assert found / 1000 >= 0.98
    assert searched / 100 < 6000 / 4
    assert np.diff(clusters.nearest_rows(vectors[0], 6000)).sum() == 6000


def test_how_many_lists_are_searched():
    clusters = Clusters(np.eye(16, dtype=np.float32), np.arange(17) * 10, reach=0.5)

    def rows(query, least, widening=1.0):
        spans = clusters.nearest_rows(np.array(query, np.float32), least, widening)
        return np.diff(spans).sum()

    amid, between = [1] + 15 * [0], 9 * [1] + 7 * [0.4]
    assert rows(amid, 10) == 40  # four lists at least
    assert rows(between, 10) == 90
    assert rows(amid, 95) == 100
    assert rows(between, 10, widening=1.5) == 130
    assert rows(between, 10, widening=2) == rows(amid, 1000) == 160
    assert rows(16 * [-1], 10) == 40
    assert clusters.nearest_rows(np.array(amid, np.float32), 10)[0].tolist() == [0, 10]


def test_centroids_are_kept_until_there_are_twice_as_many_rows(vectors):
    order, known = group([vectors[:2000]], None, fewest_rows=1000).order()
    arranged = vectors[order]
    grown = group([arranged, vectors[2000:3000]], known, fewest_rows=1000)
    np.testing.assert_array_equal(grown.centroids, known.centroids)
    nearest = np.argmax(np.concatenate([arranged, vectors[2000:3000]]) @ known.centroids.T, axis=1)
    np.testing.assert_array_equal(grown.lists, nearest)
    assert len(group([arranged, vectors[2000:]], known, fewest_rows=1000).centroids) > len(known.centroids)
