"""Pictures and sounds are columns of tables and of lists of structs, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from joint_world import pairs, picture, tone

import aios_db
from aios_db.schema.errors import DataError, ProgrammingError

World = Callable[..., aios_db.Connection]


def stored(con: aios_db.Connection, memory_id: str) -> tuple[Any, ...]:
    columns = "media, media_uri, media_type, audio, audio_uri"
    sql = f"SELECT {columns} FROM memories WHERE memory_id = ?"
    return con.execute(sql, [memory_id]).fetchall()[0]


@pytest.mark.parametrize("make", [pa.table, pd.DataFrame, lambda columns: pa.table(columns).to_batches()[0]])
def test_tables_are_remembered(world: World, tmp_path: Path, make: Callable[[Any], Any]) -> None:
    red, path = picture("red"), tmp_path / "red.png"
    path.write_bytes(red)
    with world() as con:
        first, second = con.remember(make({"image": [red, None], "text": ["a red thing", "words"]}))
        assert stored(con, first) == (red, None, "image/png", None, None)
        assert stored(con, second) == (None, None, None, None, None)
        (third,) = con.remember(make({"image": [str(path)], "audio": ["a.wav"]}))
        assert stored(con, third) == (None, str(path), "image/png", None, "a.wav")


def test_tables_change_memories(world: World, tmp_path: Path) -> None:
    red, blue, sound = picture("red"), picture("blue", kind="JPEG"), tone("red")
    with world() as con:
        memory = con.remember("a thing", image=red, audio=sound)
        assert con.update(pa.table({"memory_id": [memory], "image": [blue]})) == 1
        assert stored(con, memory) == (blue, None, "image/jpeg", sound, None)
        con.update(pa.table({"memory_id": [memory], "image": ["b.png"], "audio": ["b.flac"]}))
        assert stored(con, memory) == (None, "b.png", "image/png", None, "b.flac")
        con.update(pa.table({"memory_id": [memory], "image": pa.nulls(1), "audio": pa.nulls(1)}))
        assert stored(con, memory) == (None,) * 5
        con.update(pd.DataFrame({"memory_id": [memory], "image": [red]}))
        assert stored(con, memory)[0] == red


def test_lists_of_structs_in_sql(world: World) -> None:
    red, blue, sound = picture("red"), picture("blue", kind="JPEG"), tone("red")
    with world() as con:
        (memory,) = con.execute("FROM remember_all([{image: ?, audio: 'a.wav'}])", [red]).fetchone()
        assert stored(con, memory) == (red, None, "image/png", None, "a.wav")
        changed = con.execute(
            "FROM update_all([{memory_id: ?, image: ?, audio: ?}])", [memory, blue, sound]
        ).fetchone()
        assert changed == (1,)
        assert stored(con, memory) == (blue, None, "image/jpeg", sound, None)
        con.execute("FROM update_all([{memory_id: ?, image: NULL, audio: 'b.wav'}])", [memory])
        assert stored(con, memory) == (None, None, None, None, "b.wav")


def test_what_is_given_twice_or_is_neither_is_refused(world: World) -> None:
    with world() as con:
        with pytest.raises(ProgrammingError, match="image and media_uri are both given"):
            con.remember(pa.table({"image": [b"x"], "media_uri": ["x.png"]}))
        with pytest.raises(DataError, match="'image' holds int; give bytes, or the path of a file"):
            con.remember(pa.table({"image": [3]}))
        assert con.execute("SELECT count(*) FROM memories").fetchone() == (0,)


def test_the_type_follows_media_that_change(world: World) -> None:
    red, blue = picture("red"), picture("blue", kind="JPEG")
    seen = "SELECT media_type, modalities FROM memories WHERE memory_id = ?"
    with world() as con:
        memory = con.remember("a thing")
        for change, expected in (
            ({"media_uri": "b.png"}, "image/png"),
            ({"media_uri": "b.mp3"}, "audio/mpeg"),
            ({"media": blue}, "image/jpeg"),
            ({"media": b"who knows"}, "image/jpeg"),
            ({"media": b"\x00", "media_type": "image/x-mine"}, "image/x-mine"),
            ({"media": None, "media_uri": None}, None),
        ):
            con.update(memory, **change)
            kinds = ["text"] if expected is None else ["text", expected.partition("/")[0]]
            assert con.execute(seen, [memory]).fetchone() == (expected, kinds)
        con.execute("UPDATE memories SET media = ?", [red])
        assert con.execute(seen, [memory]).fetchone() == ("image/png", ["text", "image"])


@pytest.mark.parametrize("name", ["boat #3.png", "boat?.png", "50% #a?b;c.png"])
def test_names_that_a_uri_would_escape(world: World, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(picture("red"))
    with world() as con:
        con.fit_fusion(pairs())
        ids = con.remember([{"image": str(path)}, {"image": path.as_uri()}])
        assert [stored(con, each)[2] for each in ids] == ["image/png"] * 2
        assert [each.joint_embedding is not None for each in con.get(ids)] == [True, True]


def test_what_is_given_as_a_picture_is_one_whatever_its_name(world: World, tmp_path: Path) -> None:
    odd, path = picture("red", kind="ICO"), tmp_path / "red.txt"
    path.write_bytes(picture("red"))
    with world() as con:
        ids = [con.remember(image=odd), con.remember(image=str(path)), con.remember(image=b"nothing")]
        sql = "SELECT media_type, modalities FROM memories WHERE memory_id = ?"
        assert [con.execute(sql, [each]).fetchone() for each in ids] == [("image/unknown", ["image"])] * 3
        changed = con.remember("words")
        con.update(changed, image=odd)
        assert con.execute(sql, [changed]).fetchone() == ("image/unknown", ["text", "image"])
