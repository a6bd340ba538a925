"""Which file holds the configuration, and where its paths lead."""

from __future__ import annotations

import json
import os
import pwd
import re

import pytest

import aios_db
from aios_db.cli.app import main
from aios_db.config import files, given_config, load_config, loaded
from aios_db.schema.config import Config, RecallConfig
from aios_db.schema.errors import ConfigError, OperationalError


def test_file_of_the_working_directory_then_variable_then_argument(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aios.yaml").write_text("recall: {k: 1}")
    (tmp_path / "b.yaml").write_text("recall: {k: 2}")
    (tmp_path / "c.yaml").write_text("recall: {k: 3}")
    env = {"AIOS_CONFIG": str(tmp_path / "b.yaml")}
    assert load_config(env={}).recall.k == 1
    assert load_config(env=env).recall.k == 2
    assert load_config(tmp_path / "c.yaml", env).recall.k == 3


@pytest.mark.parametrize("how", ["given", "AIOS_CONFIG"])
def test_named_file_that_is_missing_is_an_error(tmp_path, how):
    """Someone named it, so its values are wanted; a directory is no file either."""
    for absent in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match=re.escape(str(absent))):
            load_config(absent) if how == "given" else load_config(None, {"AIOS_CONFIG": str(absent)})


def test_a_link_that_leads_nowhere_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for target in ("nowhere.yaml", "aios.yaml"):
        (tmp_path / "aios.yaml").unlink(missing_ok=True)
        (tmp_path / "aios.yaml").symlink_to(target)
        (problem,) = loaded(env={}).problems
        assert problem.startswith("aios.yaml: cannot be read as YAML (")


def test_a_file_is_named_by_way_of_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.yaml").write_text("recall: {k: 3}")
    assert load_config(env={"AIOS_CONFIG": "~/c.yaml"}).recall.k == 3


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root takes another user")
def test_what_this_user_may_not_reach_is_not_there(tmp_path, monkeypatch):
    """A service has a user of its own, often with the home of another in its environment."""
    monkeypatch.chdir("/")
    home = tmp_path / "home"
    for folder in (home / ".config" / "aios_db", home / "db"):
        folder.mkdir(parents=True)
        (folder / "aios.yaml").write_text("recall: {k: 3}")
    home.chmod(0o700)
    assert load_config(env={"HOME": str(home)}).recall.k == 3
    os.seteuid(65534)
    try:
        assert load_config(env={"HOME": str(home)}, database=home / "db") == Config()
        with pytest.raises(ConfigError, match="that this user may reach"):
            load_config(home / "db" / "aios.yaml", {})
    finally:
        os.seteuid(0)


def test_connecting_with_a_file_that_is_missing_makes_no_database(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        aios_db.connect(tmp_path / "a.aios", config=tmp_path / "none.yaml")
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_refuses_a_file_that_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--config", "nofile.yaml", "init", "a.aios"]) == 1
    assert "nofile.yaml" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_one_in_the_database_and_one_of_the_user(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    home, database = tmp_path / "home", tmp_path / "agent.aios"
    for folder, k in ((home / ".config" / "aios_db", 11), (database, 12)):
        folder.mkdir(parents=True)
        (folder / "aios.yaml").write_text(f"recall: {{k: {k}}}")
    env = {"HOME": str(home)}
    monkeypatch.setattr(files.sys, "platform", "linux")
    assert load_config(env=env).recall.k == 11
    assert load_config(env={"XDG_CONFIG_HOME": str(tmp_path)}).recall.k == RecallConfig().k
    assert load_config(env=env, database=database).recall.k == 12
    (tmp_path / "aios.yaml").write_text("recall: {k: 13}")
    assert load_config(env=env, database=database).recall.k == 13
    monkeypatch.setattr(files, "_is_ours", lambda file: False)
    assert load_config(env=env, database=database).recall.k == 11
    for file in (database / "aios.yaml", "aios.yaml"):
        assert f"{file} belongs to another user" in caplog.text


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root gives files away")
@pytest.mark.parametrize("given_away", ["file", "link"])
def test_what_another_user_left_in_a_shared_folder_is_not_read(tmp_path, monkeypatch, caplog, given_away):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.yaml").write_text("llm: {provider: openai, base_url: 'http://elsewhere.example'}")
    (tmp_path / "aios.yaml").symlink_to("other.yaml")
    assert load_config(env={}).llm.provider == "openai"
    os.chown("aios.yaml", 65534, -1, follow_symlinks=given_away == "file")
    assert load_config(env={}) == Config() and "belongs to another user" in caplog.text
    assert load_config("aios.yaml", {}).llm.provider == "openai"


def test_a_user_without_a_home_has_the_defaults_and_is_told_what_needs_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    assert load_config(env={}) == Config()
    with pytest.raises(OperationalError, match=r"~/\.cache/aios_db/models.* set HOME, or name it"):
        aios_db.connect(tmp_path / "a.aios")


def test_a_configuration_folder_is_named_in_full(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aios_db").mkdir()
    (tmp_path / "aios_db" / "aios.yaml").write_text("recall: {k: 3}")
    assert load_config(env={"XDG_CONFIG_HOME": str(tmp_path)}).recall.k == 3
    assert load_config(env={"XDG_CONFIG_HOME": ".", "HOME": "/"}) == Config()


def test_a_database_is_opened_with_the_configuration_in_its_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    database = tmp_path / "agent.aios"
    database.mkdir()
    (database / "aios.yaml").write_text("storage: {confirm_forget: 2}\n")
    with aios_db.connect(database) as con:
        assert con.store.config.storage.confirm_forget == 2
    with aios_db.connect(database, config={"storage": {"confirm_forget": 3}}) as con:
        assert con.store.config.storage.confirm_forget == 3
    assert aios_db.check(database).whole


def test_relative_paths_lead_where_they_did_when_the_database_was_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "bert").mkdir(parents=True)
    values = {"engine": {"models_dir": "models", "text_model": "own/bert", "image_model": "~/clip"}}
    (tmp_path / "aios.yaml").write_text(json.dumps(values))
    for way in (values, load_config(given=values, env={}), None):
        engine = given_config(way).engine
        assert engine.models_dir == str(tmp_path / "models")
        assert engine.text_model == str(tmp_path / "own" / "bert")
        assert (engine.audio_model, engine.image_model) == ("whisper-tiny", "~/clip")
    assert given_config(Config()) == Config()
