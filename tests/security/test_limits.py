"""What `max_rows` and `timeout_s` hold: before anything is written, inside of functions, at the lock."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from security_helpers import Place

import aios_db
from aios_db.config import Config
from aios_db.disk.lock import WriteLock
from aios_db.schema import deadlines
from aios_db.schema.deadlines import Deadline, Deadlines, check, current

pytestmark = pytest.mark.sql

MANY = "range(10) t(i)"
RETURNING_MORE_THAN_THREE = [
    f"INSERT INTO memories(text) SELECT 'n' || i FROM {MANY} RETURNING memory_id",
    "UPDATE memories SET tier = 'long' RETURNING memory_id",
    "UPDATE memories SET text = text || '!' RETURNING *",
    "DELETE FROM memories RETURNING text",
    "DELETE FROM association_links RETURNING source_id",
    "UPDATE association_links SET weight = 0.5 RETURNING weight",
    f"SELECT remember('n' || i) FROM {MANY}",
    "SELECT forget(memory_id) FROM memories",
    f"FROM remember_all((SELECT list({{text: 'n' || i}}) FROM {MANY}))",
    f"SELECT r.* FROM remember_all([{{text: 'n'}}]) r, {MANY}",
    f"SELECT f.* FROM forget_all((SELECT list(memory_id) FROM memories)) f, {MANY}",
    f"INSERT INTO mine SELECT i FROM {MANY} RETURNING i",
    "UPDATE mine SET i = -1 RETURNING i",
    "DELETE FROM mine RETURNING i",
    "EXECUTE adding",
]
LONG_IN_PYTHON = [
    "SELECT count(*) FROM range(1000000) t(i), recall('fact ' || t.i, k := 2)",
    "SELECT count(*) FROM range(1000000) t(i), recall('tea', k := 2, user_id := t.i::VARCHAR)",
    "SELECT sum(len(embed('fact ' || i))) FROM range(1000000) t(i)",
    "SELECT count(*) FROM range(1000000) t(i), memories_by_id(['m' || t.i])",
    "SELECT remember('fact ' || i || repeat(' tea', 200)) FROM range(90000) t(i)",
    "FROM remember_all((SELECT list({text: 'fact ' || i || repeat(' tea', 200)}) FROM range(90000) t(i)))",
    "INSERT INTO memories(text) SELECT 'fact ' || i || repeat(' tea', 200) FROM range(90000) t(i)",
    "UPDATE memories SET text = (SELECT string_agg('tea ' || i, ' ') FROM range(40000000) t(i))",
]


def _rows(con: aios_db.Connection) -> list[list[tuple[object, ...]]]:
    queries = (
        "SELECT memory_id, text, tier FROM memories ORDER BY 1",
        "SELECT source_id, target_id, kind, weight FROM association_links ORDER BY ALL",
    )
    return [con.execute(query).fetchall() for query in queries]


@pytest.fixture(scope="module")
def limits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[aios_db.Connection, ...]]:
    """A database that no statement of these changes, as each test looks: all of it, and to three rows."""
    path = tmp_path_factory.mktemp("limits") / "agent.aios"
    with (
        aios_db.connect(path, config=Config()) as free,
        aios_db.connect(path, config=Config(), max_rows=3) as limited,
    ):
        ids = free.remember([f"Tea is {colour}." for colour in ("green", "black", "white", "red", "blue")])
        for source in ids[:3]:
            for target in ids[:3]:
                if source != target:
                    free.link(source, target)
        limited.execute(f"CREATE TABLE mine AS SELECT i FROM {MANY}")
        limited.execute(f"PREPARE adding AS INSERT INTO mine SELECT i FROM {MANY} RETURNING i")
        yield free, limited


@pytest.mark.parametrize("statement", RETURNING_MORE_THAN_THREE)
@pytest.mark.parametrize("way", ["execute", "sql"])
def test_a_statement_with_more_rows_than_allowed_has_written_nothing(
    limits: tuple[aios_db.Connection, ...], statement: str, way: str
) -> None:
    free, limited = limits
    before = _rows(free)
    with pytest.raises(aios_db.OperationalError, match="more than 3 rows"):
        getattr(limited, way)(statement)
    assert limited.execute("SELECT count(*), min(i) FROM mine").fetchall() == [(10, 0)]
    assert limited.execute("SELECT count(*) FROM memories").fetchall() == [(5,)]
    assert _rows(free) == before


def test_a_statement_with_as_many_rows_as_allowed_writes_and_returns_them(place: Place) -> None:
    with aios_db.connect(place.database, config=Config(), max_rows=3) as con:
        rows = con.execute("INSERT INTO memories(text) SELECT 'n' || i FROM range(3) t(i) RETURNING text")
        assert rows.fetchall() == [("n0",), ("n1",), ("n2",)]
        con.execute("CREATE TABLE mine (i INTEGER)")
        assert con.execute("INSERT INTO mine FROM range(3) RETURNING i").fetchall() == [(0,), (1,), (2,)]
        assert con.execute("SELECT count(*) FROM mine").fetchall() == [(3,)]
        con.execute(f"INSERT INTO memories(text) SELECT 'm' || i FROM {MANY}")  # returns no rows
        assert con.execute("SELECT count(*) FROM memories").fetchall() == [(15,)]


def test_a_transaction_with_a_statement_of_too_many_rows_cannot_be_committed(place: Place) -> None:
    with aios_db.connect(place.database, config=Config(), max_rows=3) as con:
        con.execute("CREATE TABLE mine (i INTEGER); BEGIN")
        with pytest.raises(aios_db.OperationalError, match="more than 3 rows"):
            con.execute("INSERT INTO mine FROM range(10) RETURNING i")
        with pytest.raises(aios_db.OperationalError, match="rolled back"):
            con.commit()
        assert con.execute("SELECT count(*) FROM mine").fetchall() == [(0,)]


@pytest.mark.parametrize("statement", LONG_IN_PYTHON)
def test_what_takes_long_in_python_is_stopped_and_has_written_nothing(place: Place, statement: str) -> None:
    with (
        aios_db.connect(place.database, config=Config()) as free,
        aios_db.connect(place.database, config=Config(), timeout_s=1, max_rows=100_000) as con,
    ):
        con.store.encoder.encode(["loads the model"])
        began = time.monotonic()
        with pytest.raises(aios_db.OperationalError, match="stopped after 1 s") as stopped:
            con.execute(statement).fetchall()
        assert "written" not in str(stopped.value)
        assert time.monotonic() - began < 30  # the whole takes many minutes
        assert free.execute("SELECT count(*) FROM memories").fetchall() == [(2,)]
        assert free.execute("SELECT text FROM recall('tea', k := 1)").fetchall() == [("Tea is at five.",)]


@contextmanager
def _another_process_writes(place: Place) -> Iterator[None]:
    code = (
        "import sys; from pathlib import Path; from aios_db.disk.lock import WriteLock\n"
        "with WriteLock(Path(sys.argv[1]), 9).hold(): print('held', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(place.database / "write.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.communicate()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT remember('w')",
        "SELECT forget(memory_id) FROM memories",
        "FROM remember_all([{text: 'w'}])",
        "INSERT INTO memories(text) VALUES ('w')",
        "INSERT INTO memories(text) VALUES ('w') RETURNING memory_id",
        "UPDATE memories SET tier = 'long'",
        "DELETE FROM memories",
    ],
)
def test_a_write_waits_for_the_lock_no_longer_than_the_timeout(place: Place, statement: str) -> None:
    with aios_db.connect(place.database, config=Config(), timeout_s=2) as con:
        con.store.encoder.encode(["loads the model"])
        before = _rows(con)
        with (
            _another_process_writes(place),
            pytest.raises(aios_db.OperationalError, match="stopped after 2 s") as stopped,
        ):
            con.execute(statement)
        assert "written" not in str(stopped.value)
        assert _rows(con) == before


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT remember('w')",
        "INSERT INTO memories(text) VALUES ('w') RETURNING text",
        "FROM remember_all([{text: 'w'}])",
    ],
)
def test_a_write_that_has_begun_ends_and_returns_its_rows(
    place: Place, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with aios_db.connect(place.database, config=Config(), timeout_s=1.5) as con:
        con.store.encoder.encode(["loads the model"])
        advance = con.store.database.advance

        def slow() -> object:
            if current()._writing:
                time.sleep(2)
            return advance()

        monkeypatch.setattr(con.store.database, "advance", slow)
        assert len(con.execute(statement).fetchall()) == 1
        monkeypatch.undo()
        assert con.execute("SELECT count(*) FROM memories").fetchall() == [(3,)]


def test_a_thread_of_the_program_is_waited_for_no_longer_than_the_timeout(place: Place) -> None:
    with aios_db.connect(place.database, config=Config(), timeout_s=1) as con:
        held, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            with con.store.lock.hold():
                held.set()
                assert go_on.wait(60)

        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(60)
        try:
            with pytest.raises(aios_db.OperationalError, match="stopped after 1 s"):
                con.execute("SELECT forget(memory_id) FROM memories")
        finally:
            go_on.set()
            thread.join(60)
        assert con.execute("SELECT count(*) FROM memories").fetchall() == [(2,)]


def test_a_deadline_is_not_in_the_way_of_a_write_that_has_begun(place: Place) -> None:
    deadline = Deadline(0.05)
    with deadline.writing(), deadline.writing():
        time.sleep(0.1)
        deadline.check()
    deadline.check()  # the time starts anew
    time.sleep(0.1)
    assert deadline.wait_s == float("inf")  # the rest has to be written
    with pytest.raises(aios_db.OperationalError, match=r"had been written by then"):
        deadline.check()
    deadline.next_statement()
    with pytest.raises(aios_db.OperationalError, match=r"connection$"), deadline.writing():
        raise AssertionError
    with WriteLock(place.database / "write.lock", 1).hold():
        check()  # no statement, no deadline


def test_threads_of_duckdb_have_the_deadline_of_the_last_statement_to_end() -> None:
    deadlines = Deadlines()

    def in_a_thread() -> BaseException | None:
        found: list[BaseException | None] = []

        def call() -> None:
            try:
                with deadlines.called():
                    check()
                found.append(None)
            except aios_db.Error as error:
                found.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        return found[0]

    assert in_a_thread() is None
    with deadlines.running(1e-9):
        assert isinstance(in_a_thread(), aios_db.OperationalError)
        with deadlines.running(600):
            assert in_a_thread() is None
        with pytest.raises(aios_db.OperationalError):
            check()
    check()


def test_no_warning_of_duckdbs_reaches_the_user(place: Place) -> None:
    code = """
