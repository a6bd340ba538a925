"""What is owed: whatever happens in between, the hub's head and what is owed make what the agent means."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from federation_helpers import card, changed
from hypothesis import given
from hypothesis import strategies as st

from aios_db.federation.client import FederationClient
from aios_db.federation.debts import Debt, Debts, debt_files, read_debt, to_train
from aios_db.federation.delta import moved, vector
from aios_db.federation.hub import Hub, Push, Rounds
from aios_db.federation.library import CardLibrary
from aios_db.federation.messages import SyncError
from aios_db.federation.sparse import Sparsity
from aios_db.schema.errors import DataError

Libraries = Callable[[str], CardLibrary]
Clients = Callable[..., FederationClient]
SPARSE = Sparsity(0.05, 2)


class Agent:
    """An agent and a hub, and beside them the plain model: the numbers that the agent means."""

    def __init__(self, library: CardLibrary, hub: CardLibrary, client: Clients, dice: random.Random) -> None:
        self.library, self.hub, self.client, self.dice = library, hub, client, dice
        self.anew()

    def anew(self) -> None:
        """Remove the card everywhere, and make one of that name: sometimes the very same."""
        first = card(seed=self.dice.randrange(2))
        for each in (self.library, self.hub):
            each.remove("skill")
            each.add(first, origin="new")
        self.meant = vector(first)

    def train(self) -> None:
        start = to_train(self.library, "skill", 1.0)
        assert np.allclose(vector(start), self.meant, atol=1e-5)
        self._train(start.sha256, vector(start))

    def train_from_the_head_alone(self) -> None:
        head = self.library.get("skill")
        self._train(head.sha256, vector(head))

    def _train(self, parent: str, start: np.ndarray) -> None:
        change = np.random.default_rng(self.dice.randrange(1 << 30)).normal(0, 0.01, len(start))
        head = self.library.get("skill")
        made = moved(head, (start + change - vector(head)).astype(np.float32))
        self.library.add(made, origin="trained", parent=parent)
        self.meant = self.meant + change

    def put_another_over_it(self) -> None:
        over = changed(self.library.get("skill"), self.dice.randrange(1 << 30), 0.02)
        self.library.add(over, origin="file")
        self.meant = vector(over)

    def sparse(self) -> None:
        self._sync(sparsity=SPARSE)

    def exact(self) -> None:
        self._sync()
        self._nothing_is_owed()

    def whole(self) -> None:
        self._sync(sparsity=SPARSE, whole=True)
        self._nothing_is_owed()

    def older_peer(self) -> None:
        self._sync(sparsity=SPARSE, protocols=(1,))
        self._nothing_is_owed()

    def unreachable(self) -> None:
        with pytest.raises(SyncError):
            self.client("ada", "grpc://127.0.0.1:1", timeout_s=5).sync("skill", sparsity=SPARSE)

    def debt_cannot_be_written(self) -> None:
        (self.library.store.path / "federation").mkdir(exist_ok=True)
        in_the_way = Debts(self.library.store.path)._path("skill")
        in_the_way = in_the_way.with_name(f".{in_the_way.name}.new")
        in_the_way.mkdir()
        self._sync(sparsity=SPARSE)
        in_the_way.rmdir()
        assert not debt_files(self.library.store.path)
        self.meant = vector(self.hub.get("skill"))

    def _sync(self, protocols: tuple[int, ...] = (1, 2), **options: object) -> None:
        self.client("ada", protocols=protocols).sync("skill", decay=1.0, **options)
        assert self.library.get("skill").sha256 == self.hub.get("skill").sha256

    def _nothing_is_owed(self) -> None:
        assert not debt_files(self.library.store.path)
        assert np.allclose(vector(self.hub.get("skill")), self.meant, atol=1e-5)

    def check(self) -> None:
        """Where the hub is behind, by as much as is owed."""
        assert np.allclose(vector(to_train(self.library, "skill", 1.0)), self.meant, atol=1e-5)


STEPS = (
    Agent.train, Agent.train, Agent.train_from_the_head_alone, Agent.sparse, Agent.sparse, Agent.sparse,
    Agent.exact, Agent.whole, Agent.older_peer, Agent.put_another_over_it, Agent.anew,
    Agent.debt_cannot_be_written,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_the_hubs_head_and_what_is_owed_make_what_is_meant(
    library: Libraries, client: Clients, seed: int
) -> None:
    dice = random.Random(seed)
    agent = Agent(library("ada"), library("server"), client, dice)
    for _ in range(25):
        dice.choice(STEPS)(agent)
        agent.check()


def test_an_exchange_that_fails_owes_nothing_twice(library: Libraries, client: Clients) -> None:
    agent = Agent(library("ada"), library("server"), client, random.Random(0))
    for step in (Agent.train, Agent.sparse, Agent.train_from_the_head_alone, Agent.unreachable):
        step(agent)
        agent.check()
    agent.train()
    agent.exact()


def test_exact_and_whole_exchanges_send_what_is_owed_of_equal_heads(
    library: Libraries, client: Clients
) -> None:
    agent = Agent(library("ada"), library("server"), client, random.Random(0))
    for flush, kind in (({}, "lossless"), ({"whole": True}, "full")):
        agent.train()
        agent.sparse()
        assert library("ada").get("skill").sha256 == library("server").get("skill").sha256
        assert client("ada").sync("skill", decay=1.0, **flush).kind == kind
        agent._nothing_is_owed()
        assert client("ada").sync("skill", decay=1.0, sparsity=SPARSE).kind == "none"
    assert "owed" in {each.origin for each in library("ada").versions("skill")}


def test_what_is_owed_is_kept_when_others_versions_are_pulled(library: Libraries, client: Clients) -> None:
    ada, bo, first = library("ada"), library("bo"), card()
    for each in (ada, bo, library("server")):
        each.add(first, origin="new")
    ada.add(meant := changed(first, 1), origin="trained", parent=first.sha256)
    client("ada").push("skill", sparsity=SPARSE, decay=1.0)
    owed = vector(meant) - vector(ada.get("skill"))
    bo.add(changed(first, 2), origin="trained", parent=first.sha256)
    client("bo").push("skill")
    client("ada").pull("skill")
    head = ada.get("skill")
    assert head.sha256 == library("server").get("skill").sha256 and np.linalg.norm(owed) > 0
    assert np.allclose(vector(to_train(ada, "skill", 1.0)) - vector(head), owed, atol=1e-6)


def test_what_is_owed_of_another_card_is_forgotten_and_logged(
    library: Libraries, client: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    """The hub has nothing in common with the agent any more."""
    agent = Agent(library("ada"), library("server"), client, random.Random(0))
    agent.train()
    agent.sparse()
    library("server").remove("skill")
    library("server").add(other := changed(card(seed=7), 99), origin="new")
    with caplog.at_level(logging.WARNING, "aios_db.federation"):
        client("ada").pull("skill")
    assert "forgotten" in caplog.text and not debt_files(library("ada").store.path)
    assert to_train(library("ada"), "skill").sha256 == other.sha256


def test_a_kill_between_the_debt_and_the_version_that_is_pulled(
    library: Libraries, client: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent(library("ada"), library("server"), client, random.Random(0))
    agent.train()
    agent.sparse()
    head = library("server").get("skill")
    library("server").add(changed(head, 5), origin="aggregated", parent=head.sha256)
    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(CardLibrary, "add", _killed)
        client("ada").pull("skill")
    agent.check()  # the old head still lacks it
    client("ada").pull("skill")
    lacked = agent.meant - vector(head)
    assert np.allclose(vector(to_train(library("ada"), "skill", 1.0)) - vector(library("ada").get("skill")), lacked, atol=1e-5)  # fmt: skip # noqa: E501


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def pushed(hub: Hub, base: str, agent: str, seed: int) -> np.ndarray:
    """Push a change of the version ``base``; return it."""
    start = hub.library.by_hash("skill", base)
    assert start is not None
    made = changed(start, seed)
    hub.take(Push(agent, start, made, 1))
    return vector(made) - vector(start)


def test_a_hub_publishes_later_what_it_has_not_published(library: Libraries) -> None:
    """Sparse rounds, a version that comes alone, and in the end an exact round."""
    server, first = library("server"), card()
    server.add(first, origin="new")
    sparse = Hub(server, Rounds(2, "mean", SPARSE, decay=1.0))
    for step in range(3):
        base = server.get("skill")
        changes = [pushed(sparse, base.sha256, agent, 2 * step + n) for n, agent in enumerate("ab")]
        debt = Debts(server.store.path).read("skill/published")
        assert debt is not None and debt.after == (server.get("skill").sha256,)
    before, owed = server.get("skill"), debt.residual
    pushed(sparse, before.sha256, "a", 10)
    sparse.end_round("skill")
    head = server.get("skill")
    exact = Hub(server, Rounds(1, "mean", decay=1.0))
    change = pushed(exact, head.sha256, "a", 11)
    assert np.allclose(vector(server.get("skill")), vector(head) + change + owed, atol=2e-3)
    assert np.linalg.norm(owed) > 0.1 and not debt_files(server.store.path) and len(changes) == 2


def test_a_hub_forgets_what_is_owed_of_another_head(
    library: Libraries, caplog: pytest.LogCaptureFixture
) -> None:
    server, first = library("server"), card()
    server.add(first, origin="new")
    hub = Hub(server, Rounds(2, "mean", SPARSE, decay=1.0))
    for n, agent in enumerate("ab"):
        pushed(hub, first.sha256, agent, n)
    server.add(other := changed(first, 77), origin="file")
    exact = Hub(server, Rounds(1, "mean", decay=1.0))
    with caplog.at_level(logging.WARNING, "aios_db.federation"):
        change = pushed(exact, other.sha256, "a", 3)
    assert "forgotten" in caplog.text and not debt_files(server.store.path)
    assert np.allclose(vector(server.get("skill")), vector(other) + change, atol=1e-6)


@given(data=st.data())
def test_a_file_that_was_touched_is_noticed(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:  # fmt: skip # noqa: E501
    directory = tmp_path_factory.mktemp("debts")
    Debts(directory).write(
        "skill", debt := Debt(np.arange(5, dtype=np.float32), ("a" * 64, "b" * 64), "c" * 64)
    )
    (path,) = debt_files(directory)
    found = read_debt(path)
    assert np.array_equal(found.residual, debt.residual) and replace(found, residual=debt.residual) == debt
    content = bytearray(path.read_bytes())
    cut = data.draw(st.integers(0, len(content) - 1))
    path.write_bytes(content[:cut])
    with pytest.raises(DataError, match="cannot be read"):
        read_debt(path)
    assert Debts(directory).read("skill") is None


def test_what_is_not_a_debt_is_none(tmp_path: Path) -> None:
    path = tmp_path / "federation" / "x.npz"
    path.parent.mkdir()
    for residual, after in ((np.array([np.nan], np.float32), ["a"]), (np.ones(2), ["a"]), (np.ones(2, np.float32), [])):  # fmt: skip # noqa: E501
        np.savez(path, residual=residual, after=np.array(after, dtype="<U64"), of=np.array(""))
        with pytest.raises(DataError, match="float32"):
            read_debt(path)
