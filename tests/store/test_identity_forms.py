"""Texts that are canonically equivalent are one memory, and their names and titles meet."""

from __future__ import annotations

import unicodedata

import pyarrow as pa
import pytest

import aios_db
from aios_db.config import Config
from aios_db.store.identity import content_hashes

COLUMNS = (
    "user_id", "agent_id", "session_id", "kind", "title", "text", "speaker", "media", "media_uri", "audio",
    "audio_uri",
)  # fmt: skip


def hashed(**values: str) -> str:
    kinds = dict.fromkeys(("media", "audio"), pa.large_binary())
    columns = {name: pa.array([values.get(name)], kinds.get(name, pa.string())) for name in COLUMNS}
    return str(content_hashes(columns)[0])


@pytest.mark.parametrize("column", ["title", "text", "speaker"])
def test_composed_and_decomposed_texts_are_the_same(column: str) -> None:
    for text in ("Zoë Müller, 한국, が, ệ", "ascii only"):
        assert hashed(**{column: unicodedata.normalize("NFD", text)}) == hashed(**{column: text})


def test_other_texts_differ() -> None:
    assert len({hashed(text=text) for text in ("Straße", "STRASSE", "Strasse", "ﬁ", "fi", "Ａ", "A")}) == 7


def test_hashes_of_composed_texts_are_as_they_were() -> None:
    assert hashed(text="Müller", kind="message") == (
        "cc5f129d787cbcbc602d8f3eb155c2a2ced0a02d3a2cb455344daf3b6b20f3e1"
    )


@pytest.mark.sql
def test_both_forms_are_one_memory_and_either_finds_it(tmp_path) -> None:
    with aios_db.connect(tmp_path / "agent.aios", config=Config()) as con:
        vector = [1.0] + [0.0] * 383
        texts = [unicodedata.normalize(form, "Frau Müller kommt am Montag") for form in ("NFC", "NFD")]
        ids = [con.remember([{"text": text, "text_embedding": vector}])[0] for text in texts]
        assert ids[0] == ids[1]
        con.remember([{"text": "Herr Maier kommt am Dienstag", "text_embedding": vector}])
        for query in ("Mu\u0308ller", "MÜLLER", "Mueller", "muller"):
            found = con.execute("SELECT memory_id FROM keyword_search(?, 5)", [query]).fetchall()
            assert found == [(ids[0],)], query
        (text,) = con.execute("SELECT text FROM memories WHERE memory_id = ?", [ids[0]]).fetchone()
        assert text == texts[0]  # as it was given


@pytest.mark.sql
def test_a_title_is_mentioned_in_another_form(tmp_path) -> None:
    with aios_db.connect(tmp_path / "agent.aios", config=Config()) as con:
        titled, other = con.remember(
            [
                {"title": "Café Zürich", "text": "A place.", "text_embedding": [1.0] + [0.0] * 383},
                {
                    "text": "We met at the Cafe\u0301 Zu\u0308rich.",
                    "text_embedding": [0.0, 1.0] + [0.0] * 382,
                },
            ]
        )
        links = con.execute("SELECT source_id, target_id FROM association_links").fetchall()
        assert (other, titled) in links
