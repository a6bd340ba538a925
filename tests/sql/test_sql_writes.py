"""A write in SQL happens to what the statement returns, at its end, or is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aios_db
from aios_db.config import Config
from aios_db.schema.config import EngineConfig
from aios_db.udfs import registry

pytestmark = pytest.mark.sql

COUNT = "SELECT count(*) FROM memories"


def fill(con: aios_db.Connection, count: int) -> list[str]:
    vectors = np.random.default_rng(0).normal(size=(count, 384)).astype(np.float32)
    texts = [f"note {number}" for number in range(count)]
    vectors_ = pa.FixedSizeListArray.from_arrays(vectors.ravel(), 384)
    return con.remember(pa.table({"text": texts, "text_embedding": vectors_}))


def remaining(con: aios_db.Connection) -> list[str]:
    return [row[0] for row in con.execute("SELECT memory_id FROM memories ORDER BY memory_id").fetchall()]


REFUSED = [
    "WITH s AS (SELECT forget(memory_id) AS f FROM memories) SELECT count(*) FROM s",
    "WITH s AS (SELECT forget(memory_id) AS f FROM memories) SELECT 1",
    "WITH s AS MATERIALIZED (SELECT forget(memory_id) AS f FROM memories) SELECT * FROM s",
    "SELECT count(forget(memory_id)) FROM memories",
    "SELECT list(forget(memory_id)) FROM memories",
    "SELECT any_value(forget(memory_id)) FROM memories",
    "SELECT forget(memory_id) AS f FROM memories UNION ALL SELECT forget('x')",
    "SELECT f FROM (SELECT forget(memory_id) AS f FROM memories)",
    "SELECT memory_id FROM memories WHERE forget(memory_id) IS NOT NULL",
    "SELECT memory_id FROM memories ORDER BY forget(memory_id)",
    "SELECT memory_id FROM memories GROUP BY memory_id, forget(memory_id)",
    "SELECT memory_id FROM memories QUALIFY row_number() OVER (ORDER BY forget(memory_id)) = 1",
    "SELECT CASE WHEN true THEN forget(memory_id) END FROM memories",
    "SELECT coalesce(forget(memory_id), NULL) FROM memories",
    "SELECT {'f': forget(memory_id)} FROM memories",
    "SELECT forget(memory_id)::VARCHAR FROM memories",
    "SELECT [forget(x) FOR x IN list(memory_id)] FROM memories",
    "SELECT forget(memory_id), (SELECT count(forget(memory_id)) FROM memories) FROM memories",
    "SELECT forget((SELECT max(memory_id) FROM memories WHERE forget(memory_id) IS NOT NULL))",
    "SELECT link(remember('a'), remember('b'))",
    "SELECT remember(remember('a'))",
    "SELECT 1 WHERE EXISTS (SELECT forget(memory_id) FROM memories)",
    "SELECT * FROM memories m, LATERAL (SELECT forget(m.memory_id))",
    "SELECT * FROM purge",
    "SELECT count(*) FROM purge",
    "SELECT count(gone(memory_id)) FROM memories",
    "SELECT count(twice_gone(memory_id)) FROM memories",
    "CREATE TABLE gone_now AS SELECT forget(memory_id) AS f FROM memories",
    "INSERT INTO mine SELECT forget(memory_id) FROM memories",
    "UPDATE mine SET f = (SELECT count(forget(memory_id)) FROM memories)",
    "DELETE FROM mine WHERE EXISTS (SELECT forget(memory_id) FROM memories)",
    "COPY (SELECT forget(memory_id) AS f FROM memories) TO '/nowhere/x.csv'",
    "EXPLAIN ANALYZE SELECT forget(memory_id) FROM memories",
    "EXPLAIN (ANALYZE, FORMAT json) SELECT forget(memory_id) FROM memories",
    "PREPARE p AS SELECT forget($1)",
    "PREPARE p AS SELECT upper($2), gone($1)",
    "SELECT forget(memory_id), error('boom') FROM memories",
    "PIVOT (SELECT forget(memory_id) AS f, kind FROM memories) ON kind USING count(f)",
    "FROM memories m, forget_all([m.memory_id])",
    "SELECT count(erase(memory_id)) FROM memories",
    "SELECT memory_id FROM memories WHERE erase(memory_id)",
    "WITH s AS (SELECT erase(memory_id) FROM memories) SELECT 1",
    "SELECT erase(memory_id), forget(memory_id) FROM memories",
    "CREATE TABLE gone_now AS FROM erase_all((SELECT list(memory_id) FROM memories))",
    "FROM memories m, erase_all([m.memory_id])",
    "SELECT error('boom') FROM memories, erase_all((SELECT list(memory_id) FROM memories))",
    "FROM erase_all((SELECT list(memory_id) FROM memories)) WHERE false",
    "FROM erase_all(['x']), forget_all((SELECT list(memory_id) FROM memories))",
]
OTHERS = """
    CREATE MACRO gone(x) AS forget(x);
    CREATE MACRO twice_gone(x) AS gone(x);
    CREATE VIEW purge AS SELECT gone(memory_id) AS f FROM memories;
    CREATE TABLE mine (f BOOLEAN);
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[aios_db.Connection, list[str]]]:
    """A database that no statement of these changes, as each test looks, and the ids in it."""
    with aios_db.connect(tmp_path_factory.mktemp("kept") / "agent.aios", config=Config()) as con:
        ids = fill(con, 3)
        con.execute(OTHERS)
        yield con, sorted(ids)


