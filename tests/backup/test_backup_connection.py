"""Backups through the public interface, with the real text model."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

import aios_db
from aios_db.cli import main
from aios_db.config import Config
from aios_db.schema.config import EngineConfig


@pytest.fixture
def config(minilm_dir):
    return Config(engine=EngineConfig(models_dir=str(minilm_dir.parent)))


def test_the_same_answers_after_a_restore(tmp_path, config):
    question = "where is the key?"
    with aios_db.connect(tmp_path / "agent.aios", config=config) as con:
        con.remember(["Ada keeps the spare key under the blue pot.", "Bo likes tea."], session_id="s")
        before = con.recall(question)
        report = con.backup(tmp_path / "backups")
        con.remember("The key was lost.")
    with aios_db.connect(tmp_path / "agent.aios", read_only=True, config=config) as con:
        assert con.backup(tmp_path / "backups").tables["memories"].rows == 3
    aios_db.restore(tmp_path / "backups", tmp_path / "old.aios", backup_id=report.id, config=config)
    with aios_db.connect(tmp_path / "old.aios", config=config) as con:
        found = con.recall(question)
        assert [(each.memory_id, each.text) for each in found] == [
            (each.memory_id, each.text) for each in before
        ]
        assert [each.vector_score for each in found] == pytest.approx([each.vector_score for each in before])
        assert con.execute("SELECT access_count FROM memories").fetchall() == [(2,), (2,)]


def test_a_database_in_memory_is_kept(tmp_path, config):
    with aios_db.connect(config=config) as con:
        con.remember("Ada likes tea.")
        con.backup(tmp_path / "backups")
    aios_db.restore(tmp_path / "backups", tmp_path / "kept.aios", config=config)
    with aios_db.connect(tmp_path / "kept.aios", config=config) as con:
        assert con.execute("SELECT text FROM memories").fetchall() == [("Ada likes tea.",)]


def test_models_come_with_the_backup(tmp_path, config, minilm_dir, monkeypatch):
    with aios_db.connect(tmp_path / "agent.aios", config=config) as con:
        con.remember("Ada likes tea.")
        without = con.backup(tmp_path / "backups")
        report = con.backup(tmp_path / "backups", models=True)
        again = con.backup(tmp_path / "backups", models=True)
    assert report.bytes > without.bytes + 80_000_000
    assert again.copied_files == 0
    shutil.rmtree(tmp_path / "agent.aios")
    monkeypatch.setattr("aios_db.engine.catalog.install.find_spec", lambda name: None)  # not installed there
    elsewhere = dataclasses.replace(config, engine=EngineConfig(models_dir=str(tmp_path / "models")))
    bare = aios_db.restore(
        tmp_path / "backups", tmp_path / "bare.aios", backup_id=without.id, config=elsewhere
    )
    assert [each.split("@")[0] for each in bare.missing_models] == ["minilm"]
    restored = aios_db.restore(tmp_path / "backups", tmp_path / "again.aios", config=elsewhere)
    assert (restored.installed_models, restored.missing_models) == ((str(tmp_path / "models/minilm"),), ())
    assert (tmp_path / "models/minilm/weights.parquet").stat().st_size == (
        minilm_dir / "weights.parquet"
    ).stat().st_size
    once_more = aios_db.restore(tmp_path / "backups", tmp_path / "third.aios", config=elsewhere)
    assert once_more.installed_models == ()


def test_the_shell_backs_up_lists_and_restores(tmp_path, minilm_dir, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(minilm_dir.parent))
    assert main(["remember", "Ada likes tea."]) == 0
    capsys.readouterr()
    assert main(["backup", "kept", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["tables"]["memories"]["rows"] == 1
    assert main(["backup", "kept", "--keep", "1"]) == 0
    said = capsys.readouterr().out
    assert "copied 0 of" in said
    assert f"removed backup {made['id']}" in said
    assert main(["backup", "kept", "--list", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["memories"] == 1
    assert listed["models"][0].startswith("minilm@")
    assert main(["backup", "kept", "--verify"]) == 0
    assert (
        capsys.readouterr().out
        == f"{listed['id']} whole: 1 memory, {listed['bytes']} bytes of {tmp_path / 'agent.aios'}\n"
    )
    assert main(["restore", "kept", "again.aios"]) == 0
    assert "1 memory" in capsys.readouterr().out
    assert main(["--db", "again.aios", "recall", "tea"]) == 0
    assert "Ada likes tea." in capsys.readouterr().out
    assert main(["restore", "kept", "again.aios"]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["--db", "no.aios", "backup", "kept"]) == 1
    assert "no database at no.aios" in capsys.readouterr().err
