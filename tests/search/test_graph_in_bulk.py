"""A graph holds the same links whether they came one at a time, in bulk or out of a segment."""

from __future__ import annotations

import numpy as np
import pytest

from aios_db.search.graph import LinkArrays, LinkGraph
from aios_db.search.linkrun import LinkRun, Links

COUNT, MEMORIES = 6000, 300


@pytest.fixture(scope="module")
def links():
    random = np.random.default_rng(1)
    sources = random.integers(MEMORIES, size=COUNT)
    return Links(
        np.arange(COUNT),
        sources,
        (sources + random.integers(1, MEMORIES, size=COUNT)) % MEMORIES,
        random.uniform(0.1, 1, COUNT).astype(np.float32),
        random.integers(8, size=COUNT).astype(np.uint8),
    )


def part(links, start, stop):
    return Links(*(column[start:stop] for column in vars(links).values()))


def fed(links, steps, packed=0):
    graph = LinkGraph(LinkArrays.build(part(links, 0, packed)))
    for start, stop in zip([packed, *steps], [*steps, COUNT], strict=True):
        graph.put(part(links, start, stop))
    return graph


def contents(graph):
    stored = graph.links()
    order = np.argsort(stored.rows)
    return {name: column[order].tolist() for name, column in vars(stored).items()}


def check_that_neighbours_are_the_same(graph, other):
    for row in range(MEMORIES):
        seed = np.array([row]), np.ones(1), 1
        for one, two in zip(graph.spread(*seed), other.spread(*seed), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-7)


@pytest.fixture(params=["bulk", "bulk and single", "packed", "all"])
def graph(request, links):
    return {
        "bulk": lambda: fed(links, [2000, 4000]),
        "bulk and single": lambda: fed(links, [1500, 1510, 1511]),
        "packed": lambda: fed(links, [], packed=3000),
        "all": lambda: fed(links, [1200, 1205, 3500], packed=50),
    }[request.param]()


def single(links):
    return fed(links, list(range(500, COUNT, 500)))


def test_the_same_links_are_found(graph, links):
    assert contents(graph) == {name: column.tolist() for name, column in vars(links).items()}
    check_that_neighbours_are_the_same(graph, single(links))


def test_links_are_deleted_and_written_anew(graph, links):
    other = single(links)
    random = np.random.default_rng(2)
    gone = random.choice(COUNT, 900, replace=False)
    again = np.sort(random.choice(COUNT, 900, replace=False))
    changed = Links(
        again, links.sources[again], links.targets[again], np.full(900, 0.05, np.float32), links.kinds[again]
    )
    for each in (graph, other):
        each.delete([*gone.tolist(), COUNT + 5])
        each.put(changed)
        each.delete(again[:10].tolist())
    assert contents(graph) == contents(other)
    assert len(contents(graph)["rows"]) == COUNT - len(set(gone) - set(again)) - 10
    check_that_neighbours_are_the_same(graph, other)
    everyone = np.arange(MEMORIES)
    for one, two in zip(
        graph.spread(everyone[:5], np.ones(5), 2), other.spread(everyone[:5], np.ones(5), 2), strict=True
    ):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-7)


def test_runs_of_similar_length_are_merged(links):
    graph = fed(links, [1100, 2200, 3300, 4400, 5500])
    assert len(graph._runs) <= 2
    assert graph.recent == COUNT
    run = LinkRun(part(links, 100, 200))
    assert run.find(99) == -1
    run.delete(run.find(150))
    assert run.find(150) == -1
    assert run.links().rows.tolist() == [*range(100, 150), *range(151, 200)]


def test_few_of_many_single_links_are_in_the_dictionary(links):
    graph = fed(links, list(range(10, COUNT, 10)))
    assert len(graph._ends) < 1024 and graph.recent == COUNT
    assert sum(map(len, graph._recent.values())) == 2 * len(graph._ends)
    check_that_neighbours_are_the_same(graph, fed(links, []))
