"""Whatever happens on the way, a card is a version that the sender had, and the next exchange succeeds."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faulty import TIMEOUT_S, CuttingProxy, fault, touching
from federation_helpers import card, changed

from aios_db.federation.card_files import write_card
from aios_db.federation.client import FederationClient
from aios_db.federation.debts import to_train
from aios_db.federation.delta import vector
from aios_db.federation.hub import Hub
from aios_db.federation.library import CardLibrary
from aios_db.federation.messages import SyncError
from aios_db.federation.server import FederationServer
from aios_db.federation.sparse import Sparsity
from aios_db.schema.errors import OperationalError

Libraries = Callable[[str], CardLibrary]
Clients = Callable[..., FederationClient]
TRIES = int(os.environ.get("AIOS_FAULT_TRIES", "4"))


def had(library: CardLibrary) -> set[str]:
    return set(library.hashes("skill"))


@pytest.mark.faults
@pytest.mark.parametrize("sparsity", [None, Sparsity(0.1, 4)])
def test_a_line_that_is_cut_anywhere(
    library: Libraries, server: FederationServer, sparsity: Sparsity | None
) -> None:
    ada, bo, hub = (
        CardLibrary(library(name).store, keep_versions=10_000) for name in ("ada", "bo", "server")
    )
    server.hub.library = hub
    first = card(modules=10)
    for each in (ada, bo, hub):
        each.add(first, origin="new")
    dice, proxy = random.Random(0), CuttingProxy(server.port)
    cut = 0
    ada.add(changed(first, 99, 0.05), origin="trained", parent=first.sha256)
    with FederationClient(proxy.location, ada) as whole:
        whole.push("skill", sparsity=sparsity)
    longest = proxy.passed  # of an exchange that is not cut
    for step in range(TRIES):
        head = ada.get("skill")
        ada.add(changed(head, step, 0.05), origin="trained", parent=head.sha256)
        for mine, act in ((ada, "push"), (bo, "pull")):
            proxy.left = dice.randrange(longest)
            with FederationClient(proxy.location, mine, agent=act, timeout_s=20) as client:
                try:
                    _ = client.push("skill", sparsity=sparsity) if act == "push" else client.pull("skill")
                except SyncError as error:
                    assert error.code == "lost", error
                    cut += 1
            assert hub.hashes("skill")[0] in had(ada)
            assert bo.hashes("skill")[0] in had(hub)
        with FederationClient(server.location, ada) as good:
            good.push("skill", sparsity=sparsity)
        with FederationClient(server.location, bo) as good:
            good.pull("skill")
        assert bo.hashes("skill")[0] == hub.hashes("skill")[0] and hub.hashes("skill")[0] in had(ada)
    proxy.close()
    assert cut > TRIES / 4  # the test has cut something
    if sparsity is None:
        assert hub.hashes("skill")[0] == ada.hashes("skill")[0]


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["drop", "repeat", "swap", "flip"])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_messages_that_are_touched(
    library: Libraries, client: Clients, monkeypatch: pytest.MonkeyPatch, kind: str, direction: str
) -> None:
    ada, hub = library("ada"), library("server")
    first = card(modules=60)
    for each in (ada, hub):
        each.add(first, origin="new")
    failed = 0
    for at in range(4):
        head = ada.get("skill")
        ada.add(changed(head, at, 0.02), origin="trained", parent=head.sha256)
        touched, plain = fault(kind, at, 37 * at + 13), fault("none", 0, 0)
        with (
            touching(monkeypatch, *((touched, plain) if direction == "up" else (plain, touched))),
            contextlib.suppress(SyncError),
        ):
            failed -= 1
            client("ada", agent="ada", timeout_s=TIMEOUT_S).sync("skill")
            failed -= 1
        failed += 2
        assert hub.hashes("skill")[0] in had(ada)
        assert ada.get("skill").sha256 in had(ada)
        client("ada", agent="ada").sync("skill")
        assert hub.get("skill").sha256 == ada.get("skill").sha256
    assert failed >= 2


SERVE = """
import sys, time
from aios_db.federation.hub import Hub
from aios_db.federation.library import CardLibrary
from aios_db.federation.server import FederationServer
from aios_db.schema.config import Config, StorageConfig
from aios_db.memory_store import MemoryStore
store = MemoryStore.open(sys.argv[1], config=Config(storage=StorageConfig(dimension=4)))
server = FederationServer(Hub(CardLibrary(store)))
print(server.port, flush=True)
time.sleep(600)
"""


@pytest.mark.faults
def test_a_server_that_is_killed_in_the_middle(library: Libraries, tmp_path: Path) -> None:
    ada = CardLibrary(library("ada").store, keep_versions=10_000)
    ada.add(card(modules=10), origin="new")
    dice, killed = random.Random(1), 0
    for step in range(max(2, TRIES // 8)):
        head = ada.get("skill")
        ada.add(changed(head, step), origin="trained", parent=head.sha256)
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(tmp_path / "hub.aios")], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        proxy = CuttingProxy(int(process.stdout.readline()), process.kill)
        proxy.left = dice.randrange(500, 9000)
        with FederationClient(proxy.location, ada, timeout_s=20) as client, contextlib.suppress(SyncError):
            killed += 1
            client.push("skill")
            killed -= 1
        process.kill()
        process.wait()
        proxy.close()
        hub = library("hub")
        assert not had(hub) or hub.hashes("skill")[0] in had(ada)
    server = FederationServer(Hub(library("hub")))
    with FederationClient(server.location, ada) as client:
        client.push("skill")
    server.shutdown()
    assert library("hub").get("skill").sha256 == ada.get("skill").sha256 and killed


def test_an_answer_that_is_lost_is_not_counted_twice(
    library: Libraries, client: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has taken a sparse delta, the agent does not know, and trains on before it tries again."""
    ada, hub = library("ada"), library("server")
    first = card(modules=10)
    for each in (ada, hub):
        each.add(first, origin="new")
    one = changed(first, 1, 0.05)
    ada.add(one, origin="trained", parent=first.sha256)
    lost = fault("drop", 2, 0)  # the verdict, after the welcome and an acknowledgement
    with touching(monkeypatch, fault("none", 0, 0), lost), pytest.raises(SyncError):
        client("ada", timeout_s=TIMEOUT_S).push("skill", sparsity=Sparsity(0.5, 8))
    assert hub.get("skill").sha256 != first.sha256 and ada.get("skill").sha256 == one.sha256
    two = changed(one, 2, 0.05)
    ada.add(two, origin="trained", parent=one.sha256)
    for _ in range(4):
        client("ada").push("skill", sparsity=Sparsity(0.5, 8), decay=1.0)
    gap = np.linalg.norm(vector(hub.get("skill")) - vector(two))
    assert gap < 0.05 * np.linalg.norm(vector(two) - vector(first))


