"""A database on a full disk is saved to another one, though what is derived cannot be written first."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import aios_db

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "salvaging"))
from salvage_helpers import connect, row


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("what", ["write_column", "recalls"])
def test_what_has_just_been_written_is_exported_and_backed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    with connect(tmp_path / "agent.aios", maintenance_delay_s=3600) as con:
        ids = con.remember([row(f"fact {each}") for each in range(5)])
        con.link(ids[0], ids[4])
        if what == "recalls":
            con.store.touch(ids[:2])
            monkeypatch.setattr(con.store.recalls, "flush", full)
        else:
            monkeypatch.setattr("aios_db.store.deferring.write_column", full)
        with caplog.at_level(logging.WARNING, "aios_db"):
            exported = con.export(tmp_path / "exported")
            saved = con.backup(tmp_path / "kept")
        assert (exported.memories, saved.tables["memories"].rows) == (5, 5)
        assert exported.links == saved.tables["association_links"].rows > 0
        assert "free some space" in caplog.text
        monkeypatch.undo()  # there is room again, and what waited is written
        assert con.export(tmp_path / "later").links == exported.links
    with connect(tmp_path / "agent.aios") as con:
        assert con.store.repair().link_columns == 0
    aios_db.restore(tmp_path / "kept", tmp_path / "restored.aios")
    with connect(tmp_path / "restored.aios") as con:
        assert con.store.stats().memories == 5


def test_a_backup_that_is_broken_off_gives_its_space_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def size() -> int:
        return sum(each.stat().st_size for each in (tmp_path / "kept").rglob("*") if each.is_file())

    with connect(tmp_path / "agent.aios") as con:
        con.remember([row(f"fact {each}") for each in range(5)])
        first = con.backup(tmp_path / "kept")
        before = size()
        con.remember([row(f"another {each}") for each in range(5)])
        for place in ("making.check_counts", "making.Target.add"):
            monkeypatch.setattr(f"aios_db.backup.{place}", full)
            with pytest.raises(aios_db.OperationalError, match="No space left on device; free some space"):
                con.backup(tmp_path / "kept")
            assert size() == before
            monkeypatch.undo()
        second = con.backup(tmp_path / "kept")
    for number, each in enumerate((first, second), start=1):
        restored = aios_db.restore(tmp_path / "kept", tmp_path / f"{number}.aios", backup_id=each.id)
        assert restored.tables["memories"].rows == 5 * number


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="a disk is mounted by root")
def test_a_disk_without_a_byte_left(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with connect(disk / "agent.aios", maintenance_delay_s=3600) as con:
            con.remember([row(f"fact {each}") for each in range(5)])
            with (disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError):
                while True:
                    filler.write(bytes(4096))
            assert con.export(tmp_path / "exported").memories == 5
            assert con.backup(tmp_path / "kept").tables["memories"].rows == 5
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