@pytest.mark.parametrize("sql", REFUSED)
def test_what_would_be_lost_is_refused_and_nothing_is_written(
    kept: tuple[aios_db.Connection, list[str]], sql: str
) -> None:
    con, ids = kept
    with pytest.raises(aios_db.DatabaseError):
        con.execute(sql)
    with pytest.raises((aios_db.DatabaseError, AttributeError)):
        con.sql(sql).fetchall()
    assert remaining(con) == ids


@pytest.mark.parametrize("sql", REFUSED[:2] + REFUSED[23:30])
def test_a_refusal_says_what_to_write(kept: tuple[aios_db.Connection, list[str]], sql: str) -> None:
    with pytest.raises(aios_db.NotSupportedError, match="outermost SELECT"):
        kept[0].execute(sql)


ACCEPTED = {
    "SELECT forget(memory_id) FROM memories ORDER BY memory_id LIMIT 1": [0],
    "SELECT forget(memory_id) FROM memories ORDER BY memory_id DESC LIMIT 2 OFFSET 1": [7, 8],
    "SELECT *, forget(memory_id) FROM memories WHERE text = 'note 4'": [4],
    "SELECT forget(memory_id), * FROM memories WHERE text = 'note 4'": [4],
    "FROM memories SELECT forget(memory_id) AS f WHERE text IN ('note 1', 'note 2') ORDER BY text": [1, 2],
    "SELECT DISTINCT forget(memory_id) FROM memories, range(3) WHERE text = 'note 3'": [3],
    "SELECT gone(memory_id) FROM memories WHERE text = 'note 5'": [5],
    "SELECT TWICE_GONE(memory_id) FROM memories WHERE text = 'note 5'": [5],
    'SELECT "forget"(memory_id) FROM memories WHERE text = \'note 6\'': [6],
    "SELECT temp.main.forget(memory_id) FROM memories WHERE text = 'note 6'": [6],
    "WITH old AS (FROM memories ORDER BY memory_id LIMIT 2) SELECT forget(memory_id) FROM old": [0, 1],
    "SELECT kind, forget(min(memory_id)) FROM memories GROUP BY kind": [0],
    "SELECT forget(first(memory_id ORDER BY memory_id DESC)) FROM memories": [9],
    "SELECT forget(memory_id) FROM memories QUALIFY row_number() OVER (ORDER BY memory_id) = 2": [1],
    "SELECT forget(memory_id) FROM memories LIMIT 0": [],
    "SELECT forget(memory_id) FROM memories WHERE false": [],
    "SELECT forget((SELECT max(memory_id) FROM memories))": [9],
    "SELECT forget(a.memory_id), forget(b.memory_id) FROM memories a, memories b "
    "WHERE a.text = 'note 1' AND b.text = 'note 2'": [1, 2],
    "FROM forget_all((SELECT list(memory_id) FROM memories WHERE text > 'note 6'))": [7, 8, 9],
    "SELECT 1 FROM forget_all((SELECT list(memory_id) FROM memories WHERE text = 'note 0'))": [0],
    "FROM forget_all([])": [],
    "FROM forget_all(NULL)": [],
    "SELECT text, erase(memory_id) FROM memories ORDER BY memory_id LIMIT 2": [0, 1],
    "SELECT erase(memory_id) FROM memories WHERE false": [],
    "SELECT erase(unnest([min(memory_id), max(memory_id)])) FROM memories": [0, 9],
    "FROM erase_all((SELECT list(memory_id) FROM memories WHERE text > 'note 6'))": [7, 8, 9],
    "SELECT text FROM memories, erase_all((SELECT [min(memory_id)] FROM memories))": [0],
    "SELECT (SELECT count(*) FROM memories) FROM erase_all((SELECT [max(memory_id)] FROM memories))": [9],
    "FROM erase_all([])": [],
    "FROM erase_all(NULL)": [],
    "EXPLAIN SELECT erase(memory_id) FROM memories": [],
    "EXPLAIN SELECT forget(memory_id) FROM memories": [],
    "EXPLAIN SELECT count(forget(memory_id)) FROM memories": [],
}  # fmt: skip


