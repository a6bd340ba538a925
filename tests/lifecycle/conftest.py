"""Databases of sentences that the engine's own model embeds, and one with a small life in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lifecycle_helpers import turns

import aios_db

SENTENCES = [
    line
    for line in (Path(__file__).parents[2] / "engine/backends/sample.txt").read_text("utf-8").splitlines()
    if line.strip()
]


@pytest.fixture
def sentences() -> list[str]:
    return SENTENCES


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[..., aios_db.Connection]]:
    """Open one database, with a configuration and options."""
    opened: list[aios_db.Connection] = []

    def open_(config: dict[str, Any] | None = None, **options: Any) -> aios_db.Connection:
        opened.append(aios_db.connect(tmp_path / "agent.aios", config=config, **options))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


@pytest.fixture
def open_database(tmp_path: Path, minilm_dir: Path) -> Callable[..., aios_db.Connection]:
    """Return what opens the database ``agent.aios``, with values of the configuration."""

    def opened(values: dict[str, Any] | None = None, **how: Any) -> aios_db.Connection:
        engine = {"models_dir": str(minilm_dir.parent)}
        return aios_db.connect(tmp_path / "agent.aios", config={"engine": engine, **(values or {})}, **how)

    return opened


@pytest.fixture
def con(open_database: Callable[..., aios_db.Connection]) -> Any:
    """A database with all of it."""
    with open_database() as connection:
        connection.remember(turns())
        yield connection
