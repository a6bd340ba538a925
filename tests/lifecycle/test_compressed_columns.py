"""Compressed memories and their links read back as they were: every column, whatever was done in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lance.file import LanceFileReader

import aios_db
from aios_db.disk.durable import data_files
from aios_db.importers import import_files
from aios_db.store.cold import cold_fragments
from aios_db.store.commit import commit
from aios_db.store.dense import is_dense
from aios_db.store.short_hashes import SHORT

Connect = Callable[..., aios_db.Connection]

DERIVED = "text_embedding, text_code, association_links"
NOW = datetime(2026, 5, 6, 7, tzinfo=timezone.utc)
NAMES = st.sampled_from([None, "Ingrid", "Ørjan", "li"])
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60).filter(str.strip)
MOMENT = st.integers(0, 10**9).map(lambda s: datetime(2001, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=s))
MEMORY = st.fixed_dictionaries(
    {"text": TEXT},
    optional={
        "kind": st.sampled_from(["message", "document", "note"]),
        "title": TEXT,
        "session_id": NAMES,
        "agent_id": NAMES,
        "user_id": NAMES,
        "speaker": NAMES,
        "occurred_at": MOMENT,
        "expires_at": MOMENT.map(lambda each: each + timedelta(days=36_500)),
        "pinned": st.booleans(),
        "importance": st.floats(0, 1, width=32),
        "source": st.sampled_from(["a.txt", "b/c.md"]),
        "metadata": st.dictionaries(st.sampled_from("abc"), st.integers(0, 9), max_size=2),
        "external_id": st.sampled_from([str(each) for each in range(40)]),
    },
)


def memories_of(con: aios_db.Connection) -> list[Any]:
    return con.execute(f"SELECT * EXCLUDE ({DERIVED}) FROM memories ORDER BY memory_id").fetchall()


def links_of(con: aios_db.Connection) -> list[Any]:
    return con.execute("FROM association_links ORDER BY source_id, target_id, kind").fetchall()


def archive(con: aios_db.Connection, ids: list[str]) -> None:
    con.update([{"memory_id": each, "tier": "archived"} for each in ids])


def undo_last(con: aios_db.Connection) -> None:
    (last,) = con.execute("SELECT max(change_id) FROM changes").fetchone() or ()
    con.undo(last)


def link_bytes(con: aios_db.Connection) -> int:
    root = Path(con.store.links.uri)
    return sum((root / path).stat().st_size for path, _ in data_files(con.store.links))


@settings(max_examples=6)
@given(st.lists(MEMORY, min_size=2, max_size=30), st.data())
def test_every_column_is_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, given_: list[Any], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("columns") / "agent.aios"
    with aios_db.connect(path) as con:
        ids = list(dict.fromkeys(con.remember(given_)))
        archived = data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
        archive(con, archived)
        before = memories_of(con), links_of(con)
        assert con.compress().memories == len(archived)
        assert (memories_of(con), links_of(con)) == before
    with aios_db.connect(path) as con:
        assert (memories_of(con), links_of(con)) == before
        con.forget(archived[0])
        undo_last(con)
        con.remember("What comes later lies apart.")
        undo_last(con)
        con.optimize()
        con.compress()
        assert (memories_of(con), links_of(con)) == before
        con.erase(archived[:1])
        left = [each for each in before[0] if each[0] != archived[0]]
        assert memories_of(con) == left
    assert not aios_db.check(path).faults


def test_links_of_what_is_compressed_take_few_bytes(connect: Connect, sentences: list[str]) -> None:
    con = connect()
    ids = con.remember([{"text": f"{each} ({n})", "session_id": "s"} for n in range(4) for each in sentences])
    con.optimize()
    before, size = links_of(con), link_bytes(con)
    archive(con, ids)
    con.compress()
    assert links_of(con) == before
    assert link_bytes(con) * 1.7 < size
    assert [is_dense(each) for each in con.store.links.get_fragments()] == [True]
    version = con.store.links.version
    con.compress()
    assert con.store.links.version == version  # there is nothing to do


def test_links_of_others_stay_apart(connect: Connect, sentences: list[str]) -> None:
    con = connect()
    ids = con.remember([{"text": each, "session_id": "s"} for each in sentences[:20]])
    archive(con, ids[:10])
    con.compress()
    sources = [each.to_table(columns=["source_id"])["source_id"] for each in cold_fragments(con.store.links)]
    there = set(con.execute("SELECT DISTINCT source_id FROM association_links").fetchnumpy()["source_id"])
    assert set(pa.chunked_array(sources[0].chunks).to_pylist()) == there & set(ids[:10])
    con.optimize()
    assert [is_dense(each) for each in con.store.links.get_fragments()].count(True) == 1


def test_what_is_written_afterwards_is_encoded_as_before(connect: Connect, sentences: list[str]) -> None:
    con = connect()
    ids = con.remember(sentences[:20])
    archive(con, ids)
    con.compress()
    con.remember({"text": "The newest of all."})
    con.optimize()
    hot = [each for each in con.store.memories.get_fragments() if not is_dense(each)]
    (path,) = [Path(con.store.memories.uri) / "data" / each.metadata.files[0].path for each in hot]
    schema = LanceFileReader(str(path)).metadata().schema
    assert not any(b"lance-encoding:compression" in (each.metadata or {}) for each in schema)


def test_what_was_compressed_by_an_older_version_becomes_smaller(
    connect: Connect, sentences: list[str]
) -> None:
    con = connect()
    ids = con.remember(sentences)
    archive(con, ids)
    con.compress()
    rows = con.store.memories.to_table()
    before = memories_of(con)
    # As it was written once: by the table's schema.
    row_ids = con.store.memories.to_table(columns=[], with_row_id=True)["_rowid"].to_numpy().astype(np.int64)
    commit(con.store.memories, None, row_ids, {"tier": rows["tier"].combine_chunks()})
    con.store.refresh()
    assert [is_dense(each) for each in cold_fragments(con.store.memories)] == [False]
    con.compress()
    assert [is_dense(each) for each in cold_fragments(con.store.memories)] == [True]
    assert memories_of(con) == before


class Lengths:
    """Vectors of the lengths of texts, since MiniLM reads a quarter of a million letters for a minute."""

    dimension = 384
    version = "lengths@000000000000"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.eye(384, dtype=np.float32)[[len(each) % 384 for each in texts]]


@pytest.mark.parametrize("kept", ["zstd", "fsst"])
def test_long_texts_come_back_bit_for_bit(connect: Connect, kept: str) -> None:
    con = connect({"compression": {"text": kept}})
    con.store.database.texts.given = Lengths()
    texts = [f"{number}: " + "long, longer and longest. " * 10 ** (number % 5) for number in range(12)]
    ids = con.remember([{"text": each, "kind": "document"} for each in texts])
    archive(con, ids)
    assert con.compress().memories == len(texts)
    assert [each.text for each in con.get(ids) if each] == texts
    one = con.get(ids[4])
    assert one is not None and one.text == texts[4]


def stored_hashes(con: aios_db.Connection) -> list[str]:
    table = lance.dataset(con.store.memories.uri).to_table(columns=["content_hash"])
    found: list[str] = table["content_hash"].to_pylist()
    return found


def test_a_hash_is_six_digits_on_the_disk_and_whole_in_sql(connect: Connect, sentences: list[str]) -> None:
    con = connect()
    ids = con.remember([{"text": each, "session_id": "s", "occurred_at": NOW} for each in sentences[:30]])
    before = con.execute("SELECT content_hash FROM memories ORDER BY memory_id").fetchall()
    archive(con, ids[:20])
    con.compress()
    short = [each for each in stored_hashes(con) if each.startswith(SHORT)]
    assert len(short) == 20 and all(len(each) < 30 for each in short)
    assert con.execute("SELECT content_hash FROM memories ORDER BY memory_id").fetchall() == before
    for (each,) in before[::7]:
        found = con.execute("SELECT content_hash FROM memories WHERE content_hash = $1", [each]).fetchall()
        assert found == [(each,)]
    again = con.remember([{"text": each, "session_id": "s", "occurred_at": NOW} for each in sentences[:30]])
    assert again == ids and con.execute("SELECT count(*) FROM memories").fetchone() == (30,)
    con.update([{"memory_id": each, "tier": "long"} for each in ids[:20]])
    assert not [each for each in stored_hashes(con) if each.startswith(SHORT)]


def test_a_text_that_was_changed_outside_is_found(tmp_path: Path, sentences: list[str]) -> None:
    path = tmp_path / "agent.aios"
    with aios_db.connect(path) as con:
        ids = con.remember(sentences[:10])
        archive(con, ids)
        con.compress()
        uri = con.store.memories.uri
    lance.dataset(uri).update({"text": "'another'"}, where=f"memory_id = '{ids[3]}'")
    (fault,) = [each for each in aios_db.check(path).faults if "content_hash" in each.what]
    assert ids[3] in str(fault)


def test_what_can_be_salvaged_has_its_hashes(tmp_path: Path, sentences: list[str]) -> None:
    path = tmp_path / "agent.aios"
    with aios_db.connect(path) as con:
        ids = con.remember(sentences[:10])
        archive(con, ids)
        con.compress()
        before = memories_of(con)
    report = aios_db.salvage(path, tmp_path / "out")
    assert (report.memories, report.losses) == (10, ())
    with aios_db.connect(tmp_path / "other.aios") as con:
        import_files(con, [str(tmp_path / "out")])
        assert memories_of(con) == before


def test_tables_beside_have_no_old_versions_either(connect: Connect) -> None:
    con = connect({"storage": {"keep_versions_s": 0.0}})
    con.remember("The ferry is late.")
    con.optimize()
    table = Path(con.store.memories.uri).with_name("weight_versions.lance")
    assert [len(list(table.glob(each))) for each in ("data/*", "_versions/*.manifest")] == [1, 1]
    assert con.execute("SELECT count(*) FROM weight_versions").fetchone() == (1,)


def test_compressed_memories_are_embedded_again_where_they_lie(
    connect: Connect, sentences: list[str]
) -> None:
    con = connect()
    ids = con.remember(sentences[:30])
    archive(con, ids)
    con.compress()
    before = memories_of(con)

    def some(memories: lance.LanceDataset) -> pa.Table:
        rows = memories.to_table(columns=["memory_id", "text_embedding", "text_weight_version", "text_code"])
        vectors = np.zeros((len(rows), 384), np.float32)
        vectors[:, 0] = 1
        type_ = rows.schema.field("text_embedding").type
        made = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 384).cast(type_)
        return rows.set_column(1, "text_embedding", made)[:12]

    assert con.store.replace_vectors(some) == 12
    assert memories_of(con) == before
    assert con.compress().memories == 12
    assert memories_of(con) == before and len(stored_hashes(con)) == 30
    assert all(each.startswith(SHORT) for each in stored_hashes(con))


def test_what_is_promoted_has_its_column_of_links_again(tmp_path: Path) -> None:
    path = tmp_path / "agent.aios"
    shown = "SELECT memory_id, association_links FROM memories ORDER BY memory_id"
    with aios_db.connect(path) as con:
        ids = con.remember([{"text": f"Ada tunes viola {each}.", "session_id": "s"} for each in range(4)])
    with aios_db.connect(path) as con:
        before = con.execute(shown).fetchall()
        archive(con, ids)
        con.compress()
        assert (
            [links for _, links in con.execute(shown).fetchall()]
            == [None] * 4
            != [links for _, links in before]
        )
        con.update([{"memory_id": each, "tier": "long"} for each in ids])
    with aios_db.connect(path) as con:
        assert con.execute(shown).fetchall() == before