@pytest.mark.parametrize("sql", ACCEPTED)
@pytest.mark.parametrize("by", ["execute", "sql"])
def test_exactly_what_is_returned_is_written(con: aios_db.Connection, sql: str, by: str) -> None:
    ids = fill(con, 10)
    con.execute(OTHERS)
    if by == "execute":
        con.execute(sql)
    else:
        con.sql(sql).fetchall()
    assert remaining(con) == sorted(set(ids) - {ids[place] for place in ACCEPTED[sql]})


@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    limit=st.integers(0, 12),
    offset=st.integers(0, 12),
    order=st.sampled_from(["memory_id", "memory_id DESC", "text", "hash(text)"]),
    where=st.sampled_from(["true", "text > 'note 3'", "hash(text) % 2 = 0", "text = 'no'"]),
)
def test_a_select_that_forgets_returns_the_rows_it_would_show(
    con: aios_db.Connection, limit: int, offset: int, order: str, where: str
) -> None:
    con.forget(remaining(con))
    ids = fill(con, 10)
    rows = f"FROM memories WHERE {where} ORDER BY {order} LIMIT {limit} OFFSET {offset}"
    shown = [row[0] for row in con.execute(f"SELECT memory_id {rows}").fetchall()]
    assert con.execute(f"SELECT memory_id, forget(memory_id) {rows}").fetchall() == [
        (each, True) for each in shown
    ]
    assert remaining(con) == sorted(set(ids) - set(shown))


IN_A_TRANSACTION = [
    "SELECT forget(?)", "SELECT gone(?)", "SELECT Twice_Gone(?)", 'SELECT main."gone"(?)',
    "FROM forget_all([?])", "SELECT f FROM purge WHERE ? = ''", "SELECT count(gone(?))", "FROM all_gone([?])",
    "SELECT erase(?)", "FROM erase_all([?])",
]  # fmt: skip


@pytest.mark.parametrize("sql", IN_A_TRANSACTION)
@pytest.mark.parametrize("end", ["rollback", "commit"])
def test_a_transaction_writes_no_memory(con: aios_db.Connection, sql: str, end: str) -> None:
    (memory_id,) = fill(con, 1)
    con.execute(OTHERS + "CREATE MACRO all_gone(x) AS TABLE FROM forget_all(x);")
    con.begin()
    with pytest.raises(aios_db.NotSupportedError):
        con.execute(sql, [memory_id])
    with pytest.raises(aios_db.DatabaseError):
        con.sql(sql, params=[memory_id])
    con.rollback()
    con.begin()
    assert con.execute("EXPLAIN SELECT gone('x')").fetchall()
    getattr(con, end)()
    assert remaining(con) == [memory_id]


def test_a_refused_write_leaves_the_transaction_open(con: aios_db.Connection) -> None:
    con.execute(OTHERS)
    con.begin()
    con.execute("INSERT INTO mine VALUES (true)")
    for sql in ("SELECT forget('x')", "SELECT gone('x')", "FROM forget_all(['x'])"):
        with pytest.raises(aios_db.NotSupportedError, match="durable"):
            con.execute(sql)
    con.commit()
    assert con.execute("FROM mine").fetchall() == [(True,)]


def test_words_that_are_no_calls(con: aios_db.Connection) -> None:
    fill(con, 1)
    con.begin()
    con.execute("CREATE TEMP TABLE link (forget INTEGER, remember VARCHAR)")
    con.execute("INSERT INTO link VALUES (1, 'forget(1)')")
    assert con.execute(
        "SELECT forget, remember AS forget_all, 'link(1, 2)' FROM link -- forget(2)"
    ).fetchall() == [(1, "forget(1)", "link(1, 2)")]
    con.commit()


@pytest.fixture
def model(minilm_dir: Path, tmp_path: Path) -> Iterator[aios_db.Connection]:
    config = Config(engine=EngineConfig(models_dir=str(minilm_dir.parent)))
    with aios_db.connect(tmp_path / "model.aios", config=config) as connection:
        yield connection


