"""Logs with damaged records are written anew of the others, and found whole then."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import aios_db
from aios_db.disk.framed_log import FramedLog
from aios_db.schema.config import Config, EngineConfig, StorageConfig

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "salvaging"))
from salvage_helpers import DAMAGES, connect, damage, row


@pytest.mark.parametrize("how", [each for each in DAMAGES if each != "missing"])
def test_a_damaged_log_is_whole_after_repair(tmp_path: Path, how: str) -> None:
    place = tmp_path / "agent.aios"
    config = Config(
        storage=StorageConfig(dimension=16), engine=EngineConfig(models_dir=str(tmp_path / "none"))
    )
    with connect(place, maintenance_delay_s=3600) as con:
        ids = [con.remember(row(f"text {each}")) for each in range(4)]
        con.store.touch(ids)
        con.store.asked("mast", "{}", ids)
    FramedLog(place / "llm_requests.log", list, lambda _: None).append(b'{"memories": ["one"]}')
    names = ["changes.log", "llm_requests.log", "queries.log", "recalls.log"]
    kept = {}
    for name in names:
        damage(place / name, how)
        kept[name] = (place / name).read_bytes()
    assert {Path(each.where).name for each in aios_db.check(place, config=config).faults} == set(names)
    assert sorted(aios_db.repair(place, config=config).logs) == names
    assert aios_db.check(place, config=config).whole
    assert {name: (place / "damaged" / name).read_bytes() for name in names} == kept
    assert aios_db.repair(place, config=config).logs == ()
    with connect(place, maintenance_delay_s=3600) as con:
        last = con.history(limit=1)
        con.forget(ids[0])
        (change,) = con.history(limit=1)
        assert change.change_id > (last[0].change_id if last else 0) and change.call == "forget"
        con.undo(change.change_id)
