"""A new backup does not build on files of the target that have rotted since."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from backup_helpers import SMALL, content, rows

from aios_db.backup import Target, backup, examine, making, restore, verify
from aios_db.backup.objects import Entry
from aios_db.cli import main
from aios_db.memory_store import MemoryStore
from aios_db.schema.errors import OperationalError


@pytest.fixture
def database(tmp_path: Path) -> Path:
    store = MemoryStore.open(tmp_path / "agent.aios", config=SMALL)
    for number in range(3):
        store.remember(rows([f"Ada says {number} {each}" for each in range(20)], session_id="s"))
    store.close()
    return tmp_path / "agent.aios"


def write(database: Path, text: str) -> None:
    store = MemoryStore.open(database, config=SMALL)
    store.remember(rows([text]))
    store.close()


def rot(path: Path) -> None:
    held = bytearray(path.read_bytes())
    held[len(held) // 2] ^= 1
    path.write_bytes(held)


def tables_files(target: Target) -> list[Entry]:
    """Return files that a later backup uses again, each content once."""
    found = {each.sha256: each for each in target.read().files if "/data/" in each.path}
    return list(found.values())


@pytest.mark.parametrize("damage", ["changed", "shorter", "removed"])
def test_a_damaged_file_is_copied_anew_and_older_backups_are_whole_again(
    database: Path, tmp_path: Path, damage: str
) -> None:
    target = Target(tmp_path / "kept")
    backup(database, target.path, config=SMALL)
    entry = tables_files(target)[0]  # now: a later file may come before it
    chosen = target.objects.path(entry)
    if damage == "changed":
        rot(chosen)
    elif damage == "shorter":
        os.truncate(chosen, 10)
    else:
        chosen.unlink()
    write(database, "later")
    report = backup(database, target.path, config=SMALL)
    assert report.mended == ((entry.path,) if damage != "removed" else ())
    assert len(verify(target.path)) == 2
    restore(target.path, tmp_path / "again.aios", config=SMALL)
    assert content(tmp_path / "again.aios") == content(database)


def test_what_was_not_read_for_longest_is_read_first_and_no_more_than_the_bound(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(tmp_path / "kept")
    backup(database, target.path, config=SMALL)
    files = [each for each in target.read().files if ".lance/" in each.path]
    monkeypatch.setattr(making, "CHECKED_BYTES", max(each.size for each in files))
    rotten = target.objects.path(max(tables_files(target), key=lambda each: each.size))
    rot(rotten)
    os.utime(rotten)  # it was read last
    mended: list[str] = []
    for _ in range(20):
        report = backup(database, target.path, config=SMALL)
        assert 0 < report.checked_bytes <= making.CHECKED_BYTES
        mended += report.mended
        if mended:
            break
    assert len(mended) == 1
    verify(target.path)


def test_rot_in_the_database_is_not_what_a_backup_is_mended_with_in_silence(
    database: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = Target(tmp_path / "kept")
    first = backup(database, target.path, config=SMALL).id
    entry = tables_files(target)[0]
    rot(database / entry.path)
    # The whole file of the backup is used, and the damaged one never read.
    assert backup(database, target.path, config=SMALL).mended == ()
    assert len(verify(target.path)) == 2
    rot(target.objects.path(entry))
    with caplog.at_level(logging.WARNING, "aios_db"):
        backup(database, target.path, config=SMALL)
    assert f"{database / entry.path} is not what it was" in caplog.text
    assert [bool(each.faults) for each in examine(target.path)] == [True, True, False]
    with pytest.raises(OperationalError, match="damaged in the backup"):
        restore(target.path, tmp_path / "again.aios", backup_id=first, config=SMALL)


def test_all_backups_are_looked_at_and_the_whole_ones_named(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = Target(tmp_path / "kept")
    ids = []
    for number in range(3):
        ids.append(backup(database, target.path, config=SMALL).id)
        write(database, f"later {number}")
    only = {each.sha256: each for each in target.read(ids[2]).files}
    for each in (*target.read(ids[0]).files, *target.read(ids[1]).files):
        only.pop(each.sha256, None)
    rotten = [each for each in only.values() if each.path.startswith("memories.lance")]
    assert len(rotten) > 1
    for each in rotten:
        rot(target.objects.path(each))
    (target.path / "backups" / f"{ids[0]}.json").write_text("{")

    assert main(["backup", str(target.path), "--verify"]) == 1
    said = capsys.readouterr()
    assert [line.split(":")[0] for line in said.out.splitlines()] == [f"{ids[1]} whole"]
    for each in rotten:
        assert f"{ids[2]} damaged: {each.path}" in said.err
    assert f"{ids[0]} damaged" in said.err
    assert main(["backup", str(target.path), "--verify", "--json"]) == 1
    assert [each["whole"] for each in json.loads(capsys.readouterr().out)] == [False, True, False]
    with pytest.raises(OperationalError, match=f"damaged of 3 backups: .*whole: {ids[1]}$"):
        verify(target.path)
    assert [each.id for each in verify(target.path, ids[1])] == [ids[1]]
