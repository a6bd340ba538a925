"""Texts as what they say: exact with the difference, faithful without, and never another text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import aios_db
from aios_db.lifecycle.compression.semantic import Compressor, Reconstructor, without_detail
from aios_db.lifecycle.salience import invented, salient
from aios_db.schema.errors import DataError

Connect = Callable[..., aios_db.Connection]
TALK = (
    "We met at the harbour on 14 May, Ada and I, before the ferry to Bergen left at 6:45. "
    "The weather was fine and we talked for a long time about this and that and other things of no weight. "
    "It was a nice morning, all in all, and we enjoyed every minute of it very much indeed. "
    "She said that the ferry has never been late in 30 years, which I did not believe at all. "
    "Then we had coffee and a sandwich, and a second coffee, and looked at the gulls for a while. "
    "In the end the ferry left at 7:10, with 212 people, and Ada paid for both tickets."
)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def words(given: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors of hashed words."""
    found = np.zeros((len(given), 64), np.float32)
    for row, text in enumerate(given):
        for word in text.split() or [""]:
            found[row, sum(word.encode()) % 64] += 1
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def half(text: str) -> str:
    return text[: len(text) // 2]


@given(texts | st.builds(lambda text, times: text * times, texts, st.integers(1, 200)))
def test_with_the_difference_every_text_comes_back(text: str) -> None:
    made = Compressor(half, words, 0.0).compress(text)
    assert made.exact
    assert Reconstructor().reconstruct(made.frame) == text


@given(st.binary(max_size=300))
def test_foreign_bytes_are_refused_or_read(rest: bytes) -> None:
    for frame in (rest, b"\xa1G\x01" + rest):
        try:
            Reconstructor(1 << 16).reconstruct(frame)
        except DataError:
            continue


@given(st.integers(0, 2000), st.integers(1, 255))
def test_a_damaged_frame_gives_no_other_text(place: int, change: int) -> None:
    frame = bytearray(Compressor(half, words, 0.0).compress(TALK).frame)
    frame[place % len(frame)] ^= change
    try:
        assert Reconstructor().reconstruct(bytes(frame)) == TALK
    except DataError:
        return


def test_without_the_difference_names_and_numbers_stay() -> None:
    denying = lambda text: next(each for each in text.split(". ") if "never" in each)  # noqa: E731
    made = Compressor(denying, words, 0.3).compress(TALK, detail=False)
    said = Reconstructor().reconstruct(made.frame)
    assert not made.exact and made.fidelity.kept == 1.0
    assert salient(TALK) <= salient(said)
    assert not invented(said, [TALK])
    with_detail = Compressor(denying, words, 0.3).compress(TALK)
    assert without_detail(with_detail.frame) == made.frame
    assert len(made.frame) < len(with_detail.frame)


def test_below_the_floor_the_text_stays() -> None:
    for summary in ("Nothing.", TALK[: TALK.index(". ")]):  # far from it; and without what it denies
        made = Compressor(lambda _, said=summary: said, words, 0.5).compress(TALK, detail=False)
        assert made.exact and made.fidelity.score < 0.5
        assert Reconstructor().reconstruct(made.frame) == TALK


def test_a_bomb_is_not_inflated() -> None:
    frame = Compressor(lambda _: "a", words, 0.0).compress("a" * 1_000_000).frame
    with pytest.raises(DataError):
        Reconstructor(1000).reconstruct(frame)


def test_in_sql_with_the_own_model(connect: Connect) -> None:
    con = connect({"compression": {"fidelity": 0.5}})
    exact, said, sizes = con.execute(
        "SELECT reconstruct(compress(t, semantic := true)) = t, reconstruct(short), "
        "[octet_length(compress(t)), octet_length(short)] "
        "FROM (SELECT t, compress(t, semantic := true, detail := false) AS short FROM (VALUES ($1)) v(t))",
        [TALK],
    ).fetchone() or (None, "", [])
    assert exact
    assert said != TALK and salient(TALK) <= salient(said)
    assert not invented(said, [TALK])
    assert sizes[1] < sizes[0]
    con = connect({"compression": {"fidelity": 1.0}})
    row = con.execute("SELECT reconstruct(compress($1, semantic := true, detail := false)) = $1", [TALK])
    assert row.fetchone() == (True,)
