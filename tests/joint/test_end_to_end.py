"""Pictures found by speaking, and recordings by a picture: in SQL, after reopening, twice over."""

from __future__ import annotations

from collections.abc import Callable

from joint_world import WORDS, pairs, picture, seen, tone

import aios_db

World = Callable[..., aios_db.Connection]


def other(con: aios_db.Connection) -> None:
    """Register a picture encoder of another version, which sees otherwise."""
    con.register_encoder("quarters", "image", 12, lambda each: seen(each)[:, ::-1], size=32, version="2")


def found(con: aios_db.Connection, asks: str, given: bytes, modality: str) -> str:
    sql = f"SELECT external_id FROM recall({asks} := ?, modality := '{modality}', k := 1)"
    return con.execute(sql, [given]).fetchone()[0]


def check(con: aios_db.Connection, seed: int) -> None:
    for colour in WORDS:
        assert found(con, "audio", tone(colour, seed), "image") == f"image {colour}"
        assert found(con, "image", picture(colour, seed), "audio") == f"audio {colour}"


def test_twice_over_and_with_another_version_of_an_encoder(world: World) -> None:
    with world() as con:
        con.remember([{"image": picture(each, 100), "external_id": f"image {each}"} for each in WORDS])
        first = con.fit_fusion(pairs())
        con.remember([{"audio": tone(each, 100), "external_id": f"audio {each}"} for each in WORDS])
    for seed in (7, 8):
        with world() as con:
            check(con, seed)
    with world() as con:
        other(con)
        assert con.fit_fusion(pairs()).version != first.version
    for seed in (7, 8):
        with world() as con:
            other(con)
            check(con, seed)
