"""Compressed texts: every text comes back, and no bytes of a stranger do harm."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aios_db
from aios_db.schema.errors import DataError
from aios_db.schema.packed_text import MAGIC, Codec, compress, reconstruct

TURN = "Caroline: I went to the support group yesterday and it was so powerful."
texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts | st.builds(lambda text, times: text * times, texts, st.integers(0, 400)))
def test_every_text_comes_back(text: str) -> None:
    assert reconstruct(compress(text)) == text


@given(st.binary(max_size=200) | st.builds(lambda rest: MAGIC + b"\x01" + rest, st.binary(max_size=200)))
def test_foreign_bytes_are_refused_or_read(frame: bytes) -> None:
    try:
        text = reconstruct(frame, 1 << 20)
    except DataError:
        return
    assert reconstruct(compress(text)) == text


@given(st.integers(0, 8 * len(compress(TURN)) - 1))
def test_a_flipped_bit_never_gives_another_text(bit: int) -> None:
    frame = bytearray(compress(TURN))
    frame[bit // 8] ^= 1 << bit % 8
    with suppress(DataError):
        assert reconstruct(bytes(frame)) == TURN  # a codec may have bits that say nothing


@pytest.mark.parametrize("cut", range(len(compress(TURN))))
def test_a_cut_frame_is_refused(cut: int) -> None:
    with pytest.raises(DataError):
        reconstruct(compress(TURN)[:cut])


@pytest.mark.parametrize("codec", list(Codec))
def test_a_claimed_length_is_not_allocated(codec: Codec) -> None:
    frame = MAGIC + bytes([1, codec]) + b"\xff\xff\xff\xff\x0f" + bytes(30)
    tracemalloc.start()
    with pytest.raises(DataError, match="claims 4294967295 bytes; the limit is 1000"):
        reconstruct(frame, 1000)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_short_english_turns_shrink_and_noise_grows_by_its_header() -> None:
    assert len(compress(TURN)) == 61 < len(TURN) == 71
    assert compress("xq")[3] == Codec.STORED
    assert len(compress("xq")) == 2 + 9


def test_newer_formats_are_named() -> None:
    frame = bytearray(compress(TURN))
    frame[2] = 9
    with pytest.raises(DataError, match="of format 9; this version reads format 1"):
        reconstruct(bytes(frame))


def test_in_sql(tmp_path: Path) -> None:
    with aios_db.connect(tmp_path / "a.aios", config={"storage": {"max_text_bytes": 4096}}) as con:
        row = con.execute(
            "SELECT reconstruct(compress(t)) = t, octet_length(compress(t)) < length(t), compress(NULL), "
            "reconstruct(NULL) FROM (VALUES ($1)) v(t)",
            [TURN],
        ).fetchone()
        assert row == (True, True, None, None)
        with pytest.raises(aios_db.DataError, match="give what compress"):
            con.execute("SELECT reconstruct('abc'::BLOB)").fetchall()
        with pytest.raises(aios_db.DataError, match="the limit is 4096"):
            con.execute("SELECT compress(repeat('a', 5000))").fetchall()
