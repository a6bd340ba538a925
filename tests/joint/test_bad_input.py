"""Each kind of bad item is a clear error of that item, and the rest of the batch goes on."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from joint_world import RATE, Image, pairs, picture, tone

import aios_db
from aios_db.schema.errors import DataError

World = Callable[..., aios_db.Connection]


def wav(samples: int, rate: int = RATE) -> bytes:
    buffer = BytesIO()
    soundfile.write(buffer, np.full(samples, 0.1, np.float32), rate, format="WAV")
    return buffer.getvalue()


def png(width: int, height: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


BAD: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "an empty recording": ("audio", lambda: wav(0), "non-empty row of samples"),
    "no bytes at all": ("audio", lambda: b"", "empty"),
    "one sample": ("audio", lambda: wav(1), "1 sample at 16000 Hz is shorter than 0.02 s"),
    "three hours": ("audio", lambda: wav(3 * 3600 * 100, 100), "lasts longer than 7200 s"),
    "a truncated recording": ("audio", lambda: tone("red")[:40], "cannot be decoded|non-empty row"),
    "100 megapixels": ("image", lambda: png(12_500, 8_000), "12500 x 8000 pixels is too large"),
    "a text as a picture": ("image", lambda: b"Dear Ada, this is no picture", "cannot be decoded"),
    "a truncated picture": ("image", lambda: picture("red")[:200], "cannot be decoded"),
    "a picture as a sound": ("audio", lambda: picture("red"), "cannot be decoded"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_item_stands_alone(world: World, kind: str, tmp_path: Path, caplog) -> None:
    modality, make, why = BAD[kind]
    name = {"image": "quarters", "audio": "bands"}[modality]
    good = picture("blue") if modality == "image" else tone("blue")
    (tmp_path / "item.jpg").write_bytes(make())
    with world() as con:
        for item in (make(), str(tmp_path / "item.jpg")):
            with pytest.raises(DataError, match=why):
                con.execute(f"SELECT embed_{name}(?)", [item])
        items = "(SELECT unnest(?::BLOB[]) AS item)"
        sql = f"SELECT embed_{name}(item) IS NULL FROM {items}"
        made = con.execute(sql, [[good, make(), good]]).fetchall()
        assert [row[0] for row in made] == [False, True, False]
        assert "cannot be read" in caplog.text


def test_small_and_long_items_are_good(world: World) -> None:
    with world() as con:
        one, hour = con.execute(
            "SELECT embed_quarters(?), embed_bands(?)", [png(1, 1), wav(3600 * 8000, 8000)]
        ).fetchone()
        assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
        assert np.linalg.norm(hour) == pytest.approx(1, abs=1e-5)


def test_a_path_outside_of_the_allowed_directories(world: World, tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "in.png").write_bytes(picture("blue", 3))
    (tmp_path / "out.png").write_bytes(picture("red", 3))
    with world() as con:
        con.fit_fusion(pairs())
    with world(restricted=True, allowed_directories=[allowed]) as con:
        ids = con.remember([{"image": str(allowed / "in.png")}, {"image": str(tmp_path / "out.png")}])
        assert [each.joint_embedding is not None for each in con.get(ids)] == [True, False]
        with pytest.raises(DataError, match="outside of what SQL may read"):
            con.recall(image=(tmp_path / "out.png").as_uri())
