"""A backup is one whole state of its database; a second one copies what is new."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path

import lance
import pytest
from backup_helpers import SMALL, content, rows
from filelock import FileLock

from aios_db.backup import Target, backup, manifest, restore, verify
from aios_db.checking import check
from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, StorageConfig
from aios_db.schema.errors import OperationalError, ProgrammingError


@pytest.fixture
def store(tmp_path):
    store = MemoryStore.open(tmp_path / "agent.aios", config=SMALL)
    ids = store.remember(rows([f"Ada says {number}" for number in range(30)], session_id="s"))
    store.forget(ids[:3])
    store.touch(ids[5:8])
    store.flush()
    yield store
    store.close()


def test_a_restored_database_is_what_the_backup_was_made_of(store, tmp_path):
    before = content(store.path)
    (store.path / "import_sources.jsonl").write_text('{"name": "a.md"}\n')
    (store.path / "imports").mkdir()
    (store.path / "imports" / "0.jsonl").write_text('{"done": 1}\n')
    made = backup(store.path, tmp_path / "backups", config=SMALL)
    store.remember(rows(["Ada says more"]))  # after it

    restored = restore(tmp_path / "backups", tmp_path / "again.aios", config=SMALL)

    assert made.tables["memories"].rows == 27
    assert check(tmp_path / "again.aios").whole
    assert restored.tables == made.tables
    assert (restored.files, restored.bytes) == (made.files, made.bytes)
    assert content(tmp_path / "again.aios") == before
    assert [each["access_count"] for each in before["memories"]].count(1) == 3
    for name in ("import_sources.jsonl", "imports/0.jsonl"):
        assert (tmp_path / "again.aios" / name).read_text() == (store.path / name).read_text()
    with_more = MemoryStore.open(tmp_path / "again.aios", config=SMALL)
    with_more.remember(rows(["Bo answers"], session_id="s"))
    with_more.optimize()
    assert (with_more.stats().memories, with_more.repair().dangling_links) == (28, 0)
    with_more.close()


def test_what_a_writer_had_yet_to_write_is_made_up_for(store, tmp_path):
    patient = replace(SMALL, storage=replace(SMALL.storage, maintenance_delay_s=3600))
    writer = MemoryStore.open(store.path, config=patient)
    ids = writer.remember(rows([f"Bo answers {number}" for number in range(5)], session_id="t"))
    lance.dataset(store.path / "memories.lance").delete(f"memory_id = '{ids[0]}'")  # its links stay
    backup(store.path, tmp_path / "backups", config=SMALL)
    assert not check(store.path).whole
    restore(tmp_path / "backups", tmp_path / "again.aios", config=SMALL)
    assert check(tmp_path / "again.aios").faults == ()
    again = MemoryStore.open(tmp_path / "again.aios", config=SMALL)
    assert again.stats().memories == 31
    report = again.repair()
    assert (report.dangling_links, report.link_columns) == (0, 0)
    again.close()
    writer.close()


def test_a_second_backup_copies_only_what_is_new(store, tmp_path):
    first = backup(store.path, tmp_path / "backups", config=SMALL)
    same = backup(store.path, tmp_path / "backups", config=SMALL)
    store.remember(rows(["Ada says more"]))
    third = backup(store.path, tmp_path / "backups", config=SMALL)
    contents = {each.sha256 for each in Target(tmp_path / "backups").read(first.id).files}
    assert first.copied_files == len(contents)  # empty tables have files of equal content
    assert same.copied_files == 0
    # Of each of two tables a file of rows, a manifest and a transaction; changes.log and links.unshown.
    assert third.copied_files == 8
    assert third.files == first.files + 2
    assert Target(tmp_path / "backups").ids() == [first.id, same.id, third.id]
    assert len(verify(tmp_path / "backups")) == 3


def test_an_older_backup_can_be_chosen(store, tmp_path):
    first = backup(store.path, tmp_path / "backups", config=SMALL)
    store.remember(rows(["Ada says more"]))
    backup(store.path, tmp_path / "backups", config=SMALL)
    restore(tmp_path / "backups", tmp_path / "old.aios", backup_id=first.id, config=SMALL)
    restore(tmp_path / "backups", tmp_path / "new.aios", config=SMALL)
    assert len(content(tmp_path / "old.aios")["memories"]) == 27
    assert len(content(tmp_path / "new.aios")["memories"]) == 28


def test_what_no_kept_backup_needs_is_removed(store, tmp_path):
    made = [backup(store.path, tmp_path / "backups", config=SMALL)]
    for number in range(3):
        store.remember(rows([f"Bo says {number}"]))
        store.optimize()  # all rows are in new files
        made.append(backup(store.path, tmp_path / "backups", keep=2, config=SMALL))
    target = Target(tmp_path / "backups")
    assert target.ids() == [made[-2].id, made[-1].id]
    assert [each.removed for each in made] == [(), (), (made[0].id,), (made[1].id,)]
    assert made[-1].removed_bytes > 0
    named = {entry.sha256 for each in target.ids() for entry in target.read(each).entries()}
    assert {path.name for path in target.objects.root.rglob("*") if path.is_file()} == named
    assert content(tmp_path / "agent.aios") == _restored(tmp_path, made[-1].id)
    assert len(_restored(tmp_path, made[-2].id)["memories"]) == 29


def test_a_backup_is_the_newest_whatever_the_clock_says(store, tmp_path, monkeypatch):
    first = backup(store.path, tmp_path / "backups", config=SMALL)
    assert first.id[:10] == f"{datetime.now(timezone.utc):%Y-%m-%d}"
    store.remember(rows(["Ada says more"]))
    monkeypatch.setattr(manifest, "datetime", _HourAgo)
    second = backup(store.path, tmp_path / "backups", config=SMALL)
    assert restore(tmp_path / "backups", tmp_path / "new.aios", config=SMALL).id == second.id

    third = backup(store.path, tmp_path / "backups", keep=1, config=SMALL)

    assert third.removed == (first.id, second.id)
    assert Target(tmp_path / "backups").ids() == [third.id]
    assert third.tables["memories"].rows == first.tables["memories"].rows + 1


class _HourAgo(datetime):
    """The clock after it was set back."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) - timedelta(hours=1)


