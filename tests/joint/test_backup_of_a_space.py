"""A backup with models holds the joint space, and names the encoders that only code has."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from joint_world import pairs, picture, register, tone

import aios_db

World = Callable[..., aios_db.Connection]


def test_a_space_of_registered_encoders_comes_back(world: World, tmp_path: Path, minilm_dir: Path) -> None:
    with world() as con:
        con.fit_fusion(pairs())
        con.remember(image=picture("pink", 3), external_id="pink")
        con.backup(tmp_path / "backups", models=True)
    there = tmp_path / "elsewhere"
    config = {"engine": {"models_dir": str(there)}, "device": {"target": "cpu"}}
    report = aios_db.restore(tmp_path / "backups", tmp_path / "restored.aios", config=config)
    assert sorted(name.split("@")[0] for name in report.missing_models) == ["bands", "quarters"]
    shutil.rmtree(tmp_path / "models")
    with aios_db.connect(tmp_path / "restored.aios", config=config) as con:
        register(con)
        assert con.recall(audio=tone("pink", 9), k=1)[0].external_id == "pink"
