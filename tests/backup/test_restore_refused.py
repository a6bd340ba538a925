"""Nothing is restored of a damaged backup, nor over what is there."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from backup_helpers import SMALL, content, rows

from aios_db.backup import Target, backup, restore, verify
from aios_db.cli import main
from aios_db.memory_store import MemoryStore
from aios_db.schema.errors import OperationalError


@pytest.fixture
def target(tmp_path) -> Target:
    store = MemoryStore.open(tmp_path / "agent.aios", config=SMALL)
    ids = store.remember(rows([f"Ada says {number}" for number in range(30)], session_id="s"))
    store.optimize()  # the indices have rows
    store.forget(ids[10:12])
    store.close()
    backup(tmp_path / "agent.aios", tmp_path / "backups", config=SMALL)
    return Target(tmp_path / "backups")


def changed(path: Path) -> None:
    held = bytearray(path.read_bytes())
    held[len(held) // 2] ^= 1
    path.write_bytes(held)


def shortened(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


DAMAGES = {"changed": changed, "shortened": shortened, "removed": Path.unlink}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "kind", ["aios.json", "memories.lance/data", "memories.lance/_versions", "association_links.lance/data",
             "memories.lance/_deletions", "memories.lance/_indices"],
)  # fmt: skip
def test_a_damaged_file_is_named(target, tmp_path, damage, kind, capsys):
    files = target.read().files
    chosen = next(each for each in files if each.path.startswith(kind))
    # Files of equal content are one in the backup; of those the first is read.
    entry = next(each for each in files if each.sha256 == chosen.sha256)
    DAMAGES[damage](target.objects.path(entry))
    with pytest.raises(OperationalError, match=entry.path) as raised:
        restore(target.path, tmp_path / "again.aios", config=SMALL)
    assert str(target.objects.path(entry)) in str(raised.value)
    with pytest.raises(OperationalError, match=entry.path):
        verify(target.path)
    assert main(["backup", str(target.path), "--verify"]) == 1
    assert entry.path in capsys.readouterr().err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["agent.aios", "backups"]


@pytest.mark.parametrize("damage", ["changed", "shortened"])
def test_a_damaged_manifest_is_named_with_the_backups_that_are_left(target, tmp_path, damage):
    first = target.ids()[0]
    newest = backup(tmp_path / "agent.aios", target.path, config=SMALL).id
    manifest = target.path / "backups" / f"{newest}.json"
    DAMAGES[damage](manifest)
    with pytest.raises(OperationalError, match=f"{manifest}.* damaged.*{first}"):
        restore(target.path, tmp_path / "again.aios", config=SMALL)
    restore(target.path, tmp_path / "again.aios", backup_id=first, config=SMALL)
    assert content(tmp_path / "again.aios") == content(tmp_path / "agent.aios")
    with pytest.raises(OperationalError, match=str(manifest)):
        verify(target.path)
    # A backup goes on being made, and removes nothing while it cannot tell what is needed.
    assert backup(tmp_path / "agent.aios", target.path, keep=2, config=SMALL).removed == ()


def test_the_next_backup_brings_a_missing_file_back(target, tmp_path):
    entry = next(each for each in target.read().files if each.path.startswith("memories.lance/data"))
    target.objects.path(entry).unlink()
    assert backup(tmp_path / "agent.aios", target.path, config=SMALL).copied_files == 1
    assert len(verify(target.path)) == 2


@pytest.mark.parametrize("there", ["database", "file", "folder", "link"])
def test_what_is_there_is_not_overwritten(target, tmp_path, there):
    place = tmp_path / "here"
    if there == "database":
        place = tmp_path / "agent.aios"
    elif there == "file":
        place.write_text("mine")
    elif there == "folder":
        place.mkdir()
        (place / "mine").write_text("mine")
    else:
        place.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OperationalError, match="there already"):
        restore(target.path, place, config=SMALL)


def test_an_empty_directory_is_filled(target, tmp_path):
    (tmp_path / "again.aios").mkdir()
    restore(target.path, tmp_path / "again.aios", config=SMALL)
    assert content(tmp_path / "again.aios") == content(tmp_path / "agent.aios")


def test_a_backup_that_is_not_there_is_refused_with_those_that_are(target, tmp_path):
    with pytest.raises(OperationalError, match=f"no backup 'x'; there are {target.ids()[0]}"):
        restore(target.path, tmp_path / "again.aios", backup_id="x", config=SMALL)


def test_a_manifest_cannot_write_outside_of_the_database(target, tmp_path):
    manifest = target.read()
    bad = replace(manifest, id="9", files=(*manifest.files, replace(manifest.files[0], path="../evil")))
    target.add(bad)
    with pytest.raises(OperationalError, match="outside of the database"):
        restore(target.path, tmp_path / "again.aios", config=SMALL)
    assert not (tmp_path / "evil").exists()