def _restored(tmp_path: Path, backup_id: str) -> object:
    path = tmp_path / f"{backup_id}.aios"
    restore(tmp_path / "backups", path, backup_id=backup_id, config=SMALL)
    return content(path)


def test_a_restored_database_is_backed_up_to_the_same_place(store, tmp_path):
    backup(store.path, tmp_path / "backups", config=SMALL)
    store.remember(rows(["Ada says one thing"]))  # version numbers are given again after this
    backup(store.path, tmp_path / "backups", config=SMALL)
    first = Target(tmp_path / "backups").ids()[0]
    restore(tmp_path / "backups", tmp_path / "back.aios", backup_id=first, config=SMALL)
    other = MemoryStore.open(tmp_path / "back.aios", config=SMALL)
    other.remember(rows(["Ada says another thing"]))
    other.close()
    last = backup(tmp_path / "back.aios", tmp_path / "backups", config=SMALL)
    assert content(tmp_path / "back.aios") == _restored(tmp_path, last.id)


def test_nobody_else_can_read_a_backup(store, tmp_path):
    backup(store.path, tmp_path / "backups", config=SMALL)
    restore(tmp_path / "backups", tmp_path / "again.aios", config=SMALL)
    for root in (tmp_path / "backups", tmp_path / "again.aios"):
        made = [root, *(each for each in root.rglob("*") if each.is_file() and each.name != "backup.lock")]
        assert {stat.S_IMODE(each.stat().st_mode) for each in made} == {0o600, 0o700}


@pytest.mark.parametrize("target", ["agent.aios/backups", "agent.aios", "file", "folder"])
def test_targets_that_are_refused(store, tmp_path, target):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    with pytest.raises((OperationalError, ProgrammingError), match=str(tmp_path / target)):
        backup(store.path, tmp_path / target, config=SMALL)
    assert not (store.path / "backups").exists()
    assert [each.name for each in (tmp_path / "folder").iterdir()] == ["mine"]


def test_backups_of_nothing_are_refused(tmp_path):
    with pytest.raises(OperationalError, match="cannot read"):
        backup(tmp_path / "no.aios", tmp_path / "backups")
    assert not (tmp_path / "backups").exists()
    with pytest.raises(OperationalError, match="no backups"):
        restore(tmp_path, tmp_path / "again.aios")


def test_keeping_none_is_refused(store, tmp_path):
    with pytest.raises(ProgrammingError, match="keep is 0"):
        backup(store.path, tmp_path / "backups", keep=0)


def test_a_database_of_a_read_only_directory_is_backed_up(store, tmp_path, monkeypatch):
    # As root every directory is writable; what the function asks is answered here as for others.
    monkeypatch.setattr("aios_db.backup.pinning.os.access", lambda path, mode: False)
    (store.path / "compact.lock").unlink(missing_ok=True)
    backup(store.path, tmp_path / "backups", config=SMALL)
    assert not (store.path / "compact.lock").exists()
    restore(tmp_path / "backups", tmp_path / "again.aios", config=SMALL)
    assert content(tmp_path / "again.aios") == content(store.path)


def test_a_compaction_of_another_process_is_not_waited_for_for_ever(store, tmp_path):
    impatient = Config(storage=StorageConfig(dimension=8, lock_timeout_s=0.1))
    with FileLock(store.path / "compact.lock"):
        with pytest.raises(OperationalError, match="compacting"):
            backup(store.path, tmp_path / "backups", config=impatient)
        with pytest.raises(OperationalError, match="no finished backup"):
            restore(tmp_path / "backups", tmp_path / "again.aios")


def test_the_manifest_says_what_the_backup_is(store, tmp_path):
    made = backup(store.path, tmp_path / "backups", config=SMALL)
    said = json.loads((tmp_path / "backups" / "backups" / f"{made.id}.json").read_text())
    assert said["database"] == str(store.path)
    assert said["tables"]["memories"] == {"version": store.memories.version, "rows": 27}
    assert said["models"] == []
    assert {each["path"].split("/")[0] for each in said["files"]} >= {"aios.json", "recalls.log"}
