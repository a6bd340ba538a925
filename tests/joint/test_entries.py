"""The entries to the joint space: what is changed, asked without words, and encoders that a file names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from joint_world import pairs, picture, tone

import aios_db
from aios_db.schema.errors import ProgrammingError

World = Callable[..., aios_db.Connection]


def test_a_new_picture_and_sound_take_the_place_of_the_old(world: World, tmp_path: Path) -> None:
    (tmp_path / "blue.png").write_bytes(picture("blue", 3))
    with world() as con:
        con.fit_fusion(pairs())
        memory = con.remember("a thing", image=picture("red", 3), audio=tone("red", 3))

        def holds(sql: str, *given: object) -> None:
            wanted = con.execute(f"SELECT embed_joint({sql})", list(given)).fetchone()[0]
            np.testing.assert_allclose(con.get(memory).joint_embedding, wanted, atol=1e-5)

        con.update(memory, image=tmp_path / "blue.png")
        found = con.get(memory)
        assert (found.media, found.media_uri, found.media_type) == (
            None, str(tmp_path / "blue.png"), "image/png"
        )  # fmt: skip
        holds("'a thing', ?, ?", picture("blue", 3), tone("red", 3))
        con.update([{"memory_id": memory, "image": picture("pink", 3, kind="WEBP"), "audio": None}])
        found = con.get(memory)
        assert (found.media_uri, found.media_type, found.audio) == (None, "image/webp", None)
        assert found.modalities == ["text", "image"]
        holds("'a thing', ?", picture("pink", 3, kind="WEBP"))
        con.update(memory, image=None)
        assert con.get(memory).modalities == ["text"]
        holds("'a thing'")
        with pytest.raises(ProgrammingError, match="image and media_uri are both given"):
            con.update(memory, image=b"", media_uri="a.png")


@pytest.mark.parametrize("blank", ["", " \n"])
def test_a_picture_asks_beside_a_blank_text(world: World, blank: str) -> None:
    with world() as con:
        con.fit_fusion(pairs())
        con.remember([{"image": picture(colour, 3), "external_id": colour} for colour in ("red", "blue")])
        asked = picture("blue", 9)
        for with_nothing in (con.recall(blank, image=asked), con.recall(image=asked)):
            assert with_nothing[0].external_id == "blue"
        rows = con.execute("SELECT score FROM recall(?, image := ?)", [blank, asked]).fetchall()
        assert rows == con.execute("SELECT score FROM recall(image := ?)", [asked]).fetchall()
        with pytest.raises(ProgrammingError, match="the query is blank"):
            con.recall(blank)


def test_encoders_that_the_configuration_names_are_like_registered_ones(
    tmp_path: Path, minilm_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "named_encoders.py").write_text(
        "import aios_db\nfrom joint_world import heard, seen\n"
        "pictures = aios_db.MediaEncoder('quarters', 'image', 12, seen, size=32)\n"
        "def sounds():\n    return aios_db.MediaEncoder('bands', 'audio', 24, heard)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    engine = {"image_model": "named_encoders:pictures", "audio_model": "named_encoders:sounds"}
    config = {"engine": {**engine, "models_dir": str(minilm_dir.parent)}, "device": {"target": "cpu"}}
    with aios_db.connect(tmp_path / "a.aios", config=config) as con:
        made = con.execute(
            "SELECT len(embed_quarters(?)), len(embed_bands(?))", [picture("red"), tone("red")]
        )
        assert made.fetchone() == (12, 24)
        rows = con.execute(
            "SELECT name, space, is_active FROM weight_versions WHERE schema_version = 'plugged'"
        )
        assert sorted(rows.fetchall()) == [("bands", "audio", True), ("quarters", "image", True)]
    config["engine"]["image_model"] = "named_encoders:absent"
    with aios_db.connect(tmp_path / "a.aios", config=config) as con:
        assert con.execute("SELECT len(embed_bands(?))", [tone("red")]).fetchone() == (24,)
    assert "engine.image_model: the encoder 'named_encoders:absent' cannot be imported" in caplog.text
