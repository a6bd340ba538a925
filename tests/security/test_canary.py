"""What goes wrong is told without the memories that it went wrong with."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aios_db
from aios_db.config import Config

TEXT = "canary-93ab: the code of the safe is 4711"

Call = Callable[[aios_db.Connection], Any]

FAULTS: dict[str, Call] = {
    "unknown column": lambda con: con.remember({"text": TEXT, "colour": "red"}),
    "tier": lambda con: con.remember(TEXT, tier="attic"),
    "time": lambda con: con.remember(TEXT, occurred_at="some day"),
    "importance": lambda con: con.remember(TEXT, importance=7),
    "importance, text": lambda con: con.remember({"text": TEXT, "importance": "high"}),
    "trust": lambda con: con.remember(TEXT, trust=float("nan")),
    "metadata": lambda con: con.remember({"text": TEXT, "metadata": "{"}),
    "metadata, list": lambda con: con.remember({"text": TEXT, "metadata": "[1]"}),
    "vector": lambda con: con.remember({"text": TEXT, "text_embedding": [1.0]}),
    "vector, NaN": lambda con: con.remember({"text": TEXT, "text_embedding": [float("nan")] * 384}),
    "lineage": lambda con: con.remember({"text": TEXT, "derived_from": 5}),
    "given twice": lambda con: con.remember([{"text": TEXT, "kind": "note"}], kind="note"),
    "surrogate": lambda con: con.remember(TEXT + "\ud800"),
    "one of many": lambda con: con.remember([{"text": TEXT}, {"text": TEXT, "tier": 5}]),
    "no text": lambda con: con.remember([{"text": TEXT}, {"title": TEXT, "text": None}, {"text": 5.5j}]),
    "update": lambda con: con.update("no such id", text=TEXT),
    "update, column": lambda con: con.update("no such id", text=TEXT, colour="red"),
    "update, becomes another": lambda con: con.update(con.remember("other"), text="Plain " + TEXT),
    "name is taken": lambda con: con.update(con.remember("third", external_id="b"), external_id="a"),
    "insert": lambda con: con.execute("INSERT INTO memories (text, tier) VALUES (?, 'attic')", [TEXT]),
    "insert, count": lambda con: con.execute(
        "INSERT INTO memories (text, access_count) VALUES (?, 5)", [TEXT]
    ),
    "set": lambda con: con.execute("UPDATE memories SET importance = 8 WHERE text = ?", [TEXT]),
    "set, taken": lambda con: con.execute("UPDATE memories SET text = ?", ["Plain " + TEXT]),
    "call": lambda con: con.execute("SELECT remember(?, tier := 'attic')", [TEXT]),
    "call, misplaced": lambda con: con.execute("SELECT upper(remember(?))", [TEXT]),
    "list": lambda con: con.execute("FROM remember_all([{text: ?, colour: 'red'}])", [TEXT]),
    "recall": lambda con: con.recall(TEXT, tier="attic"),
    "recall, k": lambda con: con.recall(TEXT, k=-1),
    "recall, option": lambda con: con.recall(TEXT, colour="red"),  # type: ignore[call-arg]
    "vectors": lambda con: con.execute("FROM vector_search([0.0], 5, content := ?)", [TEXT]),
}


@pytest.fixture
def con(tmp_path: Path) -> Any:
    """A database with the text in it."""
    with aios_db.connect(tmp_path / "agent.aios", config=Config()) as connection:
        connection.remember(TEXT, external_id="a")
        connection.remember(["Plain " + TEXT, "Something else."])
        yield connection


@pytest.mark.parametrize("name", FAULTS)
def test_errors_and_logs_quote_no_memory(
    con: aios_db.Connection, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(aios_db.Error) as caught:
        FAULTS[name](con)
    assert "canary" not in str(caught.value)
    assert "4711" not in caplog.text


def test_imports_tell_of_bad_records_without_them(
    con: aios_db.Connection, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    from aios_db.importers import import_files

    caplog.set_level(logging.INFO)
    folder = tmp_path / "in"
    folder.mkdir()
    lines = [
        json.dumps({"text": TEXT, "occurred_at": "some day", "importance": "high"}),
        json.dumps({"text": TEXT, "metadata": {"a": 1e400}}),
        '{"text": "' + TEXT,
        json.dumps([TEXT]),
        json.dumps({"words": TEXT}),
        json.dumps({"text": {"value": [TEXT]}}),
    ]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    (folder / "broken.json").write_text('[{"text": "' + TEXT + '"}, ')
    (folder / "rows.csv").write_text(f'text,importance\n"{TEXT}",high\n{TEXT},5,6,7\n"{TEXT}')
    (folder / "chat.json").write_text(json.dumps({"messages": [{"role": "user", "content": {"x": TEXT}}]}))
    (folder / "mail.eml").write_bytes(b"Date: some day\n\n" + TEXT.encode() + b"\xff\xfe")
    import_files(con, [folder])
    con.erase(con.recall("safe", k=1)[0].memory_id)
    assert caplog.records, "something was told"
    assert "canary" not in caplog.text
    assert "4711" not in caplog.text
