"""`undo` and `restore` from Python, SQL and the shell: what comes back, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aios_db
from aios_db.cli import main
from aios_db.config import Config
from aios_db.schema.config import StorageConfig
from aios_db.schema.database import OWED
from aios_db.store import owed

pytestmark = pytest.mark.sql

VECTORS = np.eye(384, dtype=np.float32)
EVERYTHING = "SELECT * EXCLUDE (association_links) FROM memories ORDER BY memory_id"
LINKS = "SELECT * FROM association_links ORDER BY ALL"


def _rows(texts: list[str], **columns: Any) -> list[dict[str, Any]]:
    return [
        {"text": text, "text_embedding": VECTORS[place].tolist(), **columns}
        for place, text in enumerate(texts)
    ]


def _state(con: aios_db.Connection) -> tuple[list[Any], list[Any]]:
    return con.execute(EVERYTHING).fetchall(), con.execute(LINKS).fetchall()


@pytest.fixture
def filled(con: aios_db.Connection) -> aios_db.Connection:
    columns = {"session_id": "s", "speaker": "Ada", "metadata": {"a": [1]}, "source": "notes", "trust": 0.5}
    first = con.remember(_rows(["the red lamp", "green tea", "a viola"], **columns, media=b"\0\1"))
    con.link(first[0], first[2], kind="cause", weight=0.25)
    return con


def test_what_was_forgotten_comes_back_as_it_was(filled: aios_db.Connection) -> None:
    con, before = filled, _state(filled)
    ids = [row[0] for row in before[0]]
    hits = "FROM keyword_search('red lamp tea', 10)"
    found = con.execute(hits).fetchall()
    assert con.forget(ids[:2]) == 2
    gone = _state(con)
    assert len(gone[0]) == 1 and len(gone[1]) < len(before[1])
    report = con.undo(con.history()[0])
    assert (report.added, report.updated, report.deleted) == (2, 0, 0)
    assert report.links == len(before[1]) - len(gone[1])
    assert _state(con) == before
    assert con.execute(hits).fetchall() == found
    con.store.flush()
    assert con.store.repair().link_columns == 0

    undone = con.history()[0]
    assert (undone.call, undone.change_id, undone.undoes, undone.added) == ("undo", report.change_id, 3, 2)
    assert con.execute(f"FROM undo({report.change_id})").fetchall() == [
        (report.change_id + 1, 0, 0, 2, report.links)
    ]
    assert _state(con) == gone


@pytest.mark.parametrize(
    "change",
    [
        lambda con, ids: con.update(ids[0], text="the blue lamp", text_embedding=VECTORS[9].tolist()),
        lambda con, ids: con.update([{"memory_id": each, "tier": "archived"} for each in ids]),
        lambda con, ids: con.remember(_rows(["a new one", "another"], session_id="s")),
        lambda con, ids: con.link(ids[0], ids[1]),
        lambda con, ids: con.link(ids[0], ids[2], kind="cause", weight=0.75),
        lambda con, ids: con.execute("DELETE FROM association_links WHERE kind = 'cause'"),
        lambda con, ids: con.execute("UPDATE association_links SET weight = 1 WHERE kind = 'cause'"),
        lambda con, ids: con.execute("DELETE FROM memories"),
        lambda con, ids: con.execute("INSERT INTO memories (text, session_id) VALUES ('hello', 's')"),
        lambda con, ids: con.restore(2),
    ],
)
def test_any_call_is_undone(filled: aios_db.Connection, change: Callable[..., object]) -> None:
    ids = [row[0] for row in filled.execute(EVERYTHING).fetchall()]
    before = _state(filled)
    change(filled, ids)
    after = _state(filled)
    assert after != before
    planned = filled.undo(filled.history()[0], dry_run=True)
    assert planned.change_id is None and _state(filled) == after
    done = filled.undo(filled.history()[0])
    assert _state(filled) == before
    assert (done.added, done.updated, done.deleted, done.links) == (
        planned.added, planned.updated, planned.deleted, planned.links,
    )  # fmt: skip
    filled.undo(done.change_id)
    assert _state(filled) == after


def test_a_later_change_of_the_same_memories_is_named(con: aios_db.Connection) -> None:
    first, second, third = con.remember(_rows(["one", "two", "three"]))
    con.update(first, tier="long")
    con.link(second, third)
    for change, named, what in ((1, first, "changed"), (1, second, "linked")):
        with pytest.raises(aios_db.ProgrammingError, match=rf"{what} since: {named}"):
            con.undo(change)
    con.forget(third)
    with pytest.raises(aios_db.ProgrammingError, match=f"forgotten since: {third}"):
        con.execute("FROM undo(1)")
    with pytest.raises(aios_db.ProgrammingError, match=f"linked otherwise since: {second}"):
        con.undo(3)
    before = _state(con)
    con.remember(_rows(["three"]))
    with pytest.raises(aios_db.ProgrammingError, match="the same as what would come back"):
        con.undo(4)
    con.undo(5)
    con.undo(4)
    with pytest.raises(aios_db.ProgrammingError, match=rf"change 7 has undone it.*there again: {third}"):
        con.undo(4)
    con.undo(7)
    assert _state(con) == before
    for change in range(4, 1, -1):
        con.undo(change)
    con.undo(1)
    assert _state(con) == ([], [])


def test_what_cannot_be_undone_says_why(con: aios_db.Connection, tmp_path: Path) -> None:
    (first,) = con.remember(_rows(["one"]))
    with pytest.raises(aios_db.ProgrammingError, match="there is no change 7 in the log"):
        con.undo(7)
    for nonsense in (True, "1", None, 1.0):
        with pytest.raises(aios_db.ProgrammingError, match="is no change"):
            con.undo(nonsense)  # type: ignore[arg-type]
    con.erase(first)
    with pytest.raises(aios_db.ProgrammingError, match="erased is in no file any more"):
        con.undo(2)
    with pytest.raises(
        aios_db.OperationalError, match="change 1 cannot be undone: version 2 is kept no longer"
    ):
        con.undo(1)
    with pytest.raises(aios_db.OperationalError, match="kept no longer"):
        con.restore(2)
    with pytest.raises(aios_db.ProgrammingError, match="there is no version 99"):
        con.restore(99)
    for nonsense in (None, True):
        with pytest.raises(aios_db.ProgrammingError, match="no version and no time"):
            con.restore(nonsense)
    with pytest.raises(aios_db.DataError):
        con.restore("junk")
    for fraction in ("FROM undo(1.5)", "FROM restore(1.5)", "FROM restore('1.5')"):
        with pytest.raises(aios_db.DatabaseError, match=r"whole number|version|moment|time"):
            con.execute(fraction).fetchall()
    with pytest.raises(aios_db.ProgrammingError, match="no version and no time"):
        con.restore(1.5)
    con.begin()
    for refused in (lambda: con.undo(1), lambda: con.execute("FROM undo(1)")):
        with pytest.raises(aios_db.NotSupportedError, match="cannot be rolled back"):
            refused()
    con.rollback()
    reader = aios_db.connect(tmp_path / "agent.aios", read_only=True)
    for refused in (lambda: reader.undo(1), lambda: reader.restore(1)):
        with pytest.raises(aios_db.OperationalError, match="read_only"):
            refused()
    reader.close()


@pytest.mark.parametrize(
    "query",
    [
        "FROM undo(1) WHERE false", "SELECT 1 FROM undo(1) LIMIT 0", "FROM undo(1), undo(1)",
        "CREATE TABLE t AS FROM undo(1)", "SELECT * FROM (VALUES (1), (1)) t(a), undo(a)",
        "FROM undo(NULL)", "FROM restore(NULL)", "FROM restore('junk')", "FROM restore(1) LIMIT 0",
        "SELECT error('boom') FROM undo(1)", "PREPARE p AS FROM undo(1)",
    ],
)  # fmt: skip
def test_a_statement_that_cannot_be_carried_out_undoes_nothing(con: aios_db.Connection, query: str) -> None:
    con.remember(_rows(["one"]))
    with pytest.raises(aios_db.Error):
        con.execute(query).fetchall()
    assert len(con.history()) == 1 and con.execute("SELECT count(*) FROM memories").fetchone() == (1,)


def test_restore_goes_back_to_a_version_or_a_time(filled: aios_db.Connection) -> None:
    con, before = filled, _state(filled)
    version = con.history()[0].memories_after
    moment = datetime.now(timezone.utc)
    ids = [row[0] for row in before[0]]
    con.forget(ids[0])
    con.update(ids[1], text="black tea", text_embedding=VECTORS[7].tolist())
    con.remember(_rows(["more", "and more"], session_id="s"))
    after = _state(con)
    planned = con.restore(version, dry_run=True)
    assert (planned.added, planned.updated, planned.deleted) == (1, 1, 2) and _state(con) == after
    done = con.restore(version)
    assert _state(con) == before
    con.undo(done.change_id or 0)
    assert _state(con) == after
    assert con.execute("FROM restore(?)", [moment]).fetchall()[0][1:4] == (1, 1, 2)
    assert _state(con) == before
    assert con.restore(moment.isoformat()).change_id is None  # there is nothing to do
    with pytest.raises(aios_db.ProgrammingError, match="no database yet at 1970"):
        con.restore("1970-01-02")
    con.restore(1)
    assert _state(con) == ([], [])
    assert con.history()[0].call == "restore"


def test_many_rows_come_back(tmp_path: Path) -> None:
    with aios_db.connect(
        tmp_path / "agent.aios", config=Config(storage=StorageConfig(confirm_forget=0))
    ) as con:
        vectors = np.random.default_rng(0).normal(size=(1_500, 384)).astype(np.float32)
        rows = [{"text": f"text {n}", "text_embedding": v.tolist()} for n, v in enumerate(vectors)]
        con.remember(rows)
        before = _state(con)
        con.execute("DELETE FROM memories WHERE text LIKE '%7%'")
        con.update([{"memory_id": row[0], "tier": "long"} for row in before[0] if "7" not in row[3]])
        con.restore(con.history()[1].changed_at)
        assert _state(con) == before
        con.store.optimize()
        assert _state(con) == before


def test_much_goes_only_when_it_is_confirmed(tmp_path: Path) -> None:
    config = Config(storage=StorageConfig(confirm_forget=2))
    with aios_db.connect(tmp_path / "agent.aios", config=config) as con:
        con.remember(_rows(["one"]))
        con.remember(_rows(["two", "three", "four"]))
        full, last = _state(con), con.history()[0]
        for ask in (
            lambda: con.undo(2), lambda: con.undo(last), lambda: con.restore(last.changed_at),
            lambda: con.execute("FROM undo(2)"), lambda: con.execute("FROM restore(?)", [last.changed_at]),
            lambda: con.execute("FROM undo(2, confirm := false)"),
        ):  # fmt: skip
            with pytest.raises(aios_db.ProgrammingError, match=r"would delete 3 memories.*confirm"):
                ask()
        assert _state(con) == full and len(con.history()) == 2
        assert con.undo(2, dry_run=True).deleted == con.restore(last.changed_at, dry_run=True).deleted == 3
        for sure in (
            lambda: con.undo(last, confirm=True),
            lambda: con.execute("FROM undo(2, confirm := true)").fetchall(),
            lambda: con.restore(last.changed_at, confirm=True),
            lambda: con.execute("FROM restore(?, confirm := true)", [last.changed_at]).fetchall(),
        ):
            sure()
            assert len(_state(con)[0]) == 1
            con.undo(con.history()[0])
            assert _state(con) == full


def test_a_read_only_connection_says_what_an_undo_would_write(filled: aios_db.Connection) -> None:
    filled.forget([row[0] for row in _state(filled)[0]][:2])
    last = filled.history()[0]
    path = filled.store.path
    before = sorted(each for each in path.rglob("*"))
    with aios_db.connect(path, read_only=True) as con:
        for report in (con.undo(last, dry_run=True), con.restore(last.changed_at, dry_run=True)):
            assert (report.change_id, report.added, report.deleted) == (None, 2, 0)
        for refused in (
            lambda: con.undo(last), lambda: con.restore(last.changed_at),
            lambda: con.execute("FROM undo(?)", [last.change_id]),
            lambda: con.execute("FROM restore(?)", [last.changed_at]),
        ):  # fmt: skip
            with pytest.raises(aios_db.ReadOnlyError, match="read_only"):
                refused()
    assert sorted(each for each in path.rglob("*")) == before


def test_a_scope_undoes_its_own_changes(tmp_path: Path) -> None:
    path = tmp_path / "agent.aios"
    with aios_db.connect(path) as everything:
        (shared,) = everything.remember(_rows(["shared"]))
        ada, bo = (aios_db.connect(path, user_id=user) for user in ("ada", "bo"))
        mine = ada.remember(_rows(["ada's", "ada's too"]))
        theirs = bo.remember(_rows(["bo's"]))
        bo.link(theirs[0], shared, kind="cause")
        before = _state(everything)
        ada.forget([mine[0], shared])  # and with it Bo's link
        assert len(_state(everything)[1]) < len(before[1])
        with pytest.raises(aios_db.ProgrammingError, match="there is no change 5"):
            bo.undo(5)
        with pytest.raises(aios_db.ProgrammingError, match="there is no change 3"):
            ada.execute("FROM undo(3)")
        assert [each.call for each in ada.history()] == ["forget", "remember"]
        ada.undo(5)
        assert _state(everything) == before
        for each in (ada, bo):
            with pytest.raises(aios_db.NotSupportedError, match="restore is for the whole database"):
                each.restore(2)
            with pytest.raises(aios_db.NotSupportedError, match="restore is for the whole database"):
                each.execute("FROM restore(2)")
        assert everything.undo(2).deleted == 2
        ada.close()
        bo.close()


def test_a_connection_of_one_source_undoes_nothing(tmp_path: Path) -> None:
    with aios_db.connect(tmp_path / "agent.aios", source="web") as con:
        con.remember(_rows(["one"]))
        for refused in (lambda: con.undo(1), lambda: con.execute("FROM undo(1)"), lambda: con.restore(1)):
            with pytest.raises(aios_db.NotSupportedError, match="writes as 'web'"):
                refused()
        assert con.history()[0].added == 1


def test_another_process_sees_what_was_undone(tmp_path: Path) -> None:
    path = tmp_path / "agent.aios"
    with aios_db.connect(path) as con, aios_db.connect(path) as other:
        con.remember(_rows(["the red lamp", "green tea", "a viola"]))
        found = other.execute("FROM keyword_search('lamp tea viola', 9)").fetchall()
        assert len(found) == 3
        con.forget([found[0][0]])
        assert len(other.execute("FROM keyword_search('lamp tea viola', 9)").fetchall()) == 2
        con.undo(2)
        assert other.execute("FROM keyword_search('lamp tea viola', 9)").fetchall() == found
        other.undo(3)
        assert len(con.execute("FROM keyword_search('lamp tea viola', 9)").fetchall()) == 2


def test_undo_while_others_write(tmp_path: Path) -> None:
    import threading

    path, errors = tmp_path / "agent.aios", []
    with aios_db.connect(path) as con:
        ids = con.remember(_rows([f"text {n}" for n in range(12)]))

        def write(number: int) -> None:
            try:
                with aios_db.connect(path) as mine:
                    for round_ in range(2):
                        mine.forget(ids[number * 2 + round_])
                        change = next(
                            each for each in mine.history() if each.call == "forget" and each.deleted
                        )
                        mine.remember(_rows([f"by {number} in {round_}"]))
                        try:
                            mine.undo(change)
                        except aios_db.ProgrammingError as error:
                            assert "there again" in str(error)  # another has undone it
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        undone = sum(each.call == "undo" for each in con.history())
        count = con.execute("SELECT count(*) FROM memories").fetchone()
        assert count == (12 + 4 - 4 + undone,)


def test_the_shell_lists_undoes_and_restores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with aios_db.connect("agent.aios", config=Config(storage=StorageConfig(confirm_forget=2))) as con:
        con.remember(_rows(["one", "two", "three"], session_id="s"))
    Path("aios.yaml").write_text("storage:\n  confirm_forget: 2\n", encoding="utf-8")

    def aios(*arguments: str) -> tuple[int, str]:
        status = main([*arguments])
        told = capsys.readouterr()
        return status, told.out + told.err

    assert aios("forget", "--session-id", "s")[0] == 1
    assert "would delete 3 memories, more than 2" in aios("forget", "--session-id", "s")[1]
    assert aios("forget", "--session-id", "s", "--yes") == (0, "forgot 3\n")
    listed = json.loads(aios("history", "--json", "--limit", "1")[1])
    assert [(each["call"], each["deleted"], each["statement"]) for each in listed] == [("forget", 3, None)]
    table = aios("history")[1]
    assert "forget" in table and "remember" in table and "one" not in table
    assert "dry run: 3 memories back" in aios("undo", "2", "--dry-run")[1]
    assert aios("undo", "2")[1].startswith("change 3: 3 memories back")
    assert aios("undo", "2")[0] == 1
    assert aios("restore", "--to", "2")[0] == 1
    assert json.loads(aios("restore", "--to", "2", "--yes", "--json")[1])["deleted"] == 3
    assert "dry run: 0 memories" in aios("restore", "--to", "2", "--dry-run")[1]
    for wrong in ((), ("--dry-run",), ("--to", "2", "--id", "x"), (".", "--to", "2")):
        assert aios("restore", *wrong)[0] == 2
    assert "undo 2" in aios("history")[1]


def test_an_undo_that_is_interrupted_between_its_tables_is_finished_by_the_next_write(
    con: aios_db.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = con.remember(_rows(["one two", "one three"], session_id="s"))
    before = _state(con)
    con.forget(ids)
    gone = _state(con)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(owed, "exchange", _interrupts)
        con.undo(2)
    assert con.history()[0].call == "undo" and not con.history()[0].complete
    assert [row[0] for row in _state(con)[0]] == [row[0] for row in before[0]]  # without their links
    con.forget("nobody")
    assert _state(con) == before
    finished = con.history()[0]
    assert finished.complete and (finished.added, finished.undoes) == (2, 2)
    con.undo(finished)
    assert _state(con) == gone


@pytest.mark.parametrize("how", ["empty", "half", "zeroed", "flipped", "directory"])
def test_damage_to_what_a_broken_off_undo_still_owes_is_told_and_costs_links_alone(
    con: aios_db.Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    ids = con.remember(_rows(["one two", "one three"], session_id="s"))
    before = _state(con)
    con.forget(ids)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(owed, "exchange", _interrupts)
        con.undo(2)
    file = Path(con.store.path) / OWED
    content = file.read_bytes()
    if how == "directory":
        file.unlink()
        file.mkdir()
    else:
        middle = len(content) // 2
        left = {"empty": b"", "half": content[:middle], "zeroed": content[:middle] + bytes(middle)}
        flipped = content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
        file.write_bytes(left.get(how, flipped))
    con.forget("nobody")
    assert not file.exists()
    assert "owed_links_damaged" in [getattr(record, "event", None) for record in caplog.records]
    assert [row[0] for row in _state(con)[0]] == [row[0] for row in before[0]]
    assert con.store.repair().dangling_links == 0
    derived = [[row[:4] for row in links] for links in (_state(con)[1], before[1])]
    assert derived[0] == derived[1]


def _interrupts(*_: Any) -> Any:
    raise KeyboardInterrupt
