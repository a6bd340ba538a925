"""What could not be read for the joint space is listed, with where it lies, until it is put right."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from joint_world import pairs, picture, tone

import aios_db
from aios_db.cli.app import cli
from aios_db.joint.encoders import Encoders

World = Callable[..., aios_db.Connection]
LISTED = "SELECT memory_id, modality, uri FROM unreadable_media ORDER BY memory_id, modality"


def test_unreadable_media_are_listed_until_they_are_put_right(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world() as con:
        gone = con.remember("Both are gone", image="/nowhere/a.png", audio="/nowhere/a.wav")
        assert con.execute(LISTED).fetchall() == []  # nothing was read yet
        con.fit_fusion(pairs())
        garbage = con.remember("The fence, at last", image=b"\x89PNG\r\n\x1a\n garbage")
        sound = con.remember(media_uri="/nowhere/b.mp3")
        con.remember("A red thing", image=picture("red"), audio=tone("red"))
        expected = [
            (gone, "audio", "/nowhere/a.wav"),
            (gone, "image", "/nowhere/a.png"),
            (garbage, "image", None),
            (sound, "audio", "/nowhere/b.mp3"),
        ]
        assert con.execute(LISTED).fetchall() == expected
        stored = con.get(gone)
        assert stored is not None and stored.joint_embedding is not None  # of its words
        version = con.execute("SELECT space FROM joint_space() LIMIT 1").fetchone() or ("",)
        assert stored.joint_weight_version == f"{version[0]} !image !audio"
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", os.fspath(tmp_path / "models"))
    told = CliRunner().invoke(cli, ["doctor", "--db", os.fspath(tmp_path / "agent.aios")])
    assert "4 pictures and sounds could not be read: FROM unreadable_media" in told.output
    with world() as con:
        read: list[int] = []
        made = Encoders.read
        monkeypatch.setattr(
            Encoders,
            "read",
            lambda self, features, items: read.append(len(items)) or made(self, features, items),
        )
        con.optimize()
        assert not read  # each is tried once
        con.update(gone, image=picture("blue"), audio=None)
        con.update(garbage, text="Another text")
        con.forget(sound)
        assert con.execute(LISTED).fetchall() == [(garbage, "image", None)]
        con.update(garbage, image=None)
        assert con.execute(LISTED).fetchall() == []


def test_a_fit_tries_again_what_could_not_be_read(world: World, tmp_path: Path) -> None:
    with world() as con:
        con.fit_fusion(pairs())
        (tmp_path / "late.png").write_bytes(b"not whole yet")
        late = con.remember("It is written later", image=os.fspath(tmp_path / "late.png"))
        assert con.execute(LISTED).fetchall() == [(late, "image", os.fspath(tmp_path / "late.png"))]
        con.fit_fusion(pairs())  # the same space
        assert con.execute(LISTED).fetchall() == [(late, "image", os.fspath(tmp_path / "late.png"))]
        (tmp_path / "late.png").write_bytes(picture("pink"))
        con.update(late, image=os.fspath(tmp_path / "late.png"))
        con.optimize()
        assert con.execute(LISTED).fetchall() == []
