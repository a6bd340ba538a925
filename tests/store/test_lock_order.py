"""All threads take the locks of a database in one order, so that no two can wait for each other for good."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from graphlib import CycleError, TopologicalSorter

import pytest
from lock_orders import LockOrders, recorded
from store_helpers import DIMENSION, HashEncoder

import aios_db
from aios_db.engine.catalog import open_model as opening
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.weights.pressure import Memory, Pressure
from aios_db.engine.weights.residency import ResidencyManager
from aios_db.schema.config import Config, CpuConfig, EngineConfig, StorageConfig
from aios_db.store import recalls


def circle(orders: LockOrders) -> str:
    """Return a circle of locks, with the stacks in which each was asked for while the one before was held."""
    try:
        TopologicalSorter(orders.before).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        steps = zip(found[1:], found, strict=False)
        return "\n".join(
            f"{two} while holding {one}:\n{orders.stacks.get((one, two), '')}" for two, one in steps
        )
    return ""


def together(tasks: list[Callable[[], None]], orders: LockOrders) -> None:
    """Run tasks in a thread each, which must end."""
    threads = [threading.Thread(target=each, daemon=True) for each in tasks]
    for each in threads:
        each.start()
    until = time.monotonic() + 60
    for each in threads:
        each.join(max(until - time.monotonic(), 0))
    assert not any(each.is_alive() for each in threads), circle(orders) or "threads wait for each other"


def work(con: aios_db.Connection, seed: int, calls: int) -> None:
    """Do by chance what users do."""
    rng = random.Random(seed)
    names: list[str] = [con.remember(f"note {seed}", session_id=f"s{seed}")]

    def words() -> str:
        return " ".join(f"word{rng.randrange(50)}" for _ in range(6))

    acts: list[Callable[[], object]] = [
        lambda: names.append(con.remember(words(), session_id=f"s{seed}")),
        lambda: con.remember([{"text": words()} for _ in range(8)]),
        lambda: con.recall(words(), k=5),
        lambda: con.execute("SELECT text, access_count FROM recall(?, k := 3)", [words()]).fetchall(),
        lambda: con.execute("SELECT sum(access_count) FROM memories").fetchall(),
        lambda: con.execute("FROM neighbors(?)", [rng.choice(names)]).fetchall(),
        lambda: con.get(rng.choice(names)),
        lambda: con.update(rng.choice(names), importance=rng.random()),
        lambda: con.link(names[0], rng.choice(names), weight=0.5) if len(names) > 3 else None,
        lambda: con.forget(names.pop()) if len(names) > 4 else None,
        lambda: con.history(limit=3),
        con.store.flush,
        lambda: con.store.optimize() if rng.random() < 0.2 else None,
        con.store.maintain,
    ]
    for _ in range(calls):
        with suppress(aios_db.ProgrammingError):  # somebody else has forgotten it
            rng.choice(acts)()


def read(con: aios_db.Connection, calls: int) -> None:
    for _ in range(calls):
        con.execute("SELECT count(*) FROM recall('word1', k := 3)").fetchall()


def test_all_threads_take_locks_in_one_order(tmp_path, monkeypatch):
    monkeypatch.setattr(recalls, "_LEAST_REWRITTEN", 64)  # the log is rewritten often
    storage = StorageConfig(
        dimension=DIMENSION, maintenance_delay_s=0.01, link_recalled_s=0.05, durability="normal"
    )
    config = Config(engine=EngineConfig(models_dir=str(tmp_path / "none")), storage=storage)
    with recorded(monkeypatch) as orders:
        cons = [
            aios_db.connect(tmp_path / "a.aios", config=config),
            aios_db.connect(tmp_path / "a.aios", config=config, user_id="ada"),
            aios_db.connect(tmp_path / "a.aios", config=replace(config), read_only=True),
        ]
        for con in cons:
            con.store.database.texts.given = HashEncoder()
        together(
            [
                *(partial(work, con, seed, 30) for seed, con in enumerate([cons[0], cons[0], cons[1]])),
                partial(read, cons[2], 30),
            ],
            orders,
        )
        cons[0].backup(tmp_path / "backup")
        cons[0].store.repair()
        for con in cons:
            con.close()
    assert len(orders.before) > 8
    assert not circle(orders), circle(orders)


@pytest.mark.parametrize("backend", ["auto", "standard"])
def test_an_engine_takes_locks_in_one_order(minilm_dir, monkeypatch, backend):
    """Also while it is told to let go of its weights, as under memory pressure."""
    with recorded(monkeypatch) as orders:
        manager = ResidencyManager(max_bytes=1, pressure=Pressure(0.1, lambda: Memory(100, 1)))
        monkeypatch.setattr(opening, "shared_residency", lambda *_: manager)
        engine = ArrowEngine(minilm_dir, cpu=CpuConfig(backend=backend))
        texts = ["The spare key lies under the blue pot.", "Tea is at five.", "Nobody knows."]

        def encode() -> None:
            for count in (1, 3):
                assert engine.encode(texts[:count]).shape == (count, 384)

        def relieve() -> None:
            for _ in range(6):
                manager.relieve()
                time.sleep(0.01)

        together([encode, encode, relieve], orders)
        engine.close()
    assert len(orders.before) > 3
    assert not circle(orders), circle(orders)