def test_remember_returns_ids_in_the_order_of_the_rows(model: aios_db.Connection) -> None:
    sql = "SELECT i, remember('n ' || i % 3, kind := 'document') FROM range(7) t(i) ORDER BY i DESC LIMIT 6"
    rows = model.execute(sql).fetchall()
    assert [row[0] for row in rows] == [6, 5, 4, 3, 2, 1]
    by_text = dict(model.execute("SELECT memory_id, text FROM memories").fetchall())
    assert [by_text[row[1]] for row in rows] == [f"n {i % 3}" for i in (6, 5, 4, 3, 2, 1)]
    assert len(by_text) == 3


def test_the_fetch_methods_of_a_remember(model: aios_db.Connection) -> None:
    (first,) = model.execute("SELECT remember('y')").fetchone() or ()
    assert model.execute("SELECT remember('y', kind := 'document')").fetchmany(5) != [(first,)]
    assert [len(row) for row in model.execute("SELECT remember('z'), 1")] == [2]
    with pytest.raises(aios_db.DataError, match="NULL"):
        model.execute("SELECT remember(NULL)")
    for _ in range(3):  # never from a kept plan, which would bind no call
        (made,) = model.execute("SELECT remember('again ' || text) FROM recall('y', k := 1)").fetchone() or ()
        assert model.execute("SELECT count(*) FROM memories WHERE memory_id = ?", [made]).fetchone() == (1,)


def test_remember_all(model: aios_db.Connection) -> None:
    rows = (
        "[{text: 'tea', speaker: 'Ada', metadata: {page: 3}}, {text: 'jam', speaker: NULL, metadata: NULL}]"
    )
    ids = model.execute(f"FROM remember_all({rows})").fetchall()
    stored = model.execute(
        "SELECT memory_id, text, speaker, metadata FROM memories ORDER BY memory_id"
    ).fetchall()
    assert stored == [(ids[0][0], "tea", "Ada", '{"page": 3}'), (ids[1][0], "jam", None, None)]
    model.execute("CREATE TABLE mine AS SELECT 'note ' || i AS text, 's' AS session_id FROM range(5) t(i)")
    assert len(model.execute("FROM remember_all((SELECT list(mine) FROM mine))").fetchall()) == 5
    assert model.execute("SELECT count(*) FROM memories WHERE session_id = 's'").fetchone() == (5,)
    for wrong, error in (("[{colour: 'red'}]", aios_db.ProgrammingError), ("[{text: ''}]", aios_db.DataError),
                         ("[1]", aios_db.DataError)):  # fmt: skip
        with pytest.raises(error):
            model.execute(f"FROM remember_all({wrong})")
    assert model.execute("SELECT count(*) FROM remember_all([])").fetchone() == (0,)
    assert model.execute(COUNT).fetchone() == (7,)


def test_update_all(con: aios_db.Connection) -> None:
    ids = fill(con, 3)
    con.execute("FROM update_all([{memory_id: ?, metadata: {page: 3}, session_id: 's'}])", [ids[0]])
    before = con.store.memories.version
    listed = "SELECT list({memory_id: memory_id, tier: 'long', session_id: NULL}) FROM memories"
    assert con.execute(f"FROM update_all(({listed}))").fetchall() == [(3,)]
    assert con.store.memories.version == before + 1
    changed = con.execute("SELECT tier, session_id, metadata FROM memories ORDER BY memory_id").fetchall()
    assert changed == [("long", None, '{"page": 3}'), ("long", None, None), ("long", None, None)]
    assert con.history(limit=1)[0].call == "update"
    good = f"{{memory_id: '{ids[1]}', tier: 'short'}}"
    for wrong, error in ((f"{good}, {{memory_id: 'nobody', tier: 'short'}}", aios_db.ProgrammingError),
                         (f"{good}, {{memory_id: NULL, tier: 'short'}}", aios_db.DataError),
                         (f"{good}, {{memory_id: '{ids[0]}', tier: 'medium'}}", aios_db.DataError),
                         ("{tier: 'short'}", aios_db.DataError),
                         (f"{{memory_id: '{ids[0]}', sky: 'red'}}", aios_db.ProgrammingError)):  # fmt: skip
        with pytest.raises(error):
            con.execute(f"FROM update_all([{wrong}])")
    assert con.store.memories.version == before + 1
    assert con.execute("SELECT * FROM update_all([])").fetchone() == (0,)


