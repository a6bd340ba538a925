"""The column of links follows the links, whoever wrote these and was ended before it was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from store_helpers import DIMENSION, memory_rows

import aios_db
from aios_db.config import Config
from aios_db.disk.durable import manifest
from aios_db.memory_store import MemoryStore
from aios_db.schema.config import StorageConfig
from aios_db.schema.database import UNSHOWN
from aios_db.schema.errors import OperationalError
from aios_db.store.strongest import strongest_links

Open = Callable[..., MemoryStore]
LATER = Config(storage=StorageConfig(dimension=DIMENSION, maintenance_delay_s=3600))
TEXTS = ["the red lamp", "the red lamp again", "green tea", "tea at five"]


def _is_shown(store: MemoryStore) -> bool:
    store.refresh()
    stored = store.memories.to_table(columns=["memory_id", "association_links"]).combine_chunks()
    wanted = strongest_links(store.links, stored["memory_id"].chunk(0)).to_pylist()
    return bool(stored["association_links"].to_pylist() == wanted)


def _ended(open_store: Open, path: str) -> list[str]:
    """Write memories and links, and end without what maintenance does later; return the memories."""
    store = open_store(path, config=LATER)
    ids = store.remember(memory_rows(TEXTS, session_id="s"))
    store.flush()
    store.link(pa.table({"source_id": ids[:1], "target_id": ids[2:3]}))
    store.unlink(pa.table({"source_id": ids[:1], "target_id": ids[1:2], "kind": ["similar"]}))
    store.forget(ids[3:])
    store.abandon()
    return ids


def test_who_opens_the_database_writes_the_column(open_store: Open) -> None:
    _ended(open_store, "a.aios")
    other = open_store("a.aios", config=LATER)
    assert not _is_shown(other)
    other.maintain()
    assert _is_shown(other)
    version = other.memories.version
    other.maintain()
    assert other.memories.version == version, "once"


def test_maintenance_begins_when_the_database_is_opened(open_store: Open) -> None:
    _ended(open_store, "a.aios")
    begun = open_store(
        "a.aios", config=Config(storage=StorageConfig(dimension=DIMENSION, maintenance_delay_s=0))
    )
    begun.parts.upkeep.close()  # what the thread has not done yet
    begun._maintenance.stop()
    assert _is_shown(begun)


def test_who_was_open_already_writes_the_column_with_its_own(open_store: Open) -> None:
    other = open_store("a.aios", config=LATER)
    ids = _ended(open_store, "a.aios")
    other.update(pa.table({"memory_id": ids[1:2], "session_id": ["other"]}))
    other.close()
    assert _is_shown(open_store("a.aios", config=LATER))


def test_of_two_that_write_each_does_it_for_both(open_store: Open) -> None:
    one, two = (open_store("a.aios", config=LATER) for _ in range(2))
    for number in range(4):
        for store in (one, two):
            store.remember(memory_rows([f"the lamp {number} of {id(store)}"], session_id="s"))
    two.flush()
    assert _is_shown(two)
    version = two.memories.version
    one.flush()
    one.refresh()
    assert one.memories.version == version, "it is written already"
    one.remember(memory_rows(["the lamp is green"], session_id="s"))
    one.flush()
    assert _is_shown(one)


def test_a_note_that_is_damaged_is_made_up_for(open_store: Open) -> None:
    _ended(open_store, "a.aios")
    store = open_store("a.aios", config=LATER)
    note = store.path / UNSHOWN
    note.write_bytes(b"?" + note.read_bytes())
    store.maintain()
    assert _is_shown(store)


def test_a_directory_in_the_place_of_the_note_is_named(open_store: Open, tmp_path: Path) -> None:
    _ended(open_store, "a.aios")
    note = tmp_path / "a.aios" / UNSHOWN
    note.unlink()
    note.mkdir()
    assert [fault.where for fault in aios_db.check(tmp_path / "a.aios").faults] == [UNSHOWN]
    store = open_store("a.aios", config=LATER)
    store.remember(memory_rows(["the lamp is green"], session_id="s"))
    with pytest.raises(OperationalError, match=f"{note} is a directory: delete it"):
        store.maintain()
    assert _is_shown(store)
    note.rmdir()
    store.remember(memory_rows(["the lamp is blue"], session_id="s"))
    store.maintain()
    assert _is_shown(store)
    assert aios_db.check(store.path).whole


@pytest.mark.parametrize("what", ["remember", "recall"])
def test_the_note_is_on_the_disk_before_the_links_are(
    open_store: Open, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    store = open_store("a.aios", config=LATER)
    ids = store.remember(memory_rows(TEXTS))
    store.flush()
    forced: list[Path] = []
    monkeypatch.setattr("aios_db.store.unshown.force_file", forced.append)
    monkeypatch.setattr("aios_db.disk.durable.force_file", forced.append)
    if what == "remember":
        store.remember(memory_rows(TEXTS[:2], session_id="s"))
    else:
        store.touch([ids[0], ids[3]])
        store.parts.deferring.write_pending(everything=True)
    links = forced.index(Path(store.links.uri) / "_versions")
    assert (store.path / UNSHOWN) in forced[:links]


def test_where_the_version_is_kept_no_longer_all_are_compared(open_store: Open) -> None:
    _ended(open_store, "a.aios")
    store = open_store("a.aios", config=LATER)
    for version in range(1, store.links.version):
        (Path(store.links.uri) / manifest(version)).unlink()
    store.maintain()
    assert _is_shown(store)


def test_doctor_does_not_take_what_is_yet_to_be_written_for_damage(open_store: Open, tmp_path: Path) -> None:
    _ended(open_store, "a.aios")
    assert aios_db.check(tmp_path / "a.aios").whole
    store = open_store("a.aios", config=LATER)
    store.maintain()
    (store.path / UNSHOWN).unlink()
    assert aios_db.check(tmp_path / "a.aios").whole


def test_a_backup_says_what_is_yet_to_be_written(open_store: Open, tmp_path: Path) -> None:
    from aios_db.backup import backup, restore

    _ended(open_store, "a.aios")
    backup(tmp_path / "a.aios", tmp_path / "backups")
    restore(tmp_path / "backups", tmp_path / "b.aios")
    store = open_store("b.aios", config=LATER)
    store.maintain()
    assert _is_shown(store)
