from __future__ import annotations

import duckdb
import hostile_statements as hostile
import pytest
from security_helpers import SECRET, Place

import aios_db
from aios_db.config import Config

pytestmark = pytest.mark.sql

STATEMENTS = [*hostile.READS, *hostile.WRITES, *hostile.SETTINGS]

secret_of_the_program = {"a": [SECRET]}


def _open(place: Place, kind: str) -> aios_db.Connection:
    if kind == "read_only":
        return aios_db.connect(place.database, config=Config(), read_only=True)
    return aios_db.connect(
        place.database, config=Config(), restricted=True, allowed_directories=[place.allowed]
    )


def test_there_are_more_than_a_hundred_hostile_statements() -> None:
    assert len(set(STATEMENTS)) > 150


@pytest.mark.parametrize("kind", ["read_only", "restricted"])
def test_no_hostile_statement_reads_or_writes_outside(place: Place, kind: str) -> None:
    import pandas as pd

    df = pd.DataFrame({"a": [SECRET]})
    before = place.files()
    ran: list[str] = []
    with _open(place, kind) as con:
        for template in STATEMENTS:
            statement = template.format(o=place.outside, d=place.database, a=place.allowed)
            for ask in (con.execute, con.sql):
                try:
                    seen = str(ask(statement).fetchall())
                except (aios_db.Error, duckdb.Error) as error:  # a relation raises DuckDB's when it is read
                    seen = str(error)
                else:
                    ran.append(f"{statement} -> {seen}")
                assert SECRET not in seen, statement
                con.rollback()
            assert place.files() == before, statement
        assert ran == []
        assert con.execute("SELECT text FROM recall('where is the key?', k := 1)").fetchone() == (
            "The spare key lies under the blue pot.",
        )
        assert con.execute("SELECT count(*) FROM memories").fetchone() == (2,)
    assert df.a[0] == SECRET
    assert not any(SECRET in path.read_text("utf-8", "replace") for path in place.allowed.rglob("*"))


@pytest.mark.parametrize("kind", ["read_only", "restricted"])
def test_what_users_do_goes_on_working(place: Place, kind: str) -> None:
    import pandas as pd

    with _open(place, kind) as con:
        con.execute("CREATE TABLE mine AS SELECT memory_id, 5 AS stars FROM memories")
        con.register("frame", pd.DataFrame({"stars": [5], "name": ["best"]}))
        rows = con.execute("""
            SELECT name, text FROM recall('tea', k := 1) JOIN mine USING (memory_id) JOIN frame USING (stars)
        """).fetchall()
        assert rows == [("best", "Tea is at five.")]
        con.execute("SET VARIABLE wanted = 'tea'; CREATE MACRO twice(x) AS 2 * x")
        assert con.execute("SELECT twice(2), getvariable('wanted')").fetchone() == (4, "tea")
        assert con.execute("SELECT max(created_at) <= now() FROM memories").fetchone() == (True,)
        assert con.execute("EXPLAIN SELECT * FROM recall('tea')").fetchall()
        for _ in range(3):  # the second time it is planned for good, and run from its plan then
            found = con.execute("SELECT text FROM recall(?, k := ?)", ["tea", 1]).fetchall()
            assert found == [("Tea is at five.",)]
        assert [each.text for each in con.recall("tea", k=1)] == ["Tea is at five."]


def test_read_only_says_no_to_writes_and_external_access_brings_files_back(place: Place) -> None:
    with (
        aios_db.connect(place.database, config=Config(), read_only=True) as con,
        pytest.raises(aios_db.ReadOnlyError),
    ):
        con.execute("SELECT remember('x')")
    with aios_db.connect(place.database, config=Config(), read_only=True, external_access=True) as con:
        assert SECRET in str(con.execute(f"FROM read_text('{place.outside}/secret.txt')").fetchall())
        with pytest.raises(aios_db.ReadOnlyError):
            con.execute("SELECT remember('x')")


def test_allowed_directories_are_read_and_written(place: Place) -> None:
    with _open(place, "restricted") as con:
        con.execute(f"COPY (SELECT text FROM memories ORDER BY text) TO '{place.allowed}/texts.csv'")
        assert con.execute(f"SELECT count(*) FROM '{place.allowed}/texts.csv'").fetchone() == (2,)
        con.execute("SELECT remember('Restricted is not read-only.')")
        assert con.execute("SELECT count(*) FROM memories").fetchone() == (3,)


