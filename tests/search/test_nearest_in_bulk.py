"""The neighbours of many vectors, found through lists, are those that comparing all finds."""

from __future__ import annotations

import numpy as np
import pytest

from aios_db.engine.backends import blas
from aios_db.search import lists as lists_
from aios_db.search.centroids import Centroids, spherical_k_means
from aios_db.search.lists import Contiguous, Scattered, best_in_lists, best_of, highest
from aios_db.search.nearest import Neighbors
from aios_db.search.part import Part
from aios_db.search.vectors import Clusters

DIMENSION = 32


class Memories(Part):
    """A part that has what the search for neighbours looks at."""

    def __init__(self, vectors, first=0, clusters=None):
        rows = np.arange(first, first + len(vectors))
        self.columns = {"rows": rows, "vectors": vectors, "alive": np.ones(len(rows), np.bool_)}
        self.clusters = clusters


@pytest.fixture(scope="module")
def vectors():
    random = np.random.default_rng(5)
    centers = random.standard_normal((300, DIMENSION)).astype(np.float32)
    rows = centers[random.integers(300, size=12_000)]
    rows = rows + 0.6 * random.standard_normal((12_000, DIMENSION), np.float32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def exact(queries, vectors, k):
    return np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :k]


def share_found(found, wanted):
    return np.mean(
        [len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), wanted.tolist(), strict=True)]
    )


def clustered(vectors, number):
    centroids = spherical_k_means(vectors, number, np.random.default_rng(1), 4)
    nearest = Centroids(centroids).nearest(vectors, 1)[:, 0]
    order = np.argsort(nearest, kind="stable")
    offsets = np.append(0, np.cumsum(np.bincount(nearest, minlength=number)))
    part = Memories(vectors[order], clusters=Clusters(centroids, offsets, 12))
    part.columns["rows"] = order
    return part


def test_few_vectors_are_compared_with_all(vectors):
    parts = [Memories(vectors[:1000]), Memories(vectors[1000:1500], 1000)]
    rows, scores = Neighbors(parts[0]).find(parts, vectors[:20], 4)
    np.testing.assert_array_equal(rows, exact(vectors[:20], vectors[:1500], 4))
    np.testing.assert_allclose(scores[:, 0], 1, rtol=1e-5)


def test_many_vectors_are_looked_for_in_lists_of_their_own(vectors):
    parts = [Memories(vectors[:0]), Memories(vectors)]
    rows, scores = Neighbors(parts[0]).find(parts, vectors, 4)
    assert (rows[:, 0] == np.arange(len(vectors))).all()
    assert (np.diff(scores, axis=1) <= 0).all()
    assert share_found(rows[::40], exact(vectors[::40], vectors, 4)) >= 0.9


@pytest.mark.parametrize("count", [1, 700])
def test_a_tail_behind_a_segment_is_looked_through_as_it_grows(vectors, count):
    segment = clustered(vectors[:8000], 64)
    neighbors = Neighbors(segment)
    tail = Memories(vectors[8000:8000], 8000)
    for stop in (9000, 10_500, 12_000):
        grown = Memories(vectors[8000:stop], 8000)
        tail.columns = grown.columns
        queries = vectors[stop - count : stop]
        rows, _ = neighbors.find([segment, tail], queries, 4)
        assert (rows[:, 0] == np.arange(stop - count, stop)).all()
        if count > 1:
            assert share_found(rows, exact(queries, vectors[:stop], 4)) >= 0.9


def test_the_dead_are_not_found_and_what_is_missing_is_filled(vectors):
    segment = clustered(vectors[:6000], 64)
    segment.columns["alive"][:] = segment.rows % 2 == 0
    rows, _ = Neighbors(segment).find([segment, Memories(vectors[6000:6000])], vectors[:500], 3)
    assert (rows >= 0).all()
    assert (rows % 2 == 0).all()
    segment.columns["alive"][:] = False
    rows, scores = Neighbors(segment).find([segment], vectors[:5], 3)
    assert (rows == -1).all()
    assert np.isneginf(scores).all()
    rows, _ = Neighbors(segment).find([], vectors[:5], 3)
    assert rows.tolist() == [[-1] * 3] * 5


@pytest.mark.parametrize("number", [100, 2000])
def test_the_nearest_centroids_are_found_directly_or_through_groups(vectors, number):
    centroids = Centroids(vectors[:number])
    found = centroids.nearest(vectors[:3000], 3)
    assert found.shape == (3000, 3)
    assert all(len(set(row)) == 3 for row in found.tolist())
    wanted = exact(vectors[:3000], vectors[:number], 3)
    assert np.mean(found[:, 0] == wanted[:, 0]) >= 0.95
    assert (found[:number, 0] == np.arange(number)).mean() >= 0.95


@pytest.mark.parametrize("threads", [1, 3])
def test_lists_in_any_order_and_lists_side_by_side_give_the_same(vectors, threads, monkeypatch):
    monkeypatch.setattr(lists_, "_LISTS_A_TASK", 3)
    monkeypatch.setattr(blas._limit(), "threads", threads)
    numbers = np.sort(np.random.default_rng(2).integers(20, size=2000)).astype(np.int32)
    offsets = np.append(0, np.cumsum(np.bincount(numbers, minlength=20)))
    probes = np.random.default_rng(3).permuted(np.tile(np.arange(20), (50, 1)), axis=1)[:, :4]
    matrix, queries = vectors[:2000], vectors[5000:5050]
    one = best_in_lists(queries, probes, Contiguous(offsets), matrix, 6)
    two = best_in_lists(queries, probes, Scattered(numbers), matrix, 6)
    allowed = (numbers[np.newaxis] == probes[..., np.newaxis]).any(axis=1)
    scores = np.where(allowed, queries @ matrix.T, -np.inf)
    np.testing.assert_array_equal(one[0], np.argsort(-scores, axis=1, kind="stable")[:, :6])
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first, second)
    few = best_in_lists(queries[:1], probes[:1, :2], Scattered(numbers), matrix, 6)
    np.testing.assert_array_equal(
        few[0], best_in_lists(queries[:1], probes[:1, :2], Contiguous(offsets), matrix, 6)[0]
    )


@pytest.mark.parametrize(("width", "k"), [(5, 5), (40, 3), (200, 3), (200, 150)])
def test_the_highest_of_each_row(width, k):
    scores = np.random.default_rng(4).permuted(np.tile(np.arange(width, dtype=np.float32), (7, 1)), axis=1)
    places, values = highest(scores.copy(), k)
    np.testing.assert_array_equal(np.sort(values, axis=1), np.tile(np.arange(width - k, width), (7, 1)))
    np.testing.assert_array_equal(np.take_along_axis(scores, places, axis=1), values)
    documents, best = best_of(np.tile(np.arange(width), (7, 1)), scores.copy(), min(k, width))
    np.testing.assert_array_equal(best, np.tile(np.arange(width - 1, width - 1 - k, -1), (7, 1)))
    np.testing.assert_array_equal(np.take_along_axis(scores, documents, axis=1), best)
