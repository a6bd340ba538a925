"""Agents and a server, each with a database, over Flight on loopback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from federation_helpers import card, changed

from aios_db.federation.client import FederationClient
from aios_db.federation.debts import to_train
from aios_db.federation.delta import moved, vector
from aios_db.federation.library import CardLibrary
from aios_db.federation.messages import SyncError
from aios_db.federation.server import FederationServer
from aios_db.federation.sparse import Sparsity
from aios_db.schema.errors import ProgrammingError

Libraries = Callable[[str], CardLibrary]
Clients = Callable[..., FederationClient]


def test_a_card_goes_whole_and_then_as_exact_differences(library: Libraries, client: Clients) -> None:
    ada, bo, hub = (library(name) for name in ("ada", "bo", "server"))
    first = card(modules=20)
    ada.add(first, origin="file")
    report = client("ada").push("skill")
    assert (report.kind, report.version, report.error) == ("full", first.version, None)
    assert hub.head("skill").sha256 == first.sha256  # type: ignore[union-attr]
    assert client("bo").pull("skill").kind == "full"
    second = changed(first, size=1e-4)
    ada.add(second, origin="trained", parent=first.sha256, samples=7)
    sent = client("ada").push("skill", samples=7)
    assert sent.kind == "lossless" and sent.bytes_sent < 0.8 * sent.bytes_full
    got = client("bo").pull("skill")
    assert got.kind == "lossless" and got.bytes_received < 0.8 * got.bytes_full
    assert bo.head("skill").sha256 == second.sha256  # type: ignore[union-attr]
    assert client("bo").pull("skill").kind == "none"
    again = client("ada").push("skill")
    assert (again.kind, again.base_version) == ("none", second.version)
    served = hub.store.dataset("sync_log").to_table().to_pylist()[-1]
    assert (served["kind"], served["base_version"]) == ("none", second.version)
    assert [(each.origin, each.samples) for each in hub.versions("skill")] == [
        ("received", 1),
        ("received", 7),
    ]


def test_sparse_pushes_converge_to_the_senders_version(library: Libraries, client: Clients) -> None:
    ada, hub = library("ada"), library("server")
    first = card(modules=20)
    ada.add(first, origin="file")
    client("ada").push("skill")
    wanted = changed(first, size=1e-2)
    ada.add(wanted, origin="trained", parent=first.sha256)
    sparsity, gaps = Sparsity(0.1, 2), []
    for _ in range(30):
        report = client("ada").push("skill", sparsity=sparsity, decay=1.0)
        assert report.kind == "sparse" and report.bytes_sent < 0.2 * report.bytes_full
        now = hub.head("skill")
        assert now is not None and now.sha256 == ada.head("skill").sha256  # type: ignore[union-attr]
        gaps.append(float(np.linalg.norm(vector(now) - vector(wanted))))
    assert gaps[-1] < 0.03 * gaps[0]


def test_an_agent_comes_to_its_goal_and_does_not_swing_around_it(library: Libraries, client: Clients) -> None:
    """Each round it goes half of the way to its goal, and sends a tenth of the numbers."""
    ada, hub, first = library("ada"), library("server"), card()
    goal = vector(changed(first, 7, 0.05))
    for each in (ada, hub):
        each.add(first, origin="new")
    for _ in range(15):
        start = to_train(ada, "skill")
        trained = moved(start, (goal - vector(start)) / 2)
        ada.add(trained, origin="trained", parent=start.sha256)
        assert to_train(ada, "skill").sha256 == trained.sha256  # what it owes is in it
        client("ada").sync("skill", sparsity=Sparsity(0.1, 2))
    gap = np.linalg.norm(vector(hub.get("skill")) - goal) / np.linalg.norm(vector(first) - goal)
    assert gap < 0.3


def test_two_agents_changes_are_both_kept(library: Libraries, client: Clients) -> None:
    """Without a round to wait for, the change of a base that is no longer the head is made to the head."""
    first = card()
    library("server").add(first, origin="new")
    mine, theirs = changed(first, 1), changed(first, 2)
    for name, version in (("ada", mine), ("bo", theirs)):
        library(name).add(first, origin="new")
        library(name).add(version, origin="trained", parent=first.sha256)
    assert client("ada").push("skill").kind == "lossless"
    client("bo").sync("skill")
    both = vector(mine) + vector(theirs) - vector(first)
    for name in ("server", "bo"):
        assert np.allclose(vector(library(name).get("skill")), both, atol=1e-6)
    client("ada").pull("skill")
    assert library("ada").get("skill").sha256 == library("server").get("skill").sha256


def test_an_incompatible_version_here_is_replaced_by_a_full_pull(library: Libraries, client: Clients) -> None:
    library("server").add(card(rank=8), origin="new")
    library("ada").add(card(rank=4), origin="new")
    report = client("ada").pull("skill")
    assert report.kind == "full" and library("ada").get("skill").rank == 8


def test_versions_that_are_far_behind_catch_up(library: Libraries, client: Clients) -> None:
    hub, ada = library("server"), library("ada")
    version = card(modules=50)
    hub.add(version, origin="new")
    client("ada").pull("skill")
    bo = client("bo")
    bo.pull("skill")
    for step in range(5):
        next_version = changed(library("bo").get("skill"), step)
        library("bo").add(next_version, origin="trained", parent=library("bo").get("skill").sha256)
        bo.push("skill", sparsity=Sparsity(0.02, 2))
    report = client("ada").pull("skill")
    assert report.kind == "sparse" and report.bytes_received < 0.1 * report.bytes_full
    assert ada.get("skill").sha256 == hub.get("skill").sha256


def test_an_older_peer_gets_exact_differences_and_a_foreign_one_the_reason(
    library: Libraries, client: Clients, server: FederationServer
) -> None:
    first = card(modules=50)
    for name in ("server", "ada", "bo"):
        library(name).add(first, origin="new")
    library("ada").add(changed(first), origin="trained", parent=first.sha256)
    client("ada").push("skill", sparsity=Sparsity(0.02, 2))
    old = client("bo", protocols=(1,))
    report = old.pull("skill")
    assert (report.protocol, report.kind) == (1, "lossless")
    assert library("bo").get("skill").sha256 == library("server").get("skill").sha256
    library("bo").add(changed(first, 5), origin="trained")
    assert old.push("skill", sparsity=Sparsity()).kind == "lossless"
    with pytest.raises(SyncError, match=r"protocols \[99\] are offered.*upgrade") as caught:
        client("bo", protocols=(99,)).pull("skill")
    assert caught.value.code == "protocol"


def test_every_exchange_is_in_the_log_of_both_sides(library: Libraries, client: Clients) -> None:
    library("ada").add(card(), origin="new")
    client("ada").push("skill")
    with pytest.raises(SyncError):
        client("ada").pull("other")
    with pytest.raises(ProgrammingError, match="no card 'none' here"):
        client("ada").push("none")
    rows = library("ada").store.dataset("sync_log").to_table().to_pylist()
    assert [(row["card"], row["kind"], row["code"]) for row in rows] == [
        ("skill", "full", None), ("other", None, "unknown"), ("none", None, "failed"),
    ]  # fmt: skip
    mine = rows[0]
    served = library("server").store.dataset("sync_log").to_table().to_pylist()
    assert [(row["side"], row["peer"], row["code"]) for row in served] == [
        ("server", "anyone", None), ("server", "anyone", "unknown"),
    ]  # fmt: skip
    assert (served[0]["bytes_sent"], served[0]["bytes_received"]) == (
        mine["bytes_received"],
        mine["bytes_sent"],
    )
    assert mine["bytes_full"] == served[0]["bytes_full"] > 0 and mine["duration_s"] > 0


def test_status_lists_the_heads(library: Libraries, client: Clients) -> None:
    library("server").add(card(), origin="new")
    library("server").add(replace(card(rank=2), name="other"), origin="new")
    assert {name: each["number"] for name, each in client("ada").status().items()} == {"skill": 1, "other": 1}