def test_a_damaged_version_here_is_fetched_whole(library: Libraries, client: Clients, tmp_path: Path) -> None:
    """The receiver's version is not what its hash says: it is used for nothing, and the card comes whole."""
    import lance
    import pyarrow as pa

    from aios_db.schema.database import table_path

    hub, ada = library("server"), library("ada")
    first = card(modules=60)
    for each in (hub, ada):
        each.add(first, origin="new")
    hub.add(changed(first, 1, 1e-3), origin="trained", parent=first.sha256)
    wrong = write_card(changed(first, 3), tmp_path / "wrong.lora.arrow").read_bytes()
    table = lance.dataset(table_path(ada.store.path, "lora_cards"))
    row = table.to_table().set_column(
        table.schema.get_field_index("card"), "card", pa.array([wrong], pa.binary())
    )
    table.merge_insert("card_id").when_matched_update_all().execute(row)
    for act in (
        lambda: ada.head("skill"), lambda: ada.get("skill"), lambda: ada.by_hash("skill", first.sha256),
        lambda: client("ada").push("skill"), lambda: to_train(ada, "skill"),
    ):  # fmt: skip
        with pytest.raises(OperationalError, match=f"card {first.version} is damaged .*aios doctor --deep"):
            act()
    report = client("ada").pull("skill")
    assert report.kind == "full" and ada.get("skill").sha256 == hub.get("skill").sha256
