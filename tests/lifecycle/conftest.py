"""Databases of sentences that the engine's own model embeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

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
