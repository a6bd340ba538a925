"""`aios migrate` and the commands on models, as a user types them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aios_db.cli import main
from aios_db.engine.weights.reader import WeightFile
from aios_db.memory_store import MemoryStore
from aios_db.migrations.registry import migrations

Aios = Callable[..., tuple[int, str, str]]


@pytest.fixture
def aios(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], minilm_dir: Path
) -> Aios:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(minilm_dir.parent))
    monkeypatch.delenv("AIOS_DB", raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def old_database(path: Path) -> Path:
    MemoryStore.open(path).close()
    for table in ("weight_versions", "validation_reports", "schema_migrations"):
        shutil.rmtree(path / f"{table}.lance")
    marker = json.loads((path / "aios.json").read_text())
    (path / "aios.json").write_text(json.dumps({**marker, "format_version": 1}))
    return path


def test_migrate_a_database(aios: Aios, tmp_path: Path) -> None:
    path = old_database(tmp_path / "agent.aios")
    status, _, err = aios("stats")
    assert status == 1 and "has format 1" in err and "aios migrate" in err
    names = [each.name for each in migrations()]
    assert names[:2] == ["m0002_weight_versions", "m0003_identity"]
    assert aios("migrate", "--dry-run")[1] == f"would apply {', '.join(names)} to agent.aios\n"
    assert json.loads(aios("migrate", "--dry-run", "--json")[1])["pending"] == names
    assert aios("migrate", "--to", 999)[0] == 1
    status, out, err = aios("migrate", path)
    assert status == 0 and out == f"applied {', '.join(names)} to {path}\n" and "recorded" in err
    assert aios("migrate", path)[1] == f"{path} needs no migration\n"
    assert aios("stats")[0] == 0
    status, _, err = aios("migrate", "--to", 1)
    assert status == 1 and "only go forward" in err


def test_migrate_models(aios: Aios, minilm_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(minilm_dir, tmp_path / "tree" / "minilm")
    rows = json.loads(aios("models", "migrate", "tree", "--dry-run", "--json")[1])
    assert rows == [{"path": "tree/minilm", "version": "V1"}]
    assert "V1" in aios("models", "migrate", "tree", "--dry-run")[1]
    status, out, err = aios("models", "migrate", "tree")
    assert status == 0 and "tree/minilm" in out and "verified" in err
    assert WeightFile(tmp_path / "tree/minilm/weights.parquet").version == 2
    (row,) = json.loads(aios("models", "migrate", "tree", "--json")[1])
    assert row["changed"] is False and set(row["old_files"]) == {"weights.v1.parquet", "metadata.v1.json"}
    assert len(json.loads(aios("models", "migrate", "tree", "--prune", "--json")[1])["deleted"]) == 2
    assert aios("models", "migrate", "tree", "--prune")[1] == "nothing to delete\n"
    status, _, err = aios("models", "migrate", "tree", "--quantize", "int8")
    assert status == 1 and "--quantize needs --calibration" in err


def test_validate_and_activate(
    aios: Aios,
    rounded: Callable[..., Path],
    minilm_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aios_db.cli.progress._LINE_EVERY_S", 0.0)
    good, bad = (rounded(minilm_dir, tmp_path / f"minilm-{kind}", kind) for kind in ("fp16", "int2"))
    for number in range(3):
        assert aios("remember", f"the key hangs on hook number {number}")[0] == 0
    status, out, _ = aios("models", "validate", good, "--original", "minilm")
    assert status == 0 and "passed" in out and "recall_at_10" in out
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(f"a line about boat {number}" for number in range(50)))
    status, out, err = aios("models", "validate", bad, "--original", "minilm", "--texts", texts, "--json")
    report = json.loads(out)
    assert status == 1 and not report["passed"] and 10 < report["texts_given"] < 40
    status, _, err = aios("models", "activate", bad)
    assert status == 1 and "was refused" in err
    status, out, err = aios("models", "activate", good)
    assert status == 0 and out.startswith("minilm-fp16@") and "3 of 3" in err
    rows = json.loads(aios("models", "versions", "--json")[1])
    assert [(row["name"], row["is_active"]) for row in rows] == [("minilm", False), ("minilm-fp16", True)]
    assert "minilm-fp16@" in aios("models", "versions")[1]
    found = aios(
        "sql",
        "SELECT passed, count(*) AS n FROM validation_reports GROUP BY ALL ORDER BY ALL",
        "--format",
        "json",
    )
    assert json.loads(found[1]) == [{"passed": False, "n": 1}, {"passed": True, "n": 1}]
    assert json.loads(aios("models", "activate", "minilm", "--json")[1])["name"] == "minilm"
