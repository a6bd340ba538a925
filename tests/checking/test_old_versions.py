"""Damage to what only an older version has is told, and goes with that version."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import aios_db
from aios_db.schema.config import Config, StorageConfig

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "salvaging"))
from salvage_helpers import connect, damage, make


@pytest.mark.parametrize("how", ["empty", "missing", "zeroed", "flipped middle"])
@pytest.mark.parametrize("table", ["memories", "association_links"])
def test_what_is_lost_of_an_older_version_goes_with_it(tmp_path: Path, table: str, how: str) -> None:
    place = tmp_path / "agent.aios"
    make(place)
    damage(sorted((place / f"{table}.lance" / "_versions").glob("*.manifest"))[3], how)
    config = Config(storage=StorageConfig(dimension=16))
    remedies = {each.remedy for each in aios_db.check(place, config=config).faults}
    assert len(remedies) == 1 and "aios optimize takes it away" in remedies.pop()
    limits = {"keep_versions_s": 0, "keep_versions_bytes": 0, "compact_after_fragments": 2}
    with connect(place, maintenance_delay_s=3600, **limits) as con:
        con.optimize()
    assert aios_db.check(place, config=config).whole
