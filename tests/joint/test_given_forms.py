"""Pictures and sounds are given as Python has them; what is empty or none is refused with what to give."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from functools import partial
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from joint_world import pairs, picture, tone
from PIL import Image

import aios_db
from aios_db.schema.errors import DataError

World = Callable[..., aios_db.Connection]


def test_pictures_of_pillow_arrays_open_files_and_data_uris(world: World, tmp_path: Path) -> None:
    content, sound = picture("red", 7), tone("red")
    (tmp_path / "red.png").write_bytes(content)
    whole = Image.open(BytesIO(content))
    uri = f"data:image/png;base64,{b64encode(content).decode()}"
    turned = whole.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6
    with world() as con:
        sql = "SELECT media, media_type, modalities FROM memories WHERE memory_id = ?"
        given: list[Any] = [whole, np.asarray(whole), turned, uri, BytesIO(content)]
        found = [con.execute(sql, [con.remember(image=each)]).fetchone() or () for each in given]
        for media, kind, modalities in found:
            assert (kind, modalities) == ("image/png", ["image"])
            np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(media))), np.asarray(whole))
        with (tmp_path / "red.png").open("rb") as file:
            memory = con.remember("An open file", image=file)
        con.fit_fusion(pairs())
        for each in (content, whole, np.asarray(whole), whole.convert("CMYK"), BytesIO(content)):
            assert con.recall(image=each, k=1)[0].media_type == "image/png"
        con.update(memory, image=Image.new("L", (5, 4)), audio=BytesIO(sound))
        stored = con.get(memory)
        assert stored is not None and stored.media_type == "image/png"
        assert stored.audio == sound and stored.modalities == ["text", "image", "audio"]


@pytest.mark.parametrize("empty", [b"", "", "  ", bytearray(), "data:image/png;base64,", BytesIO()])
def test_what_is_empty_is_refused(world: World, empty: Any) -> None:
    with world() as con:
        memory = con.remember("A thing")
        for name in ("image", "audio"):
            for do in (con.remember, partial(con.update, memory), con.recall):
                with pytest.raises(DataError, match=f"{name} is empty; give the bytes of a file"):
                    do(**{name: empty})


def test_columns_that_are_empty_are_refused(world: World) -> None:
    with world() as con:
        memory = con.remember("A thing")
        for name, empty in {"media": b"", "audio": b"", "media_uri": "", "audio_uri": ""}.items():
            for do in (partial(con.remember, "Another"), partial(con.update, memory)):
                with pytest.raises(DataError, match="empty"):
                    do(**{name: empty})
        for sql in (
            "INSERT INTO memories (text, media) VALUES ('Another', ''::BLOB)",
            "UPDATE memories SET audio = ''::BLOB",
            "SELECT embed_image('')",
        ):
            with pytest.raises(DataError, match="empty"):
                con.execute(sql)
        assert con.execute("SELECT count(*) FROM memories WHERE media IS NULL").fetchone() == (1,)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("image", np.zeros((3, 4, 5), np.float32), r"of float32 3x4x5; give uint8 \(height, width, 3\)"),
        ("image", np.zeros((0, 4, 3), np.uint8), "an array of uint8 0x4x3"),
        ("audio", np.zeros(9, np.float32), "audio is a ndarray; .* write a WAV file first"),
        ("image", 3.5, "image is a float; give the bytes of a file, its path"),
        ("image", StringIO("text"), "open for text; open it for bytes"),
        ("image", "data:image/png;base64,%%", "data: URI that cannot be read"),
    ],
)
def test_what_is_no_picture_says_what_to_give(world: World, name: str, given: Any, message: str) -> None:
    with world() as con:
        for do in (con.remember, con.recall):
            with pytest.raises(DataError, match=message):
                do(**{name: given})


def test_a_modality_that_there_is_not_is_named(world: World) -> None:
    with world() as con:
        con.remember("A thing")
        with pytest.raises(DataError, match="modality is 'picture'; it is one of text, image, audio, video"):
            con.recall("thing", modality="picture")
        assert con.recall("thing", modality="video") == []
