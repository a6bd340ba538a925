"""Inverted lists that grow are the same whether documents come singly or many at a time."""

from __future__ import annotations

import numpy as np
import pytest

from aios_db.search import postings
from aios_db.search.postings import GrowingPostings, Postings


@pytest.fixture(scope="module")
def occurrences():
    random = np.random.default_rng(1)
    docs = np.sort(random.integers(400, size=20_000)).astype(np.int32)
    keys = (random.zipf(1.3, size=20_000) % 300).astype(np.uint64)
    return keys, docs


def fed(occurrences, cuts):
    keys, docs = occurrences
    grown = GrowingPostings()
    for first, stop in zip([0, *cuts], [*cuts, 400], strict=True):
        inside = (docs >= first) & (docs < stop)
        if stop - first == 1:
            found, times = np.unique(keys[inside], return_counts=True)
            grown.add(first, dict(zip(found.tolist(), times.tolist(), strict=True)))
        else:
            grown.extend(keys[inside], docs[inside])
    return grown


@pytest.mark.parametrize(
    "cuts", [[], [100, 200, 300], [50, 51, 52, 250, 251], [390], list(range(1, 400)), [399]]
)
def test_every_list_is_whole_and_in_order(occurrences, cuts, monkeypatch):
    monkeypatch.setattr(postings, "_BULK", 1000)
    grown = fed(occurrences, cuts)
    keys, docs = occurrences
    packed = Postings.build(*grown.triples())
    for key in [*np.unique(keys).tolist(), 10_000]:
        wanted, times = np.unique(docs[keys == key], return_counts=True)
        for found in (grown.get(key), packed.get(key)):
            np.testing.assert_array_equal(found[0], wanted)
            np.testing.assert_array_equal(found[1], times)
        assert grown.length(key) == len(wanted)
    assert len(grown._levels) <= 4


def test_few_of_many_single_documents_are_in_the_dictionary(occurrences, monkeypatch):
    monkeypatch.setattr(postings, "_BULK", 1000)
    grown = fed(occurrences, list(range(1, 400)))
    assert sum(len(docs) for docs, _ in grown._lists.values()) < 1000
    assert len(grown.triples()[0]) > 10_000
