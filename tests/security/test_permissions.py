from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

import aios_db
from aios_db.cli import main
from aios_db.config import Config

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")


@pytest.fixture(autouse=True)
def _usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_database_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "agent.aios"
    with aios_db.connect(path, config=Config()) as con:
        con.remember([{"text": f"note {number}", "session_id": "s"} for number in range(20)])
        con.recall("note 3")
        con.store.optimize()
    assert _mode(path) == 0o700
    for each in path.iterdir():
        if each.is_dir():
            assert _mode(each) == 0o700, each
    for name in ("aios.json", "recalls.log"):
        assert _mode(path / name) == 0o600, name
    con = aios_db.connect(path, config=Config())
    con.erase(con.recall("note 3", k=1)[0].memory_id)
    con.close()
    assert all(_mode(each) == 0o700 for each in path.iterdir() if each.is_dir())


def test_a_directory_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "shared"
    path.mkdir(0o755)
    aios_db.connect(path, config=Config()).close()
    assert _mode(path) == 0o755
    assert all(_mode(each) == 0o700 for each in path.glob("*.lance"))


def test_the_index_of_a_scope_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "agent.aios"
    with aios_db.connect(path, config=Config(), user_id="ada") as con:
        con.remember([f"note {number}" for number in range(20)])
        con.optimize()
    assert list(path.glob("index/scope-*"))
    assert all(_mode(each) == 0o700 for each in path.rglob("index/**/") if each.is_dir())


def test_what_imports_reject_is_its_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], minilm_dir: Path
) -> None:
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(minilm_dir.parent))
    (tmp_path / "notes.jsonl").write_text('{"text": "good"}\n{"text": bad}\n')
    database = tmp_path / "agent.aios"
    assert main(["import", str(tmp_path / "notes.jsonl"), "--db", str(database)]) == 3
    capsys.readouterr()
    assert _mode(tmp_path / "agent.aios.rejected.jsonl") == 0o600
    assert all(_mode(each) == 0o600 for each in (database / "imports").iterdir())
