"""What is read without the write lock is of one version, and read again where its files are removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aios_db
from aios_db.schema.config import Config, ConsolidationConfig, EngineConfig, StorageConfig
from aios_db.search.keeping_up import KeepingUp
from aios_db.store import steady
from aios_db.store.snapshot import Snapshot

WORDS = ("tea", "rain", "chess", "the", "key")
TEXTS = [f"tea in the rain {number}" for number in range(9)]


class Words:
    """Vectors that count words."""

    dimension = len(WORDS) + 1
    version = "words@000000000000"

    def encode(self, texts: Any) -> np.ndarray:
        vectors = np.array([[1.0, *map(text.count, WORDS)] for text in texts], np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def connect(path: Path, **options: Any) -> aios_db.Connection:
    config = Config(
        engine=EngineConfig(models_dir=str(path.parent / "no models")),
        storage=StorageConfig(dimension=Words.dimension, maintenance_delay_s=3600),
        consolidation=ConsolidationConfig(past_queries=99),
    )
    connection = aios_db.connect(path, config=config, **options)
    connection.store.database.texts.given = Words()
    return connection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.aios"


@pytest.fixture
def con(path: Path) -> Iterator[aios_db.Connection]:
    with connect(path) as connection:
        connection.remember([{"text": text, "user_id": "ada", "external_id": text[-1:]} for text in TEXTS])
        connection.remember([{"text": f"chess {number}", "source": "web"} for number in range(3)])
        connection.recall("tea", k=5)
        yield connection


@contextmanager
def beside(con: aios_db.Connection, happens: Callable[[], object], times: int = 3) -> Iterator[list[int]]:
    """Let something happen whenever the connection has just looked at the newest version."""
    store, done = con.store, []
    level, refresh = Snapshot.level, store.refresh

    def then(found: Any) -> Any:
        if len(done) < times and not store.lock._is_mine():
            done.append(1)
            happens()
        return found

    def levelled(snapshot: Snapshot) -> Any:
        return then(level(snapshot)) if snapshot.index is store.index else level(snapshot)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Snapshot, "level", levelled)
        patched.setattr(store, "refresh", lambda: then(refresh()))
        yield done


def ids_of(con: aios_db.Connection) -> list[str]:
    return [row[0] for row in con.execute("SELECT memory_id FROM memories ORDER BY memory_id").fetchall()]


READS: dict[str, Callable[[aios_db.Connection, list[str]], Any]] = {
    "get": lambda con, ids: [memory and memory.text for memory in con.get(ids[:3])],
    "get by name": lambda con, ids: con.get(external_id="2", user_id="ada").text,
    "select": lambda con, ids: con.execute("SELECT count(text) > 3 FROM memories").fetchall(),
    "links": lambda con, ids: con.execute("SELECT count(*) > 0 FROM association_links").fetchall(),
    "recall": lambda con, ids: con.recall("tea", k=1)[0].text[:3],
    "audit": lambda con, ids: con.audit(ids[2]).memory_id,
    "evict": lambda con, ids: con.evict(dry_run=True),
    "evict for good": lambda con, ids: con.evict(),
    "fold": lambda con, ids: con.fold(dry_run=True),
    "supersede": lambda con, ids: con.supersede(dry_run=True),
    "consolidate": lambda con, ids: len(con.consolidate(dry_run=True, min_cluster=3)),
    "rollback": lambda con, ids: len(con.rollback_source("web", dry_run=True).memory_ids),
    "remember by name": lambda con, ids: con.remember("tea", external_id="3", user_id="ada") == ids[3],
    "remember": lambda con, ids: con.remember(TEXTS[4], user_id="ada", external_id="4") == ids[4],
    "update": lambda con, ids: con.update(ids[2], text="a key"),
    "stats": lambda con, ids: con.store.stats().memories > 1,
}  # fmt: skip


@pytest.mark.parametrize("name", READS)
def test_what_another_process_erases_meanwhile_is_read_again(con, path, name):
    ids = ids_of(con)
    going = iter(ids[5:8])
    with connect(path) as other:

        def erase() -> None:
            other.erase(next(going))

        with beside(con, erase) as done:
            found = READS[name](con, ids)
        assert done
        with beside(con, lambda: None):
            if name in ("get", "get by name", "recall", "links", "audit"):
                assert found == READS[name](con, ids)
    assert con.execute("SELECT count(*) FROM memories").fetchall() == [(len(ids) - len(done),)]


def test_what_is_removed_while_the_index_catches_up_is_read_again(con, path, monkeypatch):
    ids = ids_of(con)
    with connect(path) as other:
        other.update(ids[0], tier="long")
        sync, going = KeepingUp.sync, iter(ids[5:8])

        def synced(self: KeepingUp, *tables: Any) -> None:
            if self is con.store.index._keeping_up and (gone := next(going, None)):
                other.erase(gone)
            sync(self, *tables)

        monkeypatch.setattr(KeepingUp, "sync", synced)
        con.store.index.sync = con.store.index._keeping_up.sync
        assert con.get(ids[0]).tier == "long"
    assert con.get(ids[5]) is None


@pytest.mark.parametrize("name", READS)
def test_what_another_thread_forgets_meanwhile_is_there_or_not(con, name):
    """Rows that the index finds are read of tables that still have them."""
    ids = ids_of(con)
    going = iter(ids[5:8])
    with beside(con, lambda: con.forget(next(going))):
        READS[name](con, ids)


def test_each_memory_is_read_under_its_own_id(con):
    ids = ids_of(con)
    with beside(con, lambda: con.forget(ids[0]), times=1):
        found = con.get(ids[:3])
    assert [each and each.memory_id for each in found] in ([None, *ids[1:3]], ids[:3])


def test_what_a_read_only_connection_would_undo_is_read_again(con, path):
    ids = ids_of(con)
    con.update(ids[0], text="a key")
    change = con.history()[0]
    with connect(path, read_only=True) as reader, beside(reader, con.optimize) as done:
        assert reader.undo(change, dry_run=True).updated == 1
    assert done


def test_who_is_erased_under_too_often_is_told_what_to_do(con, path, monkeypatch):
    monkeypatch.setattr(steady, "_TRIES", 1)
    ids = ids_of(con)
    with (
        connect(path) as other,
        beside(con, lambda: other.erase(ids[5]), times=1),
        pytest.raises(aios_db.OperationalError, match="run it again"),
    ):
        con.execute("SELECT max(text) FROM memories")


def test_a_file_that_is_lost_is_not_looked_for_again(con, path, monkeypatch):
    tries = []

    def lost(now: Any) -> None:
        tries.append(now)
        raise OSError("Not found: it")

    with pytest.raises(aios_db.OperationalError, match="Not found: it"):
        con.store.read(lost)
    assert len(tries) == 1
