"""A text has a most length, whichever way it is written; more is an error that names the row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import aios_db
from aios_db.config import Config
from aios_db.importers import import_path
from aios_db.schema.config import EngineConfig, StorageConfig
from aios_db.schema.errors import DataError

pytestmark = pytest.mark.sql

MOST, VECTOR = 40, [1.0, *[0.0] * 3]
FITS, LONG = "ä" * 20, "ä" * 20 + "."


def _open(path: Path, most: int = MOST) -> aios_db.Connection:
    storage = StorageConfig(dimension=4, max_text_bytes=most, durability="normal")
    engine = EngineConfig(models_dir=str(path.parent / "none"))
    return aios_db.connect(path, config=Config(storage=storage, engine=engine))


def _row(**columns: Any) -> dict[str, Any]:
    return {"text": "short", "text_embedding": VECTOR, **columns}


@pytest.fixture
def con(tmp_path: Path) -> Any:
    with _open(tmp_path / "agent.aios") as con:
        yield con


@pytest.mark.parametrize("column", ["text", "title", "external_id", "source", "metadata"])
def test_what_is_longer_is_refused_with_the_row(con: aios_db.Connection, column: str) -> None:
    value, long = (FITS, LONG) if column != "metadata" else ({"a": "b"}, {"a": LONG})
    con.remember(_row(**{column: value}))
    with pytest.raises(
        DataError, match=rf"row 1: {column} has .* bytes, and the most is 40; .*max_text_bytes"
    ):
        con.remember([_row(text="other"), _row(**{column: long})])
    (memory_id,) = (row[0] for row in con.execute("SELECT memory_id FROM memories").fetchall())
    with pytest.raises(DataError, match=f"{column} has"):
        con.update(memory_id, **{column: long, "text_embedding": VECTOR})
    assert con.execute("SELECT count(*) FROM memories").fetchone() == (1,)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO memories (text, text_embedding) VALUES ($text, $vector)",
        "SELECT remember($text) WHERE $vector IS NOT NULL",
        "UPDATE memories SET text = $text, text_embedding = $vector",
    ],
)
def test_sql_says_the_same(con: aios_db.Connection, statement: str) -> None:
    con.remember(_row())
    with pytest.raises(DataError, match="row 0: text has 41 bytes, and the most is 40"):
        con.execute(statement, {"text": LONG, "vector": VECTOR})
    assert con.execute("SELECT text FROM memories").fetchall() == [("short",)]


def test_an_import_sets_it_aside_and_an_export_is_refused_whole(
    con: aios_db.Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with _open(tmp_path / "other.aios", most=1000) as other:
        other.remember([_row(), _row(text=LONG)])
        other.export(tmp_path / "export.jsonl")
    with pytest.raises(DataError, match=r"export\.jsonl, counted from memory 0: row 1: text has 41 bytes"):
        import_path(con, tmp_path / "export.jsonl")
    assert con.execute("SELECT count(*) FROM memories").fetchone() == (0,)
    file = tmp_path / "notes.jsonl"
    file.write_text("\n".join(json.dumps(_row(text=each)) for each in ("fits", LONG)))
    report = import_path(con, file)
    assert (report.stored, report.rejected) == (1, 1)
    assert "notes.jsonl:2: text has 41 bytes, and the most is 40" in caplog.text
