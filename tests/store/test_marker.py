"""`aios.json` lost, torn or flipped: its copy is read, and `repair` makes it anew."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from store_helpers import DIMENSION, memory_rows

import aios_db
from aios_db.backup import backup, restore
from aios_db.memory_store import MemoryStore
from aios_db.migrations.database import applied, migrate
from aios_db.schema.config import Config, StorageConfig
from aios_db.schema.database import FORMAT_VERSION
from aios_db.schema.errors import OperationalError

Open = Callable[..., MemoryStore]
SMALL = Config(storage=StorageConfig(dimension=DIMENSION))
LOST: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "zeroed": lambda path: path.write_bytes(bytes(80)),
    "no text": lambda path: path.write_bytes(b"\xff" + path.read_bytes()[1:]),
    "a list": lambda path: path.write_bytes(b"[]"),
}


@pytest.fixture
def database(open_store: Open) -> Path:
    store = open_store()
    store.remember(memory_rows(["kept"]))
    store.close()
    assert (store.path / "aios.json").read_bytes() == (store.path / "aios.json.bak").read_bytes()
    return store.path


def said(database: Path, name: str = "aios.json") -> dict[str, object]:
    found: dict[str, object] = json.loads((database / name).read_text())
    return found


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("how", LOST)
def test_the_copy_is_read_where_it_is_lost(
    database: Path, open_store: Open, caplog: pytest.LogCaptureFixture, how: str, read_only: bool
) -> None:
    before = said(database)
    LOST[how](database / "aios.json")
    with caplog.at_level(logging.WARNING, "aios_db"):
        store = open_store(read_only=read_only)
    assert store.memories.count_rows() == 1
    assert f"aios repair --db {database}" in caplog.text
    store.close()
    repaired = aios_db.repair(database, config=SMALL)
    assert repaired.marker == "aios.json, of its copy and the tables"
    assert said(database) == before
    assert aios_db.repair(database, config=SMALL).marker is None


@pytest.mark.parametrize("how", LOST)
def test_without_a_copy_the_error_names_what_makes_it_anew(
    database: Path, open_store: Open, how: str
) -> None:
    LOST[how](database / "aios.json")
    (database / "aios.json.bak").unlink()
    with pytest.raises(OperationalError, match=rf"aios\.json .*aios repair --db {database} makes it anew"):
        open_store(read_only=True)
    assert aios_db.repair(database, config=SMALL).marker == "aios.json, of the tables"
    marker = said(database)
    assert marker["dimension"] == DIMENSION
    assert open_store().memories.count_rows() == 1


def test_a_flipped_digit_of_the_dimension_is_noticed_and_mended(database: Path, open_store: Open) -> None:
    path = database / "aios.json"
    path.write_text(path.read_text().replace(f": {DIMENSION}", f": {DIMENSION + 2}"))
    with pytest.raises(OperationalError, match=rf"aios\.json is damaged.*{DIMENSION}.*aios repair"):
        open_store()
    aios_db.repair(database, config=SMALL)
    assert said(database) == said(database, "aios.json.bak")
    assert open_store().dimension == DIMENSION


@pytest.mark.parametrize("version", [3, 5])
def test_a_flipped_format_is_mended_by_what_the_tables_and_the_copy_say(
    database: Path, open_store: Open, version: int
) -> None:
    path = database / "aios.json"
    right = said(database)
    path.write_text(json.dumps({**right, "format_version": int(str(right["format_version"])) + version - 4}))
    with pytest.raises((OperationalError, aios_db.SchemaVersionError), match="format"):
        open_store()
    aios_db.repair(database, config=SMALL)
    assert said(database) == right


@pytest.mark.parametrize("copied", [True, False])
@pytest.mark.parametrize("version", [6, 7])
def test_a_database_that_is_to_be_migrated_stays_so(
    database: Path, open_store: Open, version: int, copied: bool
) -> None:
    before = {**said(database), "format_version": version}
    for name in ("aios.json", "aios.json.bak"):
        (database / name).write_text(json.dumps(before))
    if not copied:
        (database / "aios.json.bak").unlink()
    with pytest.raises(OperationalError, match=f"has format {version}.*aios migrate"):
        aios_db.repair(database, config=SMALL)
    assert said(database) == before
    migrate(database)
    assert [each.number for each in applied(database)] == list(range(version + 1, FORMAT_VERSION + 1))
    assert open_store().memories.count_rows() == 1


def test_databases_of_before_get_a_copy_when_they_are_opened_for_writing(
    database: Path, open_store: Open
) -> None:
    (database / "aios.json.bak").unlink()
    open_store(read_only=True)
    assert not (database / "aios.json.bak").exists()
    open_store()
    assert said(database, "aios.json.bak") == said(database)


def test_a_backup_of_a_database_that_lost_it_has_one(database: Path, tmp_path: Path) -> None:
    before = said(database)
    (database / "aios.json").unlink()
    backup(database, tmp_path / "kept", config=SMALL)
    restore(tmp_path / "kept", tmp_path / "again.aios", config=SMALL)
    assert said(tmp_path / "again.aios") == before


def test_nothing_is_made_where_no_database_was(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(OperationalError, match="no aios_db database"):
        aios_db.repair(tmp_path / "photos")
    assert list((tmp_path / "photos").iterdir()) == []
