"""Databases for the SQL tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import aios_db
from aios_db.config import Config


@pytest.fixture
def con(tmp_path: Path) -> Iterator[aios_db.Connection]:
    """An empty database in a directory of its own."""
    with aios_db.connect(tmp_path / "agent.aios", config=Config()) as connection:
        yield connection
