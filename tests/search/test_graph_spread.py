"""How activation flows over links, compared with a model in dictionaries, and what it can never do."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aios_db
from aios_db.schema.association_links import KINDS
from aios_db.search.graph import (
    ASSOCIATION_GAIN,
    MENTIONING_GAIN,
    NEXT_IN_SESSION,
    SAME_ENTITY,
    SESSION_GAIN,
    SIMILAR_GAIN,
    LinkGraph,
    kind_code,
)
from aios_db.search.linkrun import Links

MEMORIES = 8
LINK = st.tuples(
    st.integers(0, MEMORIES - 1),
    st.integers(0, MEMORIES - 1),
    st.sampled_from([*KINDS, "of a user"]),
    st.floats(0.0625, 1, width=32),
)


def between_two(links):
    """Leave each pair and kind once, and none from a memory to itself."""
    distinct = {(*sorted(link[:2]), link[2]): link for link in links if link[0] != link[1]}
    return list(distinct.values())


LINKS = st.lists(LINK, max_size=24).map(between_two)
NAMES = st.lists(st.integers(0, 3), min_size=MEMORIES, max_size=MEMORIES)
SCORES = st.dictionaries(st.integers(0, MEMORIES - 1), st.floats(-20, 60), min_size=1)


def graph_of(links, names=None):
    graph = LinkGraph()
    columns = list(zip(*links, strict=True)) or [(), (), (), ()]
    sources, targets, kinds, weights = columns
    graph.put(
        Links(
            np.arange(len(links)), np.array(sources, np.int64), np.array(targets, np.int64),
            np.array(weights, np.float32), np.array([kind_code(kind) for kind in kinds], np.uint8),
        )
    )  # fmt: skip
    if names is not None:
        graph.name(np.arange(len(names)), np.array(names, np.uint64))
    return graph


def spread(graph, scores, hops=1):
    rows = np.array(sorted(scores), np.int64)
    reached, arrived, _ = graph.spread(rows, np.array([scores[row] for row in rows.tolist()], float), hops)
    return dict(zip(reached.tolist(), arrived.tolist(), strict=True))


def one_step(links, names, scores, sending):
    """Return what arrives where, by the definition in docs/retrieval.md."""
    turns, most = defaultdict(float), defaultdict(float)
    for sender, activation in sending.items():
        if activation <= 0:
            continue
        subjects = defaultdict(list)
        for number, (source, target, kind, weight) in enumerate(links):
            if sender not in (source, target):
                continue
            other = target if sender == source else source
            most[other] += 0
            if kind == "next_in_session":
                turns[other] += SESSION_GAIN * weight * activation
            elif kind in ("similar", "recalled_together"):
                most[other] = max(most[other], SIMILAR_GAIN * weight * activation)
            elif kind != "same_entity":
                subjects[number].append((other, weight))
            elif names[sender] and names[sender] == names[other]:
                continue
            elif sender == target and names[sender]:
                subjects["back"].append((other, weight))
            else:
                named = sender == source and names[other]
                subjects[("name", names[other]) if named else number].append((other, weight))
        forward = [max(w for _, w in found) for subject, found in subjects.items() if subject != "back"]
        norm = max(1.0, math.sqrt(sum(weight**2 for weight in forward)))
        for subject, found in subjects.items():
            gain = MENTIONING_GAIN if subject == "back" else ASSOCIATION_GAIN / norm
            best = max(scores.get(other, 0) for other, _ in found)
            total = sum(math.exp(scores.get(other, 0) - best) for other, _ in found)
            for other, weight in found:
                share = math.exp(scores.get(other, 0) - best) / total
                most[other] = max(most[other], gain * weight * activation * share)
    return {row: turns[row] + most[row] for row in {*turns, *most}}


@settings(deadline=None)
@given(LINKS, NAMES, SCORES, st.integers(0, 3))
def test_spread_equals_the_model(links, names, scores, hops):
    expected = dict.fromkeys(scores, 0.0)
    sending = dict(scores)
    for _ in range(hops):
        sending = one_step(links, names, scores, sending)
        for row, arrived in sending.items():
            expected[row] = expected.get(row, 0) + arrived
    found = spread(graph_of(links, names), scores, hops)
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-9)


@settings(deadline=None)
@given(LINKS, NAMES, SCORES)
def test_what_arrives_over_links_is_less_than_its_best_sender_has(links, names, scores):
    links = [link for link in links if link[2] != "next_in_session"]
    best = max(0.0, *scores.values())
    for row, arrived in spread(graph_of(links, names), scores).items():
        assert 0 <= arrived <= ASSOCIATION_GAIN * best * (1 + 1e-6), row


@pytest.mark.parametrize("passages", [1, 2, 10, 60])
def test_a_title_of_many_passages_does_not_flood(passages):
    links = [(0, 1 + i, "same_entity", 1.0) for i in range(passages)]
    arrived = spread(graph_of(links, [9, *[5] * passages]), {0: 10.0})
    assert sum(arrived.values()) == pytest.approx(7.5)
    assert arrived[1] == pytest.approx(7.5 / passages)


def test_of_passages_with_one_title_the_one_that_answers_gets_most():
    links = [(0, row, "same_entity", 1.0) for row in (1, 2, 3)]
    arrived = spread(graph_of(links, [9, 5, 5, 5]), {0: 10.0, 2: 4.0, 3: -1.0})
    assert arrived[2] > 0.95 * 7.5
    assert arrived[1] > arrived[3]


@pytest.mark.parametrize("hub", [2, 30, 300])
def test_of_many_that_mention_a_memory_only_the_best_counts(hub):
    links = [(1 + i, 0, "same_entity", 1.0) for i in range(hub)]
    scores = {1 + i: 10.0 if i == 0 else 5.0 for i in range(hub)}
    assert spread(graph_of(links, [3, *range(10, 10 + hub)]), scores)[0] == pytest.approx(7.5)


def test_to_be_mentioned_by_an_answer_says_more_than_to_mention_one():
    graph = graph_of([(0, 1, "same_entity", 1.0)], [1, 2])
    assert spread(graph, {0: 10.0})[1] == pytest.approx(7.5)
    assert spread(graph, {1: 10.0})[0] == pytest.approx(3.0)


def test_passages_of_one_title_do_not_lift_each_other():
    """Databases of before have such links."""
    assert spread(graph_of([(0, 1, "same_entity", 1.0)], [4, 4]), {0: 10.0})[1] == 0


def test_a_memory_divides_its_gain_among_its_subjects():
    links = [(0, row, "same_entity", 1.0) for row in range(1, 5)]
    arrived = spread(graph_of(links, [1, 2, 3, 4, 5]), {0: 8.0})
    assert arrived[1] == pytest.approx(0.75 * 8 / 2)


def test_turns_of_a_session_add_up():
    links = [(0, 1, "next_in_session", 1.0), (1, 2, "next_in_session", 1.0)]
    arrived = spread(graph_of(links), {0: 4.0, 2: 6.0})
    assert arrived[1] == pytest.approx(0.25 * 10)
    assert (KINDS[NEXT_IN_SESSION], KINDS[SAME_ENTITY]) == ("next_in_session", "same_entity")


def test_a_title_that_changes_changes_the_subject():
    graph = graph_of([(0, 1, "same_entity", 1.0), (0, 2, "same_entity", 1.0)], [9, 5, 5])
    shared = spread(graph, {0: 10.0})
    graph.name(np.array([2]), np.array([6], np.uint64))
    apart = spread(graph, {0: 10.0})
    assert shared[1] == pytest.approx(7.5 / 2)
    assert apart[1] == pytest.approx(7.5 / math.sqrt(2))
    graph.name(np.array([1, 2]), np.array([0, 0], np.uint64))
    assert spread(graph, {0: 10.0})[1] == pytest.approx(7.5 / math.sqrt(2))


def test_any_number_of_hops_ends_when_nothing_new_is_reached(tmp_path: Path) -> None:
    with aios_db.connect(tmp_path / "agent.aios") as con:
        con.remember([{"text": f"turn {n}", "session_id": "s"} for n in range(300)])
        first = con.execute("SELECT memory_id FROM memories WHERE text = 'turn 0'").fetchall()[0][0]
        far = con.execute("SELECT count(*) FROM neighbors(?, hops := 2147483647)", [first])
        assert far.fetchall() == [(299,)]
        assert len(con.recall("turn", k=3, hops=10**9)) == 3
