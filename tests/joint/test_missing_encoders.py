"""What a process cannot put into the joint space is noted, and made up by one that can."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from joint_world import pairs, picture, register, seen, tone

import aios_db
from aios_db.importers import import_path
from aios_db.schema.errors import OperationalError

World = Callable[..., aios_db.Connection]


@pytest.fixture
def bare(world: World, tmp_path: Path) -> World:
    """Open the database of `world` without a user's encoders."""

    def connect(**options: Any) -> aios_db.Connection:
        config = {
            "engine": {"models_dir": str(tmp_path / "models")},
            "device": {"target": "cpu"},
            "cpu": {"backend": "standard"},  # as `world`, with whose vectors those are compared
        }
        return aios_db.connect(tmp_path / "agent.aios", config=config, **options)

    return connect


def check(con: aios_db.Connection, memory_id: str, sql: str, *given: object) -> None:
    """Compare a memory's joint vector with that of a compound."""
    memory = con.get(memory_id)
    wanted = con.execute(f"SELECT embed_joint({sql})", list(given)).fetchone()[0]
    np.testing.assert_allclose(memory.joint_embedding, wanted, atol=1e-5)
    assert " " not in memory.joint_weight_version


def test_a_text_changed_without_the_encoder_keeps_its_picture(world: World, bare: World) -> None:
    with world() as con:
        con.fit_fusion(pairs())
        both = con.remember("a red thing", image=picture("red", 3), audio=tone("red", 3))
        words = con.remember("a green thing")
    with bare() as con:
        con.update(both, text="a blue thing")
        con.update(words, text="a white thing")
        new = con.remember(image=picture("pink", 3))
        space, note = con.get(both).joint_weight_version.split(" ", 1)
        assert note == "-image -audio"
        assert con.get(words).joint_weight_version == space
        assert con.get(new).joint_embedding is None
        con.optimize()  # nothing can be made up here
        assert con.get(both).joint_weight_version == f"{space} -image -audio"
        assert con.recall("a blue thing", k=1)[0].memory_id == both
    with world() as con:
        assert con.recall(image=picture("black", 3), modality="image")  # of the parts that there are
        con.optimize()
        check(con, both, "'a blue thing', ?, ?", picture("red", 3), tone("red", 3))
        check(con, new, "NULL, ?", picture("pink", 3))


def test_registering_an_encoder_is_enough(bare: World, world: World) -> None:
    with world() as con:
        con.fit_fusion(pairs())
    with bare() as con:
        new = con.remember("one", image=picture("pink", 3))
    with world() as con:
        con.store.maintain()  # as the thread does, a moment after an encoder was registered
        check(con, new, "'one', ?", picture("pink", 3))


def test_an_encoder_that_fails_whatever_it_is_given_is_missing(world: World) -> None:
    down = [False]

    def encode(pictures: Any) -> Any:
        if down[0]:
            raise ConnectionError("no route to host")
        return seen(pictures)

    with world() as con:
        con.register_encoder("quarters", "image", 12, encode, size=32)
        space = con.fit_fusion(pairs()).version
        down[0] = True
        new = con.remember("a pink thing", image=picture("pink", 33))
        con.optimize()
        assert con.get(new).joint_weight_version == f"{space} -image"
        with pytest.raises(OperationalError, match="no route to host"):
            con.recall(image=picture("pink", 34))
        with pytest.raises(OperationalError, match="no route to host"):
            con.fit_fusion(pairs(9), cached=False)
        down[0] = False
        con.optimize()
        check(con, new, "'a pink thing', ?", picture("pink", 33))


def test_what_was_written_while_the_weights_were_lost(world: World, tmp_path: Path) -> None:
    with world() as con:
        version = con.fit_fusion(pairs()).version
        space = Path(con.execute("SELECT path FROM weight_versions WHERE space = 'joint'").fetchone()[0])
        shutil.move(space, tmp_path / "aside")
    with world() as con:
        new = con.remember("one", image=picture("pink", 3))
        assert con.get(new).joint_weight_version == f"{version} -text -image"
    shutil.move(tmp_path / "aside", space)
    with world() as con:
        con.optimize()
        check(con, new, "'one', ?", picture("pink", 3))


def test_an_export_has_its_place_in_the_space_here(world: World, tmp_path: Path, minilm_dir: Path) -> None:
    config = {
        "engine": {"models_dir": str(tmp_path / "models")},
        "device": {"target": "cpu"},
        "cpu": {"backend": "standard"},
    }
    with world() as con:
        con.fit_fusion(pairs())
    with aios_db.connect(tmp_path / "other.aios", config=config) as other:
        register(other)
        theirs = other.remember("one", image=picture("pink", 3))
        other.fit_fusion(pairs(), seed=3, name="other")
        other.export(tmp_path / "export")
    with world() as con:
        import_path(con, tmp_path / "export")
        check(con, theirs, "'one', ?", picture("pink", 3))


def test_what_an_undo_brings_back_is_put_into_the_newer_space(world: World) -> None:
    with world() as con:
        con.fit_fusion(pairs())
        gone = con.remember("one", image=picture("pink", 3))
        con.forget(gone)
        con.fit_fusion(pairs(), seed=3, name="newer")
        con.undo(next(each for each in con.history() if each.call == "forget"))
        con.optimize()
        assert con.get(gone).joint_weight_version.startswith("newer-")
        check(con, gone, "'one', ?", picture("pink", 3))


def test_what_cannot_be_read_is_tried_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from aios_db.engine.encoders import features

    with world() as con:
        con.fit_fusion(pairs())
        tried: list[bytes] = []
        real = features.nine_views
        monkeypatch.setattr(features, "nine_views", lambda data, size: tried.append(data) or real(data, size))
        bad = con.remember("broken", media=b"no picture", media_type="image/jpeg")
        con.update(bad, text="still broken")
        con.optimize()
        assert tried == [b"no picture"] * 2  # as it was remembered and as it was changed, without the lock
