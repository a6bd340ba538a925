"""INSERT, UPDATE and DELETE on the tables of the database."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aios_db
from tests.sql.test_sql_writes import fill, remaining

pytestmark = pytest.mark.sql

VECTOR = "[CASE WHEN j = {} THEN 1 ELSE 0 END FOR j IN range(384)]::FLOAT[384]"
NOTES = f"(SELECT 'new ' || i AS text, 's' AS session_id, {VECTOR.format('i')} AS v FROM range(4) t(i))"


def texts(con: aios_db.Connection) -> list[str]:
    return [row[0] for row in con.execute("SELECT text FROM memories ORDER BY text").fetchall()]


def test_insert_select(con: aios_db.Connection) -> None:
    columns = "text, session_id, text_embedding, kind"
    sql = f"INSERT INTO memories ({columns}) SELECT text, session_id, v, 'fact' FROM {NOTES}"
    cursor = con.execute(sql)
    assert (cursor.rowcount, cursor.fetchall()) == (4, [(4,)])
    assert texts(con) == ["new 0", "new 1", "new 2", "new 3"]
    assert con.execute("SELECT DISTINCT kind, tier, session_id FROM memories").fetchall() == [
        ("fact", "short", "s")
    ]
    before = con.store.memories.version
    assert con.execute(sql).rowcount == 4
    assert len(texts(con)) == 4  # the same content in one scope is one memory
    assert con.store.memories.version <= before + 1


def test_insert_values_by_name_with_parameters_and_returning(con: aios_db.Connection) -> None:
    vector = np.eye(384)[0].tolist()
    cursor = con.execute(
        "INSERT INTO memories (text, text_embedding, title) VALUES (?, ?, ?), ('b', ?, NULL) "
        "RETURNING upper(text) AS big, title, memory_id IS NOT NULL, tier",
        ["a", vector, "A", np.eye(384)[1].tolist()],
    )
    assert next(column[0] for column in cursor.description or []) == "big"
    assert cursor.fetchall() == [("A", "A", True, "short"), ("B", None, True, "short")]
    by_name = f"INSERT INTO memories BY NAME SELECT v AS text_embedding, text FROM {NOTES} RETURNING *"
    assert sorted(row[3] for row in con.sql(by_name).fetchall()) == ["new 0", "new 1", "new 2", "new 3"]
    columns = "(text, text_embedding)"
    with_cte = f"WITH n AS {NOTES} INSERT INTO temp.main.memories {columns} SELECT text || '!', v FROM n"
    assert con.execute(with_cte).rowcount == 4
    assert len(texts(con)) == 10


def test_optimize_is_of_the_whole_database_at_once(con: aios_db.Connection) -> None:
    for _ in range(3):
        fill(con, 2)
        con.forget(con.remember({"text": "gone", "text_embedding": [1.0] + [0.0] * 383}))
    before = texts(con)
    con.optimize()
    assert len(con.store.memories.get_fragments()) == 1
    assert texts(con) == before
    con.begin()
    with pytest.raises(aios_db.NotSupportedError, match="durable"):
        con.optimize()
    con.rollback()


def test_insert_from_the_table_itself(con: aios_db.Connection) -> None:
    fill(con, 5)
    copied = "INSERT INTO memories (text, text_embedding, session_id) SELECT text, text_embedding, 'copy'"
    assert con.execute(copied + " FROM memories" + " WHERE text > 'note 2'").rowcount == 2
    assert texts(con) == ["note 0", "note 1", "note 2", "note 3", "note 3", "note 4", "note 4"]


REFUSED = {
    "INSERT INTO memories (memory_id, text) VALUES ('x', 'y')": "memory_id is filled in",
    "INSERT INTO memories (text, access_count) VALUES ('y', 3)": "access_count is filled in",
    "INSERT INTO memories (text) VALUES ('y') ON CONFLICT DO NOTHING": "ON CONFLICT",
    "INSERT OR REPLACE INTO memories (text) VALUES ('y')": "INSERT OR",
    "MERGE INTO memories USING (SELECT 1) ON false WHEN NOT MATCHED THEN INSERT (text) VALUES ('y')": "MERGE",
    "INSERT INTO memories (text) VALUES ('')": "nothing to remember",
    "INSERT INTO memories (nothing) VALUES ('y')": "nothing",
    "INSERT INTO memories (text, metadata) VALUES ('y', 'no JSON')": "JSON",
    "INSERT INTO memories (text) SELECT remember('x')": "remember",
    "UPDATE memories SET memory_id = 'x'": "cannot be changed",
    "UPDATE memories SET created_at = now()": "created_at is filled in",
    "UPDATE memories SET tier = 'someday'": "tier",
    "UPDATE memories SET nothing = 1": "nothing",
    "UPDATE memories SET importance = text": "Could not convert|Conversion",
    "UPDATE association_links SET kind = 'y'": "cannot be changed",
    "UPDATE association_links SET weight = 3": "weight",
    "DELETE FROM memories WHERE nothing = 1": "nothing",
    "DELETE FROM memories WHERE error('boom') IS NULL": "boom",
    "DELETE FROM memories RETURNING error('boom')": "boom",
    "INSERT INTO association_links (source_id, target_id) VALUES ('a', 'b')": "no memory",
    "COPY memories (text, speaker) FROM 'notes.csv'": "in the place of COPY",
    "PREPARE later AS INSERT INTO memories (text) VALUES ('y')": "to execute",
    "PREPARE later AS UPDATE memories SET tier = 'long'": "statements of their own",
    "EXPLAIN DELETE FROM memories": "statements of their own",
    "CREATE INDEX by_text ON memories (text)": "views to DuckDB",
}


@pytest.mark.parametrize("sql", REFUSED)
def test_what_is_refused_changes_nothing(con: aios_db.Connection, sql: str) -> None:
    ids = fill(con, 3)
    con.link(ids[0], ids[1], kind="x", weight=0.5)
    before = con.execute("SELECT * EXCLUDE (association_links) FROM memories ORDER BY memory_id").fetchall()
    links = con.execute(
        "SELECT source_id, target_id, kind, weight FROM association_links ORDER BY ALL"
    ).fetchall()
    with pytest.raises(aios_db.DatabaseError, match=REFUSED[sql]):
        con.execute(sql)
    assert (
        con.execute("SELECT * EXCLUDE (association_links) FROM memories ORDER BY memory_id").fetchall()
        == before
    )
    assert (
        con.execute(
            "SELECT source_id, target_id, kind, weight FROM association_links ORDER BY ALL"
        ).fetchall()
        == links
    )
    assert con.execute("SELECT count(*) FROM duckdb_tables()").fetchone() == (0,)


DELETES = {
    "DELETE FROM memories WHERE text = 'note 1'": [1],
    "DELETE FROM memories WHERE memory_id = (SELECT max(memory_id) FROM memories)": [5],
    "DELETE FROM memories m WHERE m.text IN ('note 0', 'note 2') RETURNING m.text": [0, 2],
    "DELETE FROM memories USING mine WHERE memories.text = mine.text": [3, 4],
    "DELETE FROM memories WHERE importance < (SELECT avg(importance) FROM memories)": [],
    "DELETE FROM memories WHERE text_embedding IS NULL": [],
    "DELETE FROM memories WHERE media IS NULL AND text > 'note 3'": [4, 5],
    'delete from "memories" where false': [],
    "DELETE FROM main.memories": [0, 1, 2, 3, 4, 5],
    "TRUNCATE memories": [0, 1, 2, 3, 4, 5],
    "DELETE FROM mine": [],
}


@pytest.mark.parametrize("sql", DELETES)
def test_delete(con: aios_db.Connection, sql: str) -> None:
    ids = fill(con, 6)
    con.execute("CREATE TABLE mine AS SELECT 'note ' || i AS text FROM range(3, 5) t(i)")
    cursor = con.execute(sql)
    if "RETURNING" in sql:
        assert sorted(cursor.fetchall()) == [(f"note {place}",) for place in DELETES[sql]]
    else:
        assert cursor.rowcount == (2 if sql == "DELETE FROM mine" else len(DELETES[sql]))
    assert remaining(con) == sorted(set(ids) - {ids[place] for place in DELETES[sql]})


def test_update(con: aios_db.Connection) -> None:
    ids = fill(con, 4)
    state = "SELECT tier, importance, metadata FROM memories ORDER BY memory_id"
    assert con.execute("UPDATE memories SET tier = 'long' WHERE text > 'note 1'").rowcount == 2
    assert con.execute(state).fetchall() == [("short", 0.5, None)] * 2 + [("long", 0.5, None)] * 2
    cursor = con.execute(
        "UPDATE memories SET importance = importance + ?, metadata = to_json({page: ?}) WHERE memory_id = ? "
        "RETURNING memory_id, importance",
        [0.25, 3, ids[0]],
    )
    assert cursor.fetchall() == [(ids[0], 0.75)]
    assert con.execute(state).fetchone() == ("short", 0.75, '{"page":3}')
    con.execute("CREATE TABLE mine AS SELECT 'note 1' AS text, 0.125 AS i")
    assert (
        con.execute("UPDATE memories SET importance = i FROM mine WHERE mine.text = memories.text").rowcount
        == 1
    )
    assert con.execute("SELECT importance FROM memories WHERE text = 'note 1'").fetchone() == (0.125,)
    assert con.execute("UPDATE memories SET tier = tier").rowcount == 4
    many = con.executemany(
        "UPDATE memories SET session_id = ? WHERE text = ?", [["a", "note 0"], ["b", "note 1"]]
    )
    assert many.rowcount == 2
    sessions = con.execute("SELECT session_id FROM memories ORDER BY memory_id").fetchall()
    assert sessions == [("a",), ("b",), (None,), (None,)]
    assert remaining(con) == sorted(ids)


def test_links(con: aios_db.Connection) -> None:
    a, b, c = fill(con, 3)
    mine = "SELECT target_id, kind, weight FROM association_links WHERE kind IN ('user', 'x') ORDER BY ALL"
    assert (
        con.execute("INSERT INTO association_links (source_id, target_id) VALUES (?, ?)", [a, b]).rowcount
        == 1
    )
    inserted = con.execute(
        "INSERT INTO association_links BY NAME "
        "SELECT ? AS source_id, memory_id AS target_id, 'x' AS kind, 0.5 AS weight "
        "FROM memories WHERE memory_id <> ? RETURNING target_id, weight",
        [a, a],
    )
    assert sorted(inserted.fetchall()) == sorted([(b, 0.5), (c, 0.5)])
    assert (
        con.execute(
            "UPDATE association_links SET weight = 0.25 WHERE kind = 'x' AND target_id = ?", [c]
        ).rowcount
        == 1
    )
    assert con.execute(mine).fetchall() == sorted([(b, "user", 1.0), (b, "x", 0.5), (c, "x", 0.25)])
    assert (
        con.execute(
            "DELETE FROM association_links WHERE target_id = ? AND kind IN ('x', 'user')", [b]
        ).rowcount
        == 2
    )
    assert con.execute(mine).fetchall() == [(c, "x", 0.25)]


def test_many_at_once_are_one_commit(con: aios_db.Connection) -> None:
    fill(con, 50)
    before = con.store.memories.version
    assert (
        con.executemany("DELETE FROM memories WHERE text = ?", [[f"note {i}"] for i in range(40)]).rowcount
        == 40
    )
    assert con.store.memories.version == before + 1
    vectors = np.eye(384)[:20].tolist()
    rows = [[f"row {number}", vector] for number, vector in enumerate(vectors)]
    assert con.executemany("INSERT INTO memories (text, text_embedding) VALUES (?, ?)", rows).rowcount == 20
    assert len(texts(con)) == 30


def test_not_in_a_transaction_and_not_when_reading_only(con: aios_db.Connection, tmp_path: Path) -> None:
    ids = fill(con, 1)
    statements = (
        "DELETE FROM memories",
        "UPDATE memories SET tier = 'long'",
        "INSERT INTO memories (text) VALUES ('y')",
    )
    con.begin()
    con.execute("CREATE TABLE mine (a INTEGER)")
    for sql in statements:
        with pytest.raises(aios_db.NotSupportedError, match="durable"):
            con.execute(sql)
        with pytest.raises(aios_db.NotSupportedError, match="durable"):
            con.sql(sql)
    con.commit()
    assert con.execute("SELECT count(*) FROM mine").fetchone() == (0,)
    assert remaining(con) == ids
    with aios_db.connect(con.store.path, read_only=True) as reader:
        for sql in statements:
            with pytest.raises(aios_db.ReadOnlyError):
                reader.execute(sql)
        assert remaining(reader) == ids


def test_a_table_of_ones_own_of_that_name(con: aios_db.Connection) -> None:
    fill(con, 1)
    con.execute("ATTACH ':memory:' AS mine; CREATE TABLE mine.memories (text VARCHAR)")
    assert con.execute("INSERT INTO mine.memories VALUES ('x'), ('y')").rowcount == 2
    assert con.execute("UPDATE mine.memories SET text = 'z' WHERE text = 'x'").rowcount == 1
    assert (
        con.execute("DELETE FROM mine.main.memories WHERE text IN (SELECT text FROM memories)").rowcount == 0
    )
    assert texts(con) == ["note 0"]


@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.sampled_from(
            [
                "UPDATE {} SET tier = 'long' WHERE text > 'note 2'",
                "UPDATE {} SET importance = importance / 2 WHERE tier = 'long' OR text = 'note 0'",
                "UPDATE {} SET source = text || '?', speaker = NULL WHERE source IS NULL",
                "UPDATE {} SET speaker = 'Ada' WHERE text LIKE '%1' OR importance < 0.3",
                "DELETE FROM {} WHERE importance < 0.1",
                "DELETE FROM {} WHERE speaker = 'Ada' AND tier = 'long'",
                "DELETE FROM {} WHERE text = (SELECT max(text) FROM {})",
            ]
        ),
        max_size=6,
    )
)
def test_the_table_follows_as_a_table_of_duckdbs_does(con: aios_db.Connection, statements: list[str]) -> None:
    con.forget(remaining(con))
    fill(con, 5)
    con.execute("CREATE OR REPLACE TABLE copy AS FROM memories")
    for statement in statements:
        ours = con.execute(statement.replace("{}", "memories")).rowcount
        assert ours == con.execute(statement.replace("{}", "copy")).rowcount
        state = "SELECT memory_id, text, tier, importance, source, speaker FROM {} ORDER BY memory_id"
        assert (
            con.execute(state.format("memories")).fetchall() == con.execute(state.format("copy")).fetchall()
        )


METADATA = {
    "{'a': 1}": '{"a":1}',
    "{'a': {'b': [1, 2]}}": '{"a":{"b":[1,2]}}',
    "MAP {'a': 1}": '{"a":1}',
    "json_object('a', 1)": '{"a":1}',
    "to_json({'a': 1})::VARCHAR": '{"a":1}',
    """'{"a":  1}'""": '{"a":  1}',
    "NULL": None,
}


@pytest.mark.parametrize("given", METADATA)
def test_metadata_is_a_struct_a_map_or_json(con: aios_db.Connection, given: str) -> None:
    stored = METADATA[given]
    con.execute(f"INSERT INTO memories (text, metadata) VALUES ('x', {given})")
    con.execute(f"INSERT INTO memories BY NAME SELECT 'y' AS text, {given} AS metadata")
    con.execute(f"SELECT remember('z', metadata := {given})")
    con.execute("""INSERT INTO memories (text, metadata) VALUES ('u', '{"old":0}') RETURNING metadata""")
    changed = con.execute(
        f"UPDATE memories SET metadata = {given} WHERE metadata->>'old' = '0' RETURNING metadata"
    )
    assert changed.fetchall() == [(stored,)]
    rows = con.execute("SELECT text, metadata FROM memories ORDER BY text").fetchall()
    assert rows == [(text, stored) for text in "uxyz"]


def test_metadata_is_a_parameter(con: aios_db.Connection) -> None:
    insert = "INSERT INTO memories (text, metadata) VALUES (?, ?)"
    con.executemany(insert, [["x", {"a": 1}], ["y", '{"a": 2}'], ["z", None]])
    con.execute("UPDATE memories SET metadata = $m WHERE text = 'z'", {"m": {"a": [3]}})
    found = con.execute("SELECT text, metadata->>'a' FROM memories ORDER BY text").fetchall()
    assert found == [("x", "1"), ("y", "2"), ("z", "[3]")]


@pytest.mark.parametrize("given", ["'no JSON'", "[1]", "7"])
def test_metadata_that_is_no_object_is_refused(con: aios_db.Connection, given: str) -> None:
    con.execute("""INSERT INTO memories (text, metadata) VALUES ('x', {'a': 1})""")
    for sql in (
        f"INSERT INTO memories (text, metadata) VALUES ('y', {given})",
        f"UPDATE memories SET metadata = {given}",
        f"SELECT remember('y', metadata := {given})",
    ):
        with pytest.raises(aios_db.DataError, match="JSON"):
            con.execute(sql)
    assert con.execute("SELECT metadata FROM memories").fetchall() == [('{"a":1}',)]


@pytest.mark.parametrize("ask", ["execute", "sql"])
def test_a_statement_sees_what_those_before_it_wrote(tmp_path: Path, ask: str) -> None:
    with aios_db.connect(tmp_path / "several.aios") as con:
        vector = [1.0] + [0.0] * 383
        insert = f"INSERT INTO memories (text, text_embedding) VALUES ('{{}}', {vector})"
        script = f"{insert.format('one')}; {insert.format('two')}; SELECT text FROM memories ORDER BY text"
        assert getattr(con, ask)(script).fetchall() == [("one",), ("two",)]
        script = "DELETE FROM memories WHERE text = 'one'; SELECT text FROM memories"
        assert getattr(con, ask)(script).fetchall() == [("two",)]