def test_allowed_directories_do_not_hold_the_database(place: Place) -> None:
    for path in (place.database, place.database.parent, place.database / "index"):
        with pytest.raises(aios_db.ProgrammingError, match=r"overwrite|is none"):
            aios_db.connect(place.database, config=Config(), restricted=True, allowed_directories=[path])


@pytest.mark.parametrize(
    "arguments",
    [
        {"restricted": True, "external_access": True},
        {"allowed_directories": ["."]},
        {"restricted": True, "allowed_directories": "."},
        {"restricted": True, "allowed_directories": ["/there/is/no/such"]},
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
        {"max_rows": -1},
        {"restricted": True, "memory_limit": "much"},
    ],
)
def test_arguments_that_make_no_sense_are_refused(place: Place, arguments: dict[str, object]) -> None:
    with pytest.raises(aios_db.ProgrammingError, match="connect:"):
        aios_db.connect(place.database, config=Config(), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "endless",
    [
        "SELECT count(*) FROM range(99999999) a, range(99999999) b WHERE a.range + b.range = 3",
        "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t) FROM t WHERE i < 0",
        "CREATE TABLE big AS SELECT 1 FROM range(99999999) a, range(99999999) b WHERE a.range < -b.range",
    ],
)
def test_a_statement_that_takes_too_long_is_stopped(place: Place, endless: str) -> None:
    with aios_db.connect(place.database, config=Config(), timeout_s=0.3) as con:
        for ask in (con.execute, con.sql):
            with pytest.raises(aios_db.OperationalError, match=r"stopped after 0\.3 s"):
                ask(endless)
        with aios_db.connect(place.database, config=Config(), timeout_s=60) as other:
            assert other.execute("SELECT count(*) FROM memories").fetchone() == (2,)


def test_rows_above_the_limit_are_an_error_and_write_nothing(place: Place) -> None:
    with aios_db.connect(place.database, config=Config(), max_rows=3) as con:
        for ask in (con.execute, con.sql):
            assert ask("SELECT * FROM range(3)").fetchall() == [(0,), (1,), (2,)]
            with pytest.raises(aios_db.OperationalError, match="more than 3 rows"):
                ask("SELECT * FROM range(4)")
            with pytest.raises(aios_db.OperationalError, match="more than 3 rows"):
                ask("SELECT remember('note ' || range) FROM range(4)")
        with pytest.raises(aios_db.OperationalError, match="more than 3 rows"):
            con.execute("SELECT * FROM range(10000000)")
        assert con.execute("SELECT count(*) FROM memories").fetchone() == (2,)


def test_a_result_that_is_limited_has_the_values_it_would_have(place: Place) -> None:
    query = """
        SELECT 170141183460469231731687303715884105727::HUGEINT AS a, 1.50::DECIMAL(9, 2) AS b,
            'x'::ENUM('x', 'y') AS c, uuid() IS NOT NULL AS d, INTERVAL 3 DAY AS e, {'p': [1, 2]} AS f,
            MAP {'k': 1} AS g, '2026-01-02 03:04:05+00'::TIMESTAMPTZ AS h, 'ab'::BLOB AS i, NULL AS j, 1 AS a,
            DATE '2026-01-02' AS k, 7::UTINYINT AS l, '12:00'::TIME AS m, 'NaN'::DOUBLE::VARCHAR AS n
    """
    with (
        aios_db.connect(place.database, config=Config(), max_rows=3) as limited,
        aios_db.connect(place.database, config=Config()) as free,
    ):
        expected = free.execute(query)
        names, types = ([column[i] for column in expected.description or []] for i in (0, 1))
        found = limited.execute(query)
        assert [column[0] for column in found.description or []] == names
        assert [column[1] for column in found.description or []] == types
        assert found.fetchall() == free.execute(query).fetchall()


def test_memory_is_limited(place: Place) -> None:
    with (
        aios_db.connect(place.database, config=Config(), restricted=True, memory_limit="100MB") as con,
        pytest.raises(aios_db.OperationalError, match="Memory"),
    ):
        con.execute("CREATE TABLE big AS SELECT range, repeat('x', 100) AS s FROM range(5000000)")
    assert not (place.database.parent / ".tmp").exists()
