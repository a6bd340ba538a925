"""What `doctor --deep` finds in earlier versions, and in the log of changes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import lance
import pytest

import aios_db
from aios_db.disk.durable import data_files

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "salvaging"))
from salvage_helpers import DAMAGES, connect, damage, row


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "agent.aios"
    kept = {"maintenance_delay_s": 3600, "keep_versions_s": 3600}
    with connect(path, **kept) as con:
        ids = con.remember([row(f"text {each}") for each in range(6)])
        con.forget(ids[:1])
        con.forget(ids[1:2])
        con.update(ids[2], text="another text", text_embedding=row("another text")["text_embedding"])
    assert aios_db.check(path).whole
    return path


def _only_earlier(table: Path, folder: str) -> Path:
    """Return a file that an earlier version names, and the newest does not."""
    newest = lance.dataset(table)
    named = {name for name, _ in data_files(newest)}
    for version in range(newest.version - 1, 0, -1):
        for name, _ in data_files(lance.dataset(table, version=version)):
            if name not in named and name.startswith(folder):
                return table / name
    raise AssertionError(folder)


@pytest.mark.parametrize("how", sorted(DAMAGES))
@pytest.mark.parametrize("table", ["memories.lance", "association_links.lance"])
def test_a_damaged_list_of_deleted_rows_of_an_earlier_version_is_named(
    database: Path, table: str, how: str
) -> None:
    damaged = _only_earlier(database / table, "_deletions")
    before = damaged.read_bytes()
    damage(damaged, how)
    faults = {each.where: each for each in aios_db.check(database).faults}
    if "flipped" not in how or faults:  # what is read as other rows, nothing can tell
        assert set(faults) == {str(damaged.relative_to(database))}
        assert "the newest version is whole" in str(faults[str(damaged.relative_to(database))])
    damaged.write_bytes(before)
    assert aios_db.check(database).whole


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: os.truncate(path, 0)])
def test_a_log_of_changes_that_is_gone_is_named_and_its_numbers_go_on(
    database: Path, lose: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    with connect(database) as con:
        last = con.history()[0].change_id
    lose(database / "changes.log")
    (fault,) = aios_db.check(database).faults
    assert fault.where == "changes.log"
    with connect(database) as con:
        con.remember([row("one more")])
        assert con.history()[0].change_id > last
    assert "can be neither listed nor undone" in caplog.text
    assert aios_db.check(database).whole


def test_a_changed_byte_in_the_log_of_changes_costs_one_of_them(database: Path) -> None:
    with connect(database) as con:
        before = [each.change_id for each in con.history()]
    log = database / "changes.log"
    content = bytearray(log.read_bytes())
    content[100] ^= 0xFF
    log.write_bytes(content)
    (fault,) = aios_db.check(database).faults
    assert fault.where == "changes.log" and "cannot be read in its bytes 24 to" in str(fault)
    with connect(database) as con:
        assert [each.change_id for each in con.history()] == before[:-1]
        con.undo(before[0])
