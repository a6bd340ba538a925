"""A directory of backups belongs to one database, wherever that lies."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from backup_helpers import SMALL, content, rows

from aios_db.backup import Target, backup, restore
from aios_db.memory_store import MemoryStore
from aios_db.schema.errors import OperationalError


def make(path: Path, text: str) -> Path:
    store = MemoryStore.open(path, config=SMALL)
    store.remember(rows([text]))
    store.close()
    return path


def without_identity(database: Path) -> None:
    """Make a database look as an older aios_db made it."""
    marker = json.loads((database / "aios.json").read_text())
    del marker["database_id"]
    (database / "aios.json").write_text(json.dumps(marker))


def as_before(target: Target) -> None:
    """Make backups look as an older aios_db made them."""
    for each in target.ids():
        target.add(replace(target.read(each), database_id=None))


def identity(database: Path) -> str:
    return str(json.loads((database / "aios.json").read_text())["database_id"])


@pytest.mark.parametrize("keep", [1, 7])
@pytest.mark.parametrize("old", ["neither", "backups", "first", "both"])
def test_the_target_of_another_database_is_refused_and_kept(tmp_path, keep, old):
    first, second = make(tmp_path / "a.aios", "Ada"), make(tmp_path / "b.aios", "Bo")
    target = Target(tmp_path / "kept")
    made = backup(first, target.path, config=SMALL).id
    if old in ("backups", "both"):
        as_before(target)
    if old in ("first", "both"):
        without_identity(second)
    files = sorted(target.objects.root.rglob("*"))
    with pytest.raises(OperationalError, match=f"another database, that of {first} .*directory of its own"):
        backup(second, target.path, keep=keep, config=SMALL)
    assert target.ids() == [made]
    assert sorted(target.objects.root.rglob("*")) == files
    restore(target.path, tmp_path / "again.aios", config=SMALL)
    assert content(tmp_path / "again.aios") == content(first)


def test_a_new_database_at_the_same_path_is_another(tmp_path):
    database = make(tmp_path / "a.aios", "Ada")
    backup(database, tmp_path / "kept", config=SMALL)
    shutil.rmtree(database)
    make(database, "Bo")
    with pytest.raises(OperationalError, match="another database"):
        backup(database, tmp_path / "kept", keep=1, config=SMALL)


@pytest.mark.parametrize("old", [False, True])
def test_a_database_that_moved_or_was_restored_is_the_same(tmp_path, old):
    database, target = make(tmp_path / "a.aios", "Ada"), Target(tmp_path / "kept")
    if old:
        without_identity(database)
    backup(database, target.path, config=SMALL)
    if old:
        without_identity(database)
        as_before(target)
    database.rename(tmp_path / "moved.aios")
    backup(tmp_path / "moved.aios", target.path, config=SMALL)
    restore(target.path, tmp_path / "restored.aios", backup_id=target.ids()[0], config=SMALL)
    make(tmp_path / "restored.aios", "Bo")
    if old:
        without_identity(tmp_path / "restored.aios")
    backup(tmp_path / "restored.aios", target.path, config=SMALL)
    assert len(target.ids()) == 3
    assert identity(tmp_path / "restored.aios") == identity(tmp_path / "moved.aios")
    assert target.read().database_id == identity(tmp_path / "moved.aios")
    assert content(tmp_path / "moved.aios")["memories"][0]["text"] == "Ada"


def test_a_mixed_target_of_before_is_restored_by_id(tmp_path):
    target = Target(tmp_path / "kept")
    ids = {}
    for name in ("a", "b"):
        ids[name] = backup(make(tmp_path / f"{name}.aios", name), tmp_path / f"kept_{name}", config=SMALL).id
        shutil.copytree(tmp_path / f"kept_{name}", target.path, dirs_exist_ok=True)
    as_before(target)
    with pytest.raises(
        OperationalError, match=f"several databases: {ids['b']} of .*{ids['a']} of .* by its id"
    ):
        restore(target.path, tmp_path / "again.aios", config=SMALL)
    restore(target.path, tmp_path / "again.aios", backup_id=ids["a"], config=SMALL)
    assert content(tmp_path / "again.aios") == content(tmp_path / "a.aios")
    with pytest.raises(OperationalError, match="another database"):
        backup(tmp_path / "b.aios", target.path, keep=1, config=SMALL)
    assert target.ids() == [ids["a"], ids["b"]]


def test_two_new_databases_have_two_identities(tmp_path):
    one, two = (identity(make(tmp_path / f"{name}.aios", name)) for name in ("a", "b"))
    assert one != two
    assert len(one) == 32
