"""Searches of a collection large enough for lists, frequent words and pruning, against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from aios_db.schema.retrieval import Filter
from aios_db.search import build, kernels, nearest, segment
from aios_db.search.clustering import group
from aios_db.search.portable import keywords

COUNT = 3000


@pytest.fixture(scope="module")
def vectors():
    random = np.random.default_rng(5)
    centers = random.standard_normal((30, 8)).astype(np.float32)
    rows = centers[random.integers(30, size=COUNT)] + 0.3 * random.standard_normal((COUNT, 8), np.float32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def large(tables, vectors, monkeypatch):
    monkeypatch.setattr(build, "group", lambda parts, known: group(parts, known, fewest_rows=1000))
    monkeypatch.setattr(nearest, "_EXACT_ROWS", 200)
    tables.remember(
        *(
            {
                "memory_id": f"m{i}",
                "text": f"word{i % 7} common {'often' if i % 3 else 'seldom'} rare{i // 10}",
                "text_embedding": vectors[i],
                "session_id": f"s{i // 50}",
                "user_id": "ann" if i % 2 else "bob",
            }
            for i in range(COUNT)
        )
    )
    tables.index.save()
    assert tables.index.growing_rows == 0
    return tables


def test_lists_find_the_exact_neighbours(large, vectors):
    found = 0
    for i in range(0, COUNT, 100):
        query = vectors[i] + 0.05 * vectors[(i + 1) % COUNT]
        exact = {f"m{j}" for j in np.argsort(-(vectors @ query))[:10]}
        found += len(exact & set(large.names(large.index.vector_search(query, 10).row_ids)))
    assert found / 300 >= 0.95
    everything = large.index.vector_search(vectors[0], COUNT)
    assert len(everything.row_ids) == COUNT


def test_filters_of_few_and_of_many(large, vectors):
    query = vectors[17]
    few = large.names(large.index.vector_search(query, 10, Filter(session_id="s3")).row_ids)
    exact = 150 + np.argsort(-(vectors[150:200] @ query))[:10]
    assert few == [f"m{i}" for i in exact]
    many = large.names(large.index.vector_search(query, 10, Filter(user_id="ann")).row_ids)
    odd = np.arange(1, COUNT, 2)
    expected = {f"m{i}" for i in odd[np.argsort(-(vectors[odd] @ query))[:10]]}
    assert len(expected & set(many)) >= 9
    large.forget(many[0])
    assert many[0] not in large.names(large.index.vector_search(query, 10, Filter(user_id="ann")).row_ids)


def test_neighbours_in_bulk_over_lists(large, vectors):
    rows, cosines = large.index.kinship.nearest(vectors[:50], 3, least=0.5)
    assert large.names(rows[:, 0]) == [f"m{i}" for i in range(50)]
    np.testing.assert_allclose(cosines[:, 0], 1.0, atol=1e-5)
    assert (np.diff(cosines, axis=1) <= 1e-6).all()
    crowded, _ = large.index.kinship.nearest(vectors[:50], 2, least=-1.0)
    assert (crowded >= 0).all()


@pytest.mark.parametrize("query", ["rare7 common", "common often word3", "seldom rare12 common word1"])
def test_pruning_changes_no_score(large, monkeypatch, query):
    full = large.index.keyword_search(query, 20)
    monkeypatch.setattr(kernels, "keywords", keywords)
    monkeypatch.setattr(keywords, "_LONG_LIST", 10)
    pruned = large.index.keyword_search(query, 20)
    np.testing.assert_allclose(pruned.scores, full.scores, rtol=1e-5)
    only = large.index.keyword_search(query, 20, Filter(user_id="ann"))
    assert len(only.row_ids) == 20
    assert {int(name[1:]) % 2 for name in large.names(only.row_ids)} == {1}


def test_chinese_is_searchable(tables):
    tables.remember(
        {"memory_id": "a", "text": "我昨天去了北京的故宫"}, {"memory_id": "b", "text": "我喜欢喝绿茶"}
    )
    assert tables.names(tables.index.keyword_search("北京", 5).row_ids) == ["a"]
    assert tables.names(tables.index.keyword_search("茶", 5).row_ids) == ["b"]


@pytest.mark.parametrize("sample", [16, 2048])
@pytest.mark.parametrize("look_up", [0, 1, 16, 1000])
def test_pruning_finds_what_scoring_everything_finds(large, monkeypatch, sample, look_up):
    monkeypatch.setattr(kernels, "keywords", keywords)
    monkeypatch.setattr(keywords, "_LONG_LIST", 40)
    monkeypatch.setattr(keywords, "_SAMPLE", sample)
    monkeypatch.setattr(keywords, "_LOOK_UP", look_up)
    index = large.index
    everything = np.arange(COUNT)
    for text in (
        "rare3 often common",
        "seldom often",
        "word2 seldom common often",
        "rare17 rare4 word5 often",
    ):
        exact = np.sort(index.keyword_scores(text, everything).scores)[::-1]
        for k in (1, 10, 200):
            found = index.keyword_search(text, k)
            np.testing.assert_allclose(found.scores, exact[:k][exact[:k] > 0], rtol=1e-5)


def test_moments_with_another_mean_length_are_made_once_per_term(large, monkeypatch):
    hits = large.index.keyword_search("common seldom", 5)
    long = " ".join(f"other{i}" for i in range(400))
    large.remember(*({"memory_id": f"long{i}", "text": f"{long} common {i}"} for i in range(8)))
    made = []
    inside = segment.impacts
    monkeypatch.setattr(segment, "impacts", lambda *given: made.append(len(given[2])) or inside(*given))
    moved = large.index.keyword_search("common seldom", 5)
    assert (moved.mean, moved.std) != (hits.mean, hits.std) and max(made) == COUNT
    lists = len(made)
    large.remember({"memory_id": "one more", "text": "and common"})
    large.index.keyword_search("seldom common", 5)
    assert max(made[lists:], default=0) == 0  # but for documents that died, of which there are none

    grown = large.index.keyword_search("common seldom", 5)
    large.index.save()
    anew = large.index.keyword_search("common seldom", 5)
    assert (grown.mean, grown.std) == pytest.approx((anew.mean, anew.std), rel=1e-3)
