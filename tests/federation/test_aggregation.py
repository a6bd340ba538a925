"""Versions of several agents made into one: exact averages of products, and rules against outliers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from federation_helpers import card, changed

from aios_db.federation.aggregation import Contribution, aggregate
from aios_db.federation.card import LoraCard
from aios_db.federation.client import FederationClient
from aios_db.federation.delta import moved, vector
from aios_db.federation.hub import Hub, Push, Rounds
from aios_db.federation.library import CardLibrary
from aios_db.federation.messages import SyncError
from aios_db.federation.robust import RULES, judge
from aios_db.federation.server import FederationServer
from aios_db.federation.sparse import Sparsity
from aios_db.schema.errors import DataError, ProgrammingError


def contributions(head: LoraCard, count: int, size: float = 0.1) -> list[Contribution]:
    return [Contribution(f"a{n}", head, changed(head, n, size), 10 * (n + 1)) for n in range(count)]


def products(made: LoraCard) -> list[np.ndarray]:
    return [each.b.astype(np.float64) @ each.a for _, each in sorted(made.modules.items())]


def test_products_are_averaged_and_not_factors() -> None:
    head = card()
    sent = contributions(head, 5, size=0.3)
    made = aggregate(head, sent, "mean")
    shares = np.array([each.samples for each in sent]) / sum(each.samples for each in sent)
    wanted = [sum(s * p for s, p in zip(shares, of_one, strict=True)) for of_one in zip(
        *(products(each.card) for each in sent), strict=True)]  # fmt: skip
    naive = moved(head, sum(s * each.change for s, each in zip(shares, sent, strict=True)).astype(np.float32))

    def error(version: LoraCard) -> float:
        gaps = zip(products(version), wanted, strict=True)
        return float(np.sqrt(sum(np.square(got - want).sum() for got, want in gaps)))

    best = np.sqrt(
        sum(np.square(np.linalg.svd(each, compute_uv=False)[head.rank :]).sum() for each in wanted)
    )
    assert best <= error(made.card) < 1.02 * best < error(naive)
    assert made.products_error < made.factors_error
    # near the factors that were there, so that the change of them is small
    assert np.linalg.norm(vector(made.card) - vector(naive)) < np.linalg.norm(vector(naive) - vector(head))


def test_one_contribution_is_what_comes_of_it() -> None:
    head = card()
    (sent,) = contributions(head, 1)
    made = aggregate(head, [sent])
    assert np.allclose(vector(made.card), vector(sent.card), atol=2e-3)


@pytest.mark.parametrize("rule", ["auto", "clip", "median", "trimmed"])
@pytest.mark.parametrize("attack", ["turned", "huge", "noise"])
def test_one_outlier_of_eight_changes_little(rule: str, attack: str) -> None:
    random = np.random.default_rng(0)
    wanted = random.normal(size=4000)
    honest = wanted + random.normal(0, 0.7, (8, 4000))
    without = honest[:7].mean(axis=0)
    honest[7] = {
        "turned": -5 * wanted,
        "huge": 1e4 * random.normal(size=4000),
        "noise": 3 * random.normal(size=4000),
    }[attack]
    judged = judge(honest.astype(np.float32), [1] * 8, rule)
    got = judged.change if judged.change is not None else (judged.shares * judged.scales) @ honest
    plain = honest.mean(axis=0)
    assert np.linalg.norm(got - without) < 0.5 * np.linalg.norm(without)
    assert np.linalg.norm(got - without) < np.linalg.norm(plain - without)


def test_the_rule_follows_how_alike_changes_are() -> None:
    random = np.random.default_rng(0)
    wanted = random.normal(size=4000).astype(np.float32)
    alike = judge(wanted + random.normal(0, 0.3, (8, 4000)).astype(np.float32), [1] * 8)
    assert alike.rule == "trimmed" and alike.spread < 0.2
    sparse = np.where(random.random((8, 4000)) < 0.03, wanted + random.normal(0, 0.3, (8, 4000)), 0).astype(
        np.float32
    )
    apart = judge(sparse, [1] * 8)
    assert apart.rule == "clip" and apart.spread > 0.9 and (apart.scales > 0).all()
    sparse[3] = np.where(random.random(4000) < 0.5, -9 * wanted, 0)
    poisoned = judge(sparse, [1] * 8)
    assert poisoned.scales[3] == 0 and (np.delete(poisoned.scales, 3) > 0).all()
    # coordinate by coordinate nothing would be left of changes that hardly overlap
    assert not judge(sparse, [1] * 8, "median").change.any()  # type: ignore[union-attr]


def test_nobody_is_believed_any_number_of_samples() -> None:
    changes = np.random.default_rng(0).normal(size=(5, 100)).astype(np.float32)
    assert judge(changes, [1, 1, 1, 1, 10**9], "mean").shares[4] > 0.99
    assert judge(changes, [1, 1, 1, 1, 10**9], "clip").shares[4] == 0.5


def test_what_cannot_be_aggregated_is_refused() -> None:
    head = card()
    with pytest.raises(ProgrammingError, match="nothing"):
        aggregate(head, [])
    with pytest.raises(ProgrammingError, match="not one of auto, mean"):
        aggregate(head, contributions(head, 2), "best")
    with pytest.raises(DataError, match="no version"):
        aggregate(head, [Contribution("x", card(rank=2), card(rank=2), 1)])
    assert all(aggregate(head, contributions(head, 4), rule).card.mismatch(head) is None for rule in RULES)
    with pytest.raises(ProgrammingError):
        Rounds(size=0)


@pytest.mark.parametrize("sparsity", [None, Sparsity(0.2, 4)])
def test_a_round_of_agents_makes_one_version(
    library: Callable[[str], CardLibrary], client: Callable[..., FederationClient], sparsity: Sparsity | None
) -> None:
    names, first = ["ada", "bo", "cy"], card(modules=10)
    for name in ("server", *names):
        library(name).add(first, origin="new")
    server = FederationServer(Hub(library("server"), Rounds(size=3, rule="mean", sparsity=sparsity)))
    try:
        for seed, name in enumerate(names):
            library(name).add(changed(first, seed), origin="trained", parent=first.sha256)
        agents = {name: client(name, server.location, agent=name) for name in names}
        for name in names[:2]:
            agents[name].push("skill", samples=2, sparsity=sparsity)
            assert library("server").get("skill").sha256 == first.sha256  # waits for the third
        agents["ada"].push("skill", samples=2, sparsity=sparsity)  # again: still one of three
        agents["cy"].sync("skill", samples=4, sparsity=sparsity)
        head = library("server").get("skill")
        assert head.sha256 != first.sha256 and library("cy").get("skill").sha256 == head.sha256
        for name in names[:2]:
            report = agents[name].pull("skill", wait_s=5)
            assert report.kind == ("sparse" if sparsity else "lossless")
            assert library(name).get("skill").sha256 == head.sha256
        (made,) = [each for each in library("server").versions("skill") if each.origin == "aggregated"]
        assert (made.agent, made.samples) == ("ada+bo+cy", 8)
    finally:
        server.shutdown()


def test_a_round_that_is_too_old_ends_without_the_missing(
    library: Callable[[str], CardLibrary], client: Callable[..., FederationClient]
) -> None:
    first = card()
    for name in ("server", "ada"):
        library(name).add(first, origin="new")
    library("ada").add(changed(first), origin="trained", parent=first.sha256)
    server = FederationServer(Hub(library("server"), Rounds(size=3, longest_s=0.1)))
    try:
        client("ada", server.location, agent="ada").sync("skill", wait_s=60)
        assert library("server").get("skill").sha256 == library("ada").get("skill").sha256 != first.sha256
    finally:
        server.shutdown()


def test_what_a_failed_round_was_to_bring_is_no_part_of_the_head(
    library: Callable[[str], CardLibrary], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = card()
    library("server").add(first, origin="new")
    hub = Hub(library("server"), Rounds(size=2))
    pushes = [Push(name, first, changed(first, seed), 1) for seed, name in enumerate(["ada", "bo"])]

    def failing(*_: object) -> None:
        raise DataError("it cannot be aggregated")

    assert hub.take(pushes[0]) == "waiting"
    with monkeypatch.context() as patch:
        patch.setattr("aios_db.federation.hub.aggregate", failing)
        with pytest.raises(SyncError, match="cannot be aggregated"):
            hub.take(pushes[1])
    assert library("server").get("skill").sha256 == first.sha256
    assert [hub.take(each) for each in pushes] == ["waiting", "applied"]
    assert library("server").get("skill").sha256 != first.sha256
    assert hub.take(pushes[0]) == "applied"  # once is enough


@pytest.mark.parametrize("agents", [4, 8])
def test_honest_changes_of_few_steps_are_nearly_orthogonal_and_not_left_out(agents: int) -> None:
    random, left_out = np.random.default_rng(0), 0
    for _ in range(50):
        common = 0.02 * random.normal(size=4000)
        changes = (random.normal(size=(agents, 4000)) + common).astype(np.float32)
        left_out += int((judge(changes, [1] * agents).scales == 0).sum())
    assert left_out <= 0.01 * 50 * agents