import logging, sys, aios_db
logging.getLogger("aios_db.search").setLevel("ERROR")  # that there was no C compiler
with aios_db.connect(sys.argv[1], restricted=True) as con:
    con.execute("SELECT remember('a note')").fetchall()
    con.execute("UPDATE memories SET tier = 'long' RETURNING text").fetchall()
    con.execute("DELETE FROM memories WHERE text = 'a note'")
    con.execute("FROM memories").arrow()
    con.execute("FROM memories").to_arrow_reader().read_all()
    con.execute("FROM memories").df()
    con.execute("FROM memories").pl()
    con.sql("FROM memories").fetchall()
    con.recall("tea")
"""
    command = [sys.executable, "-c", code, str(place.database)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_as_a_deadline_is_set_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        """A ContextVar whose first `set` is followed by Ctrl-C."""

        times = 0

        def get(self) -> Deadline:
            return variable.get()

        def set(self, deadline: Deadline) -> None:
            variable.set(deadline)
            self.times += 1
            if self.times == 1:
                raise KeyboardInterrupt

    variable = deadlines._current
    before, statements = current(), Deadlines()
    for enter in (lambda: statements.running(0.0), statements.called):
        with monkeypatch.context() as patched:
            patched.setattr(deadlines, "_current", Interrupted())
            with pytest.raises(KeyboardInterrupt), enter():
                pass
        assert current() is before and not statements._running
