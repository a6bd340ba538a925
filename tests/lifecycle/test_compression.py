"""Archived memories lose their vectors' bytes, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import aios_db
from aios_db.disk.durable import fragment_files
from aios_db.importers import import_files
from aios_db.store import cold
from aios_db.store.cold import cold_fragments
from aios_db.store.snapshot import handle

Connect = Callable[..., aios_db.Connection]


def archive(con: aios_db.Connection, ids: list[str]) -> None:
    con.update([{"memory_id": each, "tier": "archived"} for each in ids])


def table_bytes(con: aios_db.Connection) -> int:
    """The bytes of the files that the newest version of the memories consists of."""
    files = (file for each in con.store.memories.get_fragments() for file in each.metadata.files)
    return sum((Path(con.store.memories.uri) / "data" / each.path).stat().st_size for each in files)


def answers(con: aios_db.Connection, asked: list[str]) -> list[str]:
    return [con.recall(each, k=1)[0].memory_id for each in asked]


@pytest.mark.parametrize(
    ("precision", "most_bytes"), [("float16", 768), ("int8", 384), ("bits", 48), ("none", 0)]
)
def test_archived_memories_keep_their_text_and_few_bytes(
    connect: Connect, sentences: list[str], precision: str, most_bytes: int
) -> None:
    con = connect({"compression": {"archived": precision}})
    ids = con.remember(sentences)
    before = con.get(ids)
    archive(con, ids[:80])
    assert con.compress().memories == 80
    rows = con.execute(
        "SELECT memory_id, text_embedding IS NULL, octet_length(text_code) FROM memories"
    ).fetchall()
    found = {name: (gone, size) for name, gone, size in rows}
    assert all(found[each] == (True, most_bytes) for each in ids[:80])
    assert all(found[each] == (False, None) for each in ids[80:])
    assert [each.text for each in con.get(ids) if each] == sentences
    vectors = [[each.text_embedding for each in some if each] for some in (before[80:], con.get(ids[80:]))]
    assert np.array_equal(*vectors)
    for place in range(5, 80, 15):
        assert ids[place] in [each.memory_id for each in con.recall(sentences[place], k=3)]
    assert con.compress().memories == 0


def test_what_is_compressed_takes_a_tenth(connect: Connect, sentences: list[str]) -> None:
    con = connect()
    ids = con.remember([f"{each} ({number})" for number in range(6) for each in sentences])
    con.optimize()
    before = table_bytes(con)
    archive(con, ids)
    con.compress()
    assert table_bytes(con) * 6 < before


def test_it_is_the_same_after_opening_again_and_in_memory(connect: Connect, sentences: list[str]) -> None:
    con = connect()
    ids = con.remember(sentences)
    archive(con, ids)
    con.compress()
    asked = sentences[::20]
    found = answers(con, asked)
    con.close()
    con = connect(read_only=True)
    assert answers(con, asked) == found
    con.close()
    con = connect({"search": {"index": "memory"}})
    assert answers(con, asked) == found


def test_a_promoted_memory_has_its_vector_again(connect: Connect, sentences: list[str]) -> None:
    con = connect()
    ids = con.remember(sentences)
    first = con.get(ids[3])
    archive(con, ids)
    con.compress()
    con.update(ids[3], tier="long")
    again = con.get(ids[3])
    assert first is not None and again is not None and again.text_embedding is not None
    assert float(first.text_embedding @ again.text_embedding) > 0.99  # batches are not bit for bit alike
    codes = con.execute("SELECT count(*) FROM memories WHERE text_code IS NULL").fetchone()
    assert codes == (1,)
    con.compress()
    assert [each.count_rows() for each in cold_fragments(con.store.memories)] == [len(ids) - 1]


def test_a_changed_text_is_embedded_anew(connect: Connect, sentences: list[str]) -> None:
    con = connect()
    ids = con.remember(sentences)
    archive(con, ids)
    con.compress()
    con.update(ids[4], text="The lighthouse keeper counts seals at dawn.")
    missing = "SELECT text_embedding IS NULL, text_code IS NULL FROM memories WHERE memory_id = $1"
    assert con.execute(missing, [ids[4]]).fetchone() == (False, True)
    assert answers(con, ["who counts seals at the lighthouse?"]) == [ids[4]]
    assert con.compress().memories == 1


def test_a_given_vector_stays(connect: Connect) -> None:
    con = connect()
    vector = np.eye(1, 384, dtype=np.float32)[0]
    (own,) = con.remember([{"text": "mine", "text_embedding": vector, "tier": "archived"}])
    con.remember([{"text": "another", "tier": "archived"}])
    packed = con.compress()
    assert (packed.memories, packed.kept) == (1, 1)
    found = con.get(own)
    assert found is not None and np.array_equal(found.text_embedding, vector)


def test_undo_of_what_came_before_and_after(connect: Connect, sentences: list[str]) -> None:
    con = connect()
    ids = con.remember(sentences)
    archive(con, ids[:50])
    archived = con.execute("SELECT max(change_id) FROM changes").fetchone()
    con.compress()
    con.forget(ids[7])
    forgotten = con.execute("SELECT max(change_id) FROM changes").fetchone()
    assert archived and forgotten
    con.undo(forgotten[0])
    assert answers(con, [sentences[7]]) == [ids[7]]
    con.undo(archived[0])
    tiers = con.execute("SELECT DISTINCT tier FROM memories").fetchall()
    missing = con.execute("SELECT count(*) FROM memories WHERE text_embedding IS NULL").fetchone()
    assert tiers == [("short",)] and missing == (0,)


def test_exports_doctor_and_repair_know_them(connect: Connect, sentences: list[str], tmp_path: Path) -> None:
    con = connect()
    ids = con.remember(sentences)
    archive(con, ids)
    con.compress()
    con.export(tmp_path / "all.jsonl")
    con.close()
    assert not aios_db.check(tmp_path / "agent.aios").faults
    aios_db.repair(tmp_path / "agent.aios")
    con = connect()
    counts = "SELECT count(association_links), count(text_code) FROM memories"
    assert con.execute(counts).fetchone() == (0, len(ids))
    with aios_db.connect(tmp_path / "other.aios") as other:
        import_files(other, [tmp_path / "all.jsonl"])
        assert answers(other, sentences[::25]) == answers(con, sentences[::25])


def test_what_is_forgotten_leaves_the_archive(connect: Connect, sentences: list[str]) -> None:
    con = connect()
    ids = con.remember(sentences[:20])
    archive(con, ids)
    con.compress()
    con.forget(ids[0])
    con.compress()
    assert con.execute("SELECT count(*) FROM memories WHERE text_code IS NOT NULL").fetchone() == (19,)


def test_erasing_keeps_them_apart(connect: Connect, sentences: list[str]) -> None:
    con = connect()
    ids = con.remember(sentences)
    archive(con, ids[:60])
    con.compress()
    con.erase([ids[0], ids[80]])
    assert sum(each.count_rows() for each in cold_fragments(con.store.memories)) == 59
    assert con.compress().memories == 0


def test_what_is_astray_is_moved(connect: Connect, sentences: list[str]) -> None:
    con = connect()
    ids = con.remember(sentences)
    archive(con, ids[:60])
    con.compress()
    memories = handle(con.store.memories)
    memories.optimize.compact_files()  # as a program would that knows nothing of codes
    con.store.refresh()
    assert not cold_fragments(con.store.memories)
    con.compress()
    assert sum(each.count_rows() for each in cold_fragments(con.store.memories)) == 60
    assert answers(con, sentences[3:50:9]) == ids[3:50:9]


def test_looking_for_what_is_compressed_keeps_no_version_of_the_table(
    connect: Connect, sentences: list[str]
) -> None:
    con = connect()
    con.remember(sentences[:3])
    fragments = con.store.memories.get_fragments()
    of_files = {tuple(path for path, _ in fragment_files([each.metadata])) for each in fragments}
    assert not of_files & cold._known.keys() and cold_fragments(con.store.memories) == []
    assert of_files <= cold._known.keys()
    assert {type(each) for files in cold._known for each in files} == {str}  # and no fragment