def test_link_in_sql(con: aios_db.Connection) -> None:
    ids = fill(con, 4)
    kinds = "SELECT kind, count(*) FROM association_links WHERE kind IN ('a', 'b') GROUP BY ALL ORDER BY ALL"
    con.execute(
        "SELECT link(a.memory_id, b.memory_id, 'a', 0.5) FROM memories a, memories b WHERE a.text = 'note 0' "
        "AND b.text <> 'note 0' ORDER BY b.text LIMIT 2"
    )
    assert con.execute(kinds).fetchall() == [("a", 2)]
    assert con.execute(
        "FROM link_all([{source_id: $a, target_id: $b, kind: 'b'}, "
        "{source_id: $b, target_id: $c, kind: 'b'}])",
        dict(zip("abc", ids, strict=False)),
    ).fetchall() == [(2,)]
    assert con.execute(kinds).fetchall() == [("a", 2), ("b", 2)]
    with pytest.raises(aios_db.ProgrammingError, match="no memory nobody"):
        con.execute("SELECT link(memory_id, 'nobody') FROM memories")


def test_forgetting_600_rows_is_one_commit(con: aios_db.Connection) -> None:
    fill(con, 600)
    before = con.store.memories.version
    assert con.execute("SELECT forget(memory_id) FROM memories").fetchall() == [(True,)] * 600
    assert con.store.memories.version == before + 1
    assert con.execute("SELECT forget('a'), forget('a')").fetchall() == [(False, False)]


@pytest.mark.parametrize("sql", ["SELECT erase(?)", "SELECT erased > 0 FROM erase_all([?]), memories"])
@pytest.mark.parametrize("forgotten", [False, True])
def test_what_sql_erases_is_in_no_file(
    con: aios_db.Connection, tmp_path: Path, sql: str, forgotten: bool
) -> None:
    secret = "the pin is 4711 0815"
    vector = pa.FixedSizeListArray.from_arrays(np.ones(384, np.float32), 384)
    (memory_id,) = con.remember(pa.table({"text": [secret], "text_embedding": vector}))
    fill(con, 3)
    if forgotten:  # and so still in an older version
        con.forget(memory_id)

    def files() -> list[Path]:
        return [
            each for each in tmp_path.rglob("*") if each.is_file() and secret.encode() in each.read_bytes()
        ]

    assert files()
    assert set(con.execute(sql, [memory_id]).fetchall()) == {(not forgotten,)}
    assert files() == []
    assert con.execute(COUNT).fetchone() == (3,)
    assert con.execute("SELECT erase(NULL), erase('nobody'), erase('nobody')").fetchall() == [
        (None, False, False)
    ]


def test_only_who_may_write_erases(con: aios_db.Connection, tmp_path: Path) -> None:
    ids = fill(con, 2)
    con.execute("UPDATE memories SET user_id = 'bo'")
    with aios_db.connect(tmp_path / "agent.aios", config=Config(), read_only=True) as reader:
        for sql in (f"SELECT erase('{ids[0]}')", f"FROM erase_all(['{ids[0]}'])"):
            with pytest.raises(aios_db.DatabaseError, match=r"read.only"):
                reader.execute(sql)
    with aios_db.connect(tmp_path / "agent.aios", config=Config(), user_id="ada") as ada:
        assert ada.execute("SELECT erase(?)", [ids[0]]).fetchall() == [(False,)]
        assert ada.execute("FROM erase_all(?)", [ids]).fetchall() == [(0,)]
    assert remaining(con) == sorted(ids)


def test_erase_all_on_an_attached_connection(tmp_path: Path) -> None:
    database = duckdb.connect()
    with aios_db.connect(tmp_path / "agent.aios", config=Config()) as con:
        ids = fill(con, 3)
    aios_db.attach(database, tmp_path / "agent.aios")
    with pytest.raises(duckdb.Error, match="here write FROM erase_all"):
        database.execute("SELECT erase('x')")
    assert database.execute("FROM erase_all(?)", [ids[:2]]).fetchall() == [(2,)]
    assert database.execute("SELECT memory_id FROM memories").fetchall() == [(ids[2],)]
    aios_db.detach(database)


def test_every_function_that_writes_is_told_of_when_it_is_bound() -> None:
    """One declaration says what writes; the macros that call it must call the mark, too."""
    names = {each.name for each in registry.FUNCTIONS if each.writes}
    macros_ = {item.name: item.statement for item in registry.sql_objects()}
    for name in names:
        callers = [macro for macro, statement in macros_.items() if f"{name}(" in statement]
        assert callers == [name.removeprefix("aios_")]
        assert f"aios_writes('{callers[0]}')" in macros_[callers[0]]
    for write in registry.DEFERRED:
        assert f"'{write.tag}'" in macros_[write.name]
        assert f"aios_writes('{write.name}')" in macros_[write.name]
