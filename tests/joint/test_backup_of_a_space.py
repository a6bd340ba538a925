"""A backup with models holds the joint space, and names the encoders that only code has."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner
from joint_world import pairs, picture, register, tone

import aios_db
from aios_db.cli.app import cli

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


def test_a_restore_says_what_to_do_about_what_is_not_here(world: World, tmp_path: Path) -> None:
    with world() as con:
        con.fit_fusion(pairs())
        con.backup(tmp_path / "backups")
    settings = tmp_path / "aios.yaml"
    settings.write_text(json.dumps({"engine": {"models_dir": str(tmp_path / "elsewhere")}}))
    given = ["--config", str(settings), "restore", str(tmp_path / "backups")]
    said = CliRunner().invoke(cli, [*given, "--db", str(tmp_path / "restored.aios")]).output
    for name in ("joint-", "quarters@", "bands@"):
        assert re.search(rf"^{name}.* is not on this machine$", said, re.MULTILINE), said
    assert "register encoders of your own again" in said and "aios fusion fit" in said
