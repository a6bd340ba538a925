"""Without pairs text is the pivot, and the database says so."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from joint_world import pairs, picture, tone

import aios_db
from aios_db.cli.app import cli
from aios_db.schema.errors import ProgrammingError

World = Callable[..., aios_db.Connection]


def test_media_are_found_by_words_until_a_space_is_fitted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with world() as con:
        boat = con.remember("The boat at the pier", image=picture("red", 1))
        con.remember("A recipe for walnut bread", image=picture("blue", 1))
        silent = con.remember(image=picture("pink", 1))
    with world() as con:
        assert con.recall("a boat", modality="image", k=1)[0].memory_id == boat
        with caplog.at_level(logging.WARNING, "aios_db.joint"):
            found = con.recall("a boat", image=picture("blue", 1), modality="image", k=1)
        assert found[0].memory_id == boat and found[0].joint_score == 0
        assert "text is the pivot" in caplog.text
        with pytest.raises(ProgrammingError, match="no joint space was fitted"):
            con.recall(image=picture("red", 1))
        rows = con.execute("SELECT modality, space, usable FROM joint_space()").fetchall()
        assert rows == [("text", "text", True), ("image", "text", False), ("audio", "text", False)]
        con.fit_fusion(pairs())
        assert con.recall(image=picture("pink", 2), k=1)[0].memory_id == silent


def test_the_space_in_use_is_told_in_sql_and_in_the_shell(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(tmp_path / "models"))
    asked = ["fusion", "status", "--json", "--db", str(tmp_path / "agent.aios")]
    with world() as con:
        con.remember("a red thing", audio=tone("red", 1))
    told = json.loads(CliRunner().invoke(cli, asked, catch_exceptions=False).output)
    assert [row["space"] for row in told] == ["text"] * 3
    assert "text is the pivot" in told[0]["note"]
    with world() as con:
        version = con.fit_fusion(pairs()).version
        rows = con.execute("SELECT space, fitted_with = encoder, usable, note FROM joint_space()").fetchall()
        assert rows == [(version, True, True, None)] * 3
    told = json.loads(CliRunner().invoke(cli, asked, catch_exceptions=False).output)
    assert {row["space"] for row in told} == {version}
    assert {row["modality"]: row["usable"] for row in told} == {"text": True, "image": False, "audio": False}
    assert all(row["note"] for row in told if not row["usable"])
    again = CliRunner().invoke(cli, asked[:2] + asked[3:], catch_exceptions=False)
    assert version[:12] in again.output
    with world() as con:
        con.register_encoder("other", "image", 3, lambda views: views.mean((1, 2)), size=16)
        rows = con.execute("SELECT usable, note FROM joint_space() WHERE modality = 'image'").fetchall()
        assert rows == [(False, "fit the space again with this encoder")]
