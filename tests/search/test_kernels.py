"""The compiled inner loops return what NumPy's do, and where they are missing NumPy's are taken."""

from __future__ import annotations

import logging
import runpy
import sys
import uuid

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios_db.search import kernels
from aios_db.search.graph import _GAINS, LinkArrays
from aios_db.search.linkrun import INCOMING, Links
from aios_db.search.portable import keywords, links, names, vectors

native = pytest.importorskip("aios_db.search.native.vectors", reason="not compiled").__package__
UUIDS = [str(uuid.UUID(int=i)) for i in (0, 1, 2**127)]
SEEDS = st.integers(0, 2**32 - 1)


def compiled(name):
    return sys.modules[f"{native}.{name}"]


def test_numpy_is_taken_where_nothing_is_compiled(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, native, None)
    with caplog.at_level(logging.WARNING, "aios_db.search"):
        chosen = runpy.run_path(kernels.__file__)
    assert [chosen[name] for name in kernels.__all__] == [keywords, links, names, vectors]
    (record,) = caplog.records
    assert "C compiler" in record.getMessage()
    assert kernels.keywords is compiled("keywords")


def same(one, two):
    for ours, theirs in zip(one, two, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.tolist() == theirs.tolist()


@given(SEEDS, st.integers(1, 300), st.integers(1, 40), st.sampled_from([1, 7, 64, 130]), st.booleans())
def test_nearest_rows(seed, count, k, width, filtered):
    random = np.random.default_rng(seed)
    matrix = random.integers(-2, 3, (count, width)).astype(np.float32)  # sums are exact, and many are equal
    query = random.integers(-2, 3, width).astype(np.float32)
    rows = random.permutation(count)
    allowed = random.random(count) < 0.5 if filtered else None
    cuts = np.sort(random.integers(0, count + 1, 6)).reshape(3, 2)
    for spans in (cuts, cuts[:0], np.array([[0, count]])):
        given = matrix, rows, allowed, spans, query, k
        same(compiled("vectors").nearest(*given), vectors.nearest(*given))
    documents = random.integers(0, count, 20)
    given = matrix, documents, query
    same([compiled("vectors").products(*given)], [vectors.products(*given)])


def test_products_are_right_to_six_digits():
    random = np.random.default_rng(3)
    matrix = random.standard_normal((50, 384), np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    exact = matrix.astype(np.float64) @ matrix[0].astype(np.float64)
    for module in (compiled("vectors"), vectors):
        found = module.products(matrix, np.arange(50), matrix[0])
        np.testing.assert_allclose(found, exact, atol=1e-6)


@settings(deadline=None)
@given(SEEDS, st.sampled_from([1, 50, 5000, 9000]), st.integers(1, 8), st.integers(1, 300), st.booleans())
def test_bm25(seed, documents, terms, k, filtered):
    random = np.random.default_rng(seed)
    lists = []
    for share in np.sort(random.random(terms) ** 3):
        docs = np.flatnonzero(random.random(documents) < share).astype(np.int32)
        lists.append((docs, random.integers(1, 5, len(docs)).astype(np.uint16)))
    lists[-1] = np.arange(documents, dtype=np.int32), np.ones(documents, np.uint16)
    lists.sort(key=lambda pair: len(pair[0]))
    weights = np.array([np.log(1 + documents / (1 + len(docs))) for docs, _ in lists], np.float32)
    norm = keywords.Norm(0.9 * 0.4 / 12, 0.9 * 0.6, 1.9)
    bounds = np.append(np.cumsum(weights[::-1].astype(np.float64) * 1.9)[::-1], 0) + 1e-4
    lengths = random.integers(1, 40, documents).astype(np.int32)
    rows = random.permutation(documents)
    allowed = random.random(documents) < 0.7 if filtered else None
    given = lists, weights, bounds, norm, lengths, rows, allowed, k
    found = compiled("keywords").best(*given)
    same(found, keywords.best(*given))

    everything = np.arange(documents, dtype=np.int32)
    given = lists, weights, norm, lengths, everything
    scores = compiled("keywords").scores(*given)
    same([scores], [keywords.scores(*given)])
    may = everything if allowed is None else everything[allowed]
    order = may[np.lexsort((rows[may], -scores[may]))][:k]
    same(found, (rows[order], scores[order]))


@given(SEEDS, st.integers(1, 60), st.integers(0, 400), st.integers(0, 20))
def test_activation_over_links(seed, memories, count, more):
    random = np.random.default_rng(seed)

    def some(size):
        sources = random.integers(memories, size=size)
        targets = random.integers(memories, size=size)
        weights = np.where(random.random(size) < 0.2, 0, random.random(size)).astype(np.float32)
        return sources, targets, weights, random.integers(len(_GAINS) - 1, size=size).astype(np.uint8)

    packed = LinkArrays.build(Links(np.arange(count), *some(count)))
    adjacency = packed.offsets, packed.targets, packed.weights, packed.kinds
    rows = np.flatnonzero(random.random(memories + 5) < 0.4)
    _, targets, weights, kinds = some(more if len(rows) else 0)
    kinds |= np.where(random.random(len(kinds)) < 0.5, INCOMING, np.uint8(0))
    other = random.integers(max(len(rows), 1), size=len(targets)), targets, weights, kinds
    names = random.integers(4, size=random.integers(memories + 1)).astype(np.uint64)
    own = np.flatnonzero(random.random(memories) < 0.5)
    seeds = own, random.normal(size=len(own)) * 10
    given = rows, random.random(len(rows)), seeds, adjacency, other, names, _GAINS
    frontier = compiled("links").step(*given)
    reached, arrived = links.step(*given)
    assert frontier[0].tolist() == reached.tolist()
    np.testing.assert_allclose(frontier[1], arrived, rtol=1e-9, atol=1e-300)  # exp differs in the last bit
    seeds = np.flatnonzero(random.random(memories) < 0.3)
    given = seeds, random.random(len(seeds)), np.zeros(len(seeds), np.int64), *frontier, 2
    same(compiled("links").merge(*given), links.merge(*given))


NAMES = st.lists(
    st.tuples(st.text(st.sampled_from("ab\0é"), max_size=4) | st.sampled_from(UUIDS), st.integers(0, 9)),
    max_size=40,
)


@given(NAMES, NAMES, st.integers(0, 3))
def test_names_that_were_put_are_found(put, asked, skipped):
    for cache in (compiled("names").Names(), names.Names()):
        given = pa.array([name for name, _ in put], pa.string())[skipped:]
        cache.put(given, np.array([row for _, row in put[skipped:]], np.int64))
        wanted = [name for name, _ in (*asked, *put)]
        found = cache.find(pa.array([*wanted, None], pa.string()))
        known = dict(put[skipped:])
        assert found.tolist()[-1] == -1
        for name, row in zip(wanted, found.tolist(), strict=False):
            assert row == known.get(name, -1) or (row == -1 and not 0 < len(name.encode()) <= 36)
        cache.clear()
        assert (cache.find(given) == -1).all()


def test_many_names_push_old_ones_out():
    cache, ids = compiled("names").Names(), [str(uuid.UUID(int=i * 2**64 + 7)) for i in range(20_000)]
    for start in range(0, 20_000, 500):
        some = pa.array(ids[start : start + 500])
        cache.put(some, np.arange(start, start + 500))
        assert (cache.find(some) == np.arange(start, start + 500)).mean() > 0.99
    found = cache.find(pa.array(ids))
    assert ((found == -1) | (found == np.arange(20_000))).all()
    assert 8000 < (found >= 0).sum() <= 8192


def test_damaged_arrays_are_errors_and_no_crash():
    one = np.ones(1, np.float32)
    with pytest.raises(IndexError):
        compiled("vectors").nearest(
            np.ones((2, 1), np.float32), np.arange(2), None, np.array([[0, 3]]), one, 1
        )
    with pytest.raises(IndexError):
        compiled("vectors").products(np.ones((2, 1), np.float32), np.array([2]), one)
    none = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.uint8)
    for offsets, kind in (([0, 5], 1), ([-1, 1], 1), ([0, 1], 200)):
        adjacency = np.array(offsets), np.zeros(1, np.int32), one, np.full(1, kind, np.uint8)
        seeds = np.zeros(1, np.int64), np.ones(1)
        with pytest.raises(IndexError):
            compiled("links").step(*seeds, seeds, adjacency, none, np.empty(0, np.uint64), _GAINS)
    norm = keywords.Norm(0.1, 0.5, 1.9)
    for docs in ([5, 1, 9], [-4, 0], [0, 2**31 - 1], [2, 2, 1, 0]):
        lists = [(np.array(docs, np.int32), np.ones(len(docs), np.uint16))]
        found, _ = compiled("keywords").best(
            lists, one, np.array([1.9, 0]), norm, np.ones(3, np.int32), np.arange(3), None, 5
        )
        assert set(found.tolist()) <= {0, 1, 2}
