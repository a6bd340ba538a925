"""Whose files are read, and what goes on where the weights of the joint space are lost."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from joint_world import pairs, picture, tone

import aios_db
from aios_db.joint import fitting
from aios_db.schema.errors import ModelNotFoundError, OperationalError

World = Callable[..., aios_db.Connection]


@pytest.fixture
def private(tmp_path: Path) -> str:
    path = tmp_path / "private.png"
    path.write_bytes(picture("red", 3))
    return str(path)


def test_the_owner_reads_no_file_for_a_writer_who_may_not(world: World, private: str, tmp_path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "mine.png").write_bytes(picture("blue", 3))
    with world(restricted=True, user_id="bob", allowed_directories=[allowed]) as con:
        stolen = con.remember("mine", media_uri=private)
        sql = con.execute(
            "INSERT INTO memories (text, media_uri) VALUES ('sql', ?) RETURNING memory_id", [private]
        ).fetchone()[0]
        later = con.remember("later", image=picture("blue", 5))
        con.update(later, media=None, media_uri=private)
        own = con.remember(image=str(allowed / "mine.png"))
        swapped = con.remember(image=str(allowed / "swapped.png"))
    (allowed / "swapped.png").symlink_to(private)
    with world() as con:
        of_owner = con.remember(image=private)
        for fit in range(2):
            con.fit_fusion(pairs(), seed=fit, name=f"joint{fit}")
            for each in (stolen, sql, later):
                text_only = con.execute(
                    "SELECT embed_joint(text) FROM memories WHERE memory_id = ?", [each]
                ).fetchone()[0]
                np.testing.assert_allclose(con.get(each).joint_embedding, text_only, atol=1e-5)
            assert con.get(swapped).joint_embedding is None
            for each, colour in ((own, "blue"), (of_owner, "red")):
                expected = con.execute("SELECT embed_joint(NULL, image := ?)", [picture(colour, 3)])
                np.testing.assert_allclose(con.get(each).joint_embedding, expected.fetchone()[0], atol=1e-5)
        con.update(stolen, text="still mine")  # by the owner, who gives no path
        text_only = con.execute("SELECT embed_joint('still mine')").fetchone()[0]
        np.testing.assert_allclose(con.get(stolen).joint_embedding, text_only, atol=1e-5)


def test_a_file_that_was_exchanged_is_not_read_again(world: World, private: str) -> None:
    with world() as con:
        kept = con.remember(image=private)
        Path(private).write_bytes(picture("green", 3))
        con.fit_fusion(pairs())
        assert con.get(kept).joint_embedding is None
        con.update(kept, media_uri=private)
        assert con.recall(image=picture("green", 9), k=1)[0].memory_id == kept


@pytest.mark.parametrize("how", ["gone", "truncated", "flipped", "metadata"])
def test_words_go_on_where_the_weights_are_lost(world: World, how: str, caplog) -> None:
    from aios_db.cli.doctor import _joint

    with world() as con:
        con.fit_fusion(pairs(), cached=False)
        con.remember("the red thing is in the kitchen", image=picture("red", 3))
        space = Path(con.execute("SELECT path FROM weight_versions WHERE space = 'joint'").fetchone()[0])
    weights = next(space.glob("weights*"))
    if how == "gone":
        shutil.rmtree(space)
    elif how == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif how == "metadata":
        (space / "metadata.json").write_text("{")
    else:
        content = bytearray(weights.read_bytes())
        for place in range(1000, len(content) - 20_000, 3001):
            content[place] ^= 0x40
        weights.write_bytes(content)
    with world() as con, caplog.at_level(logging.WARNING, "aios_db.joint"):
        assert con.recall("where is the red thing?", k=1)[0].text.startswith("the red thing")
        new = con.remember("the blue thing is in the hall", image=picture("blue", 3))
        con.update(new, text="the blue thing is in the cellar")
        assert con.recall("cellar", k=1)[0].memory_id == new
        assert caplog.text.count("words are used alone") == 1
        for asked in ({"image": picture("red")}, {"audio": tone("red")}):
            with pytest.raises(ModelNotFoundError, match=r"joint space.*cannot be used.*fit") as told:
                con.recall(**asked)
            wrong, _, _ = str(told.value).partition("Put its")
            assert how == "gone" or str(space) in wrong
            assert "minilm" not in wrong and "models activate" not in wrong
        with pytest.raises(ModelNotFoundError, match="cannot be used"):
            _joint(con)
        con.fit_fusion(pairs(), cached=False, seed=3, name="anew")
        assert "anew" in _joint(con) and "of text, image, audio" in _joint(con)
        assert con.recall(image=picture("blue", 4), k=1)[0].memory_id == new


def test_models_that_may_not_be_written_are_told_before_features_are_made(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "features_of", None)
    with world() as con:
        (tmp_path / "models").rename(tmp_path / "moved")
        (tmp_path / "models").write_text("no directory")
        with pytest.raises(OperationalError, match="writing the joint space into"):
            con.fit_fusion(pairs(1))


def test_repair_says_that_a_space_is_lost_which_it_cannot_make(world: World) -> None:
    with world() as con:
        con.fit_fusion(pairs(), cached=False)
        row = con.execute("SELECT version, path FROM weight_versions WHERE space = 'joint'").fetchone()
        database, config = con.store.path, con.store.config
    version, space = row
    assert aios_db.repair(database, config=config).damaged == ()
    shutil.rmtree(space)
    (lost,) = aios_db.repair(database, config=config).damaged
    assert version in lost
