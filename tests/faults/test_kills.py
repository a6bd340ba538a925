"""A process is killed while it writes: what it acknowledged is there, nothing is half there."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kills import COMMANDS, kill, template

TRIES = int(os.environ.get("AIOS_FAULT_TRIES", "1"))

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600 * TRIES)]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return template(tmp_path_factory.mktemp("template") / "agent.aios")


@pytest.mark.parametrize("attempt", range(TRIES))
@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_killed_process_acknowledged_is_there(
    database: Path, tmp_path: Path, tally: Any, command: str, attempt: int
) -> None:
    chance = random.Random(f"{command} {attempt}")
    outcome = kill(database, tmp_path, command, attempt, after_s=chance.uniform(0, 0.8))
    tally.add(f"kill -9 in {command}", "aios_db", lost=len(outcome.lost) + len(outcome.torn), opened=True)
    assert outcome.lost == ()
    assert outcome.torn == ()
