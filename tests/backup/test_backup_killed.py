"""A backup that was killed anywhere is none; the next one is whole."""

from __future__ import annotations

import signal

import pytest
from backup_helpers import SMALL, content, rows, start

from aios_db.backup import Target, backup, restore, verify
from aios_db.memory_store import MemoryStore

KILLS = 10


@pytest.mark.slow
@pytest.mark.faults
def test_a_killed_backup_is_none(tmp_path):
    path = tmp_path / "agent.aios"
    store = MemoryStore.open(path, config=SMALL)
    for number in range(3):
        store.remember(rows([f"Ada says {number}"], session_id="s"))
    out, err = start("killed_backup.py", path, tmp_path / "counted", 0).communicate(timeout=100)
    forced = int(out)
    assert forced > KILLS, err
    for kill in range(KILLS):
        target = Target(tmp_path / f"backups {kill}")
        if kill % 2:  # there was one before; each of its files may be half replaced
            backup(path, target.path, config=SMALL)
            store.remember(rows([f"Bo says {kill}", f"Cy says {kill}"]))
        before = target.ids() if kill % 2 else []
        after = 1 + kill * (forced - 1) // KILLS if kill % 2 == 0 else 1 + kill // 2
        killed = start("killed_backup.py", path, target.path, after)
        _, err = killed.communicate(timeout=100)
        assert killed.returncode == -signal.SIGKILL, err
        assert (target.ids() if (target.path / "aios-backup.json").exists() else []) == before
        store.flush()
        made = backup(path, target.path, keep=1, config=SMALL)
        assert [each.id for each in verify(target.path)] == [made.id]
        kept = {entry.sha256 for entry in target.read().entries()}
        assert {each.name for each in target.objects.root.rglob("*") if each.is_file()} == kept
    restore(target.path, tmp_path / "again.aios", config=SMALL)
    assert content(tmp_path / "again.aios") == content(path)
    store.close()
