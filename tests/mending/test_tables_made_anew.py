"""Memories open beside damaged tables, which `repair` makes anew where nothing can be lost."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
from pathlib import Path

import pytest

import aios_db
from aios_db.cli import main
from aios_db.schema.config import Config, EngineConfig, StorageConfig
from aios_db.store import directory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "salvaging"))
from salvage_helpers import BULK, LATER, connect, copy, damage, make

EMPTY = ["weight_versions", "validation_reports", "schema_migrations", "lora_cards", "sync_log"]
TEXTS = sorted({*BULK, *LATER} - {BULK[3]})
WAYS = ["gone", "missing", "empty", "half", "zeroed", "flipped middle", "flipped end"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("original") / "agent.aios"
    assert make(place) == TEXTS
    return place


@pytest.fixture
def database(original: Path, tmp_path: Path) -> Path:
    return copy(original, tmp_path / "agent.aios")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(storage=StorageConfig(dimension=16), engine=EngineConfig(models_dir=str(tmp_path / "none")))


def ruin(database: Path, table: str, how: str) -> None:
    place = database / f"{table}.lance"
    if how == "gone":
        shutil.rmtree(place)
    else:
        damage(place / "_versions", how)


def reads_all(con: aios_db.Connection, texts: list[str], out: Path) -> None:
    """Check that memories are read, recalled and exported."""
    assert sorted(row[0] for row in con.execute("SELECT text FROM memories").fetchall()) == texts
    sql = "SELECT text FROM keyword_search('later 2', 1) JOIN memories USING (memory_id)"
    (found,) = con.execute(sql).fetchall()
    assert found == ("later 2",)
    assert con.export(out).memories == len(texts)


@pytest.mark.parametrize("how", WAYS)
def test_memories_are_read_without_links(
    database: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    ruin(database, "association_links", how)
    with caplog.at_level(logging.WARNING, "aios_db"), connect(database) as con:
        if not con.store.damaged:
            assert how.startswith("flipped")  # a byte that nothing reads
            return
        reads_all(con, TEXTS, tmp_path / "out")
        for sql in (
            "SELECT * FROM association_links",
            "SELECT * FROM neighbors((SELECT memory_id FROM memories LIMIT 1))",
        ):
            with pytest.raises(aios_db.OperationalError, match=r"association_links\.lance.*aios repair"):
                con.execute(sql).fetchall()
        with pytest.raises(aios_db.ReadOnlyError, match=r"association_links\.lance.*aios repair"):
            con.remember({"text": "new", "text_embedding": [1.0] + [0.0] * 15})
    assert "association_links cannot be" in caplog.text


@pytest.mark.parametrize("how", ["gone", "zeroed", "flipped middle"])
@pytest.mark.parametrize("table", EMPTY)
def test_an_empty_table_is_made_anew(
    database: Path, tmp_path: Path, config: Config, table: str, how: str
) -> None:
    ruin(database, table, how)
    with connect(database) as con:
        damaged = bool(con.store.damaged)
        reads_all(con, TEXTS, tmp_path / "out")
        if damaged:
            with pytest.raises(aios_db.OperationalError, match=rf"{table}\.lance"):
                con.execute(f"SELECT * FROM {table}").fetchall()
    report = aios_db.repair(database, config=config)
    made = [each.table for each in report.tables]
    assert made == [table] if damaged else made in ([], [table])  # a name may be damaged that nothing read
    assert report.damaged == ()
    assert report.report is not None
    with connect(database) as con:
        assert not con.store.read_only
        assert con.execute(f"SELECT count(*) FROM {table}").fetchall() == [(0,)]
        con.remember({"text": "new", "text_embedding": [1.0] + [0.0] * 15})
        assert con.store.stats().memories == len(TEXTS) + 1


def test_links_are_made_anew_when_it_is_asked_for(
    database: Path, tmp_path: Path, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    with connect(database) as con:
        links = "SELECT source_id, target_id, kind, round(weight, 3) FROM association_links ORDER BY ALL"
        before = con.execute(links).fetchall()
    ruin(database, "association_links", "zeroed")
    report = aios_db.repair(database, config=config)
    assert (report.tables, report.report) == ((), None)
    assert "--recreate association_links" in report.damaged[0]
    assert main(["repair", "--db", str(database)]) == 1
    assert "damaged: opening" in capsys.readouterr().out
    report = aios_db.repair(database, recreate=["association_links"], config=config)
    (made,) = report.tables
    assert made.rows >= len(before)  # those that were forgotten with their memory do not come back
    assert Path(made.aside or "").is_dir()
    with connect(database) as con:
        assert con.execute(links).fetchall() == before
        assert con.backup(tmp_path / "kept").tables["association_links"].rows == len(before)
    aios_db.restore(tmp_path / "kept", tmp_path / "restored.aios", config=config)
    assert not (tmp_path / "restored.aios" / "damaged").exists()


@pytest.mark.parametrize("stop", ["making", "whole", "aside"])
def test_interrupted_it_is_done_again_or_ended(
    database: Path,
    config: Config,
    stop: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ruin(database, "association_links", "zeroed")
    renamed = Path.rename
    calls = 0

    def interrupted(path: Path, to: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == ["making", "whole", "aside"].index(stop) + 1:
            raise KeyboardInterrupt
        return renamed(path, to)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        aios_db.repair(database, recreate=["association_links"], config=config)
    monkeypatch.undo()
    report = aios_db.repair(database, recreate=["association_links"], config=config)
    assert report.damaged == ()
    with connect(database) as con:
        assert con.execute("SELECT count(*) > 5 FROM association_links").fetchall() == [(True,)]
        assert con.execute("SELECT count(*) FROM memories").fetchall() == [(len(TEXTS),)]


def test_an_unknown_table_is_refused(database: Path) -> None:
    with pytest.raises(aios_db.ProgrammingError, match="'memories' is none of association_links"):
        aios_db.repair(database, recreate=["memories"])


@pytest.mark.parametrize("read_only", [False, True])
def test_what_cannot_be_opened_for_another_reason_is_no_damage(
    database: Path, monkeypatch: pytest.MonkeyPatch, read_only: bool
) -> None:
    is_torn = directory.is_torn

    def denied(table: Path) -> bool:
        if table.stem == "lora_cards":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(table))
        return is_torn(table)

    monkeypatch.setattr(directory, "is_torn", denied)
    with pytest.raises(aios_db.OperationalError, match="Permission denied"):
        aios_db.connect(database, read_only=read_only)


def test_a_text_is_recalled_without_the_table_of_weights(
    tmp_path: Path, minilm_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = Config(engine=EngineConfig(models_dir=str(minilm_dir.parent)))
    with aios_db.connect(tmp_path / "a.aios", config=config) as con:
        con.remember(["Ada keeps the spare key under the blue pot.", "Bo likes tea."])
        (version,) = [each.version for each in con.store.versions.all()]
    ruin(tmp_path / "a.aios", "weight_versions", "gone")
    with aios_db.connect(tmp_path / "a.aios", read_only=True, config=config) as con:
        (found,) = con.recall("where is the key?", k=1)
        assert found.text.startswith("Ada")
        assert con.export(tmp_path / "out").memories == 2
    assert "by their digest" in caplog.text
    report = aios_db.repair(tmp_path / "a.aios", config=config)
    assert [each.table for each in report.tables] == ["weight_versions"]
    with aios_db.connect(tmp_path / "a.aios", config=config) as con:
        assert [(each.version, each.is_active) for each in con.store.versions.all()] == [(version, True)]
