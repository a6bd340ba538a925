"""What was known at an earlier time, in SQL, Python and the shell."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

import aios_db
from aios_db.cli import main
from aios_db.config import Config
from aios_db.schema.config import EngineConfig, StorageConfig

pytestmark = pytest.mark.sql


def now() -> datetime:
    time.sleep(0.02)
    found = datetime.now(timezone.utc)
    time.sleep(0.02)
    return found


@pytest.fixture
def config(minilm_dir: Path) -> Config:
    storage = StorageConfig(maintenance_delay_s=60.0)
    return Config(engine=EngineConfig(models_dir=str(minilm_dir.parent)), storage=storage)


def test_recall_as_of_knows_what_was_known_then(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.aios"
    with aios_db.connect(path, config=config) as con:
        before = now()
        key, pot = con.remember([{"text": "The key is under the pot."}, {"text": "The pot is blue."}])
        first = now()
        con.forget(pot)
        con.remember("The key hangs in the hall.")
        con.update(key, tier="long")
        second = now()

        def texts(as_of: object) -> set[str]:
            return {each.text for each in con.recall("where is the key?", as_of=as_of)}  # type: ignore[arg-type]

        assert con.recall("key", as_of=before) == []
        assert texts(first) == {"The key is under the pot.", "The pot is blue."}
        assert texts(second) == texts(None) == {"The key is under the pot.", "The key hangs in the hall."}
        sql = "SELECT text FROM recall('key', as_of := ?, tier := 'long')"
        assert con.execute(sql, [first]).fetchall() == []
        assert con.execute(sql, [second]).fetchall() == [("The key is under the pot.",)]
        at = "SELECT text, tier FROM memories_at(?) ORDER BY memory_id"
        assert con.execute(at, [first]).fetchall() == [
            ("The key is under the pot.", "short"),
            ("The pot is blue.", "short"),
        ]
        versions = con.execute("FROM memory_versions()").fetchall()
        assert [number for number, _ in versions] == sorted(number for number, _ in versions)
        (number,) = con.execute(
            "SELECT max(version) FROM memory_versions() WHERE written_at <= ?", [first]
        ).fetchone()  # type: ignore[misc]
        assert len(con.execute(f"FROM memories_at({number})").fetchall()) == 2
        future = datetime.now(timezone.utc) + timedelta(days=1)
        assert texts(future) == texts(None)
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", config.engine.models_dir)
    assert main(["recall", "key", "--as-of", first.isoformat(), "--json", "--db", str(path)]) == 0
    assert {row["text"] for row in json.loads(capsys.readouterr().out)} == {
        "The key is under the pot.",
        "The pot is blue.",
    }


def test_what_is_kept_no_longer_is_said(config: Config, tmp_path: Path) -> None:
    with aios_db.connect(tmp_path / "a.aios", config=config) as con:
        con.remember("The key is under the pot.")
        past = now()
        con.remember("The pot is blue.")
        con.store.memories.cleanup_old_versions(older_than=timedelta(0))
        with pytest.raises(aios_db.OperationalError, match=r"kept no longer.*storage\.keep_versions_s"):
            con.recall("key", as_of=past)
        with pytest.raises(aios_db.OperationalError, match="version 2 is kept no longer"):
            con.execute("FROM memories_at(2)").fetchall()
        for wrong in ("99", "0", "-1"):
            with pytest.raises(aios_db.ProgrammingError, match="there is no version"):
                con.execute(f"FROM memories_at({wrong})").fetchall()
        for wrong in ("'junk'", "NULL", "1.5", "'2.4'", "1e0"):
            with pytest.raises(aios_db.DataError, match="memories_at"):
                con.execute(f"FROM memories_at({wrong})").fetchall()
        with pytest.raises(aios_db.DataError, match="junk"):
            con.recall("key", as_of="junk")


@pytest.mark.parametrize(
    "sql",
    [
        "FROM memories AT (VERSION => 1)",
        "SELECT count(*) FROM (SELECT * FROM main.memories AT (TIMESTAMP => now()))",
        "FROM association_links AT (VERSION => 1)",
        "EXPLAIN FROM memories AT (VERSION => 1)",
        "CREATE VIEW earlier AS FROM memories AT (VERSION => 1)",
        "DELETE FROM memories WHERE memory_id IN (SELECT memory_id FROM memories AT (VERSION => 1))",
    ],
)
def test_duckdbs_own_form_names_the_one_that_works(con: aios_db.Connection, sql: str) -> None:
    with pytest.raises(aios_db.NotSupportedError, match="memories_at"):
        con.execute(sql)
    with pytest.raises(aios_db.NotSupportedError, match="memories_at"):
        con.sql(sql).fetchall()
