"""Databases, and files beside them that SQL must not reach."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from security_helpers import SECRET, Place

import aios_db
from aios_db.config import Config


@pytest.fixture(scope="session")
def _original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import duckdb

    root = tmp_path_factory.mktemp("place")
    found = _place(root)
    found.allowed.mkdir()
    found.outside.mkdir()
    for name in ("secret.txt", "secret.csv", "secret.json", "schema.sql", "load.sql"):
        (found.outside / name).write_text(f'{{"a": "{SECRET}"}}\n')
    with duckdb.connect(str(found.outside / "secret.duckdb")) as other:
        other.execute(f"CREATE TABLE t AS SELECT '{SECRET}' AS a")
        other.execute(f"COPY t TO '{found.outside}/secret.parquet'")
    with aios_db.connect(found.database, config=Config()) as con:
        con.remember(["The spare key lies under the blue pot.", "Tea is at five."])
    return root


@pytest.fixture
def place(_original: Path, tmp_path: Path) -> Place:
    """Return a database of two memories, and files outside of it in many formats."""
    shutil.copytree(_original, tmp_path, dirs_exist_ok=True)
    return _place(tmp_path)


def _place(root: Path) -> Place:
    return Place(root / "agent.aios", root / "allowed", root / "outside")
