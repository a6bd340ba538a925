"""The power is cut while memories are written: what was acknowledged is there, and the database opens.

``AIOS_FAULT_TRIES=30`` is the long form (`make faults`).
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from power import can_cut, cut

TRIES = int(os.environ.get("AIOS_FAULT_TRIES", "1"))

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not can_cut(), reason="needs root, ext4 and a loop device"),
    pytest.mark.timeout(600 * TRIES),
]


@pytest.mark.parametrize("attempt", range(TRIES))
def test_full_durability_keeps_every_acknowledged_memory(tmp_path: Path, tally: Any, attempt: int) -> None:
    chance = random.Random(attempt)
    outcome = cut(
        "aios_db full", tmp_path, more=chance.randint(1, 100), wait_s=chance.choice([0.0, 0.5, 6.0])
    )
    tally.add("power cut", "aios_db, durability full", lost=outcome.lost, opened=outcome.opened)
    assert outcome.opened, outcome.message
    assert outcome.lost == 0, outcome


@pytest.mark.parametrize("attempt", range(TRIES))
def test_normal_durability_opens_with_what_was_on_the_disk(tmp_path: Path, tally: Any, attempt: int) -> None:
    chance = random.Random(attempt)
    outcome = cut(
        "aios_db normal", tmp_path, more=chance.randint(27, 136), wait_s=chance.choice([0.0, 0.5, 6.0])
    )
    tally.add("power cut", "aios_db, durability normal", lost=outcome.lost, opened=outcome.opened)
    assert outcome.opened, outcome.message
    assert outcome.lost_synced == 0, outcome


@pytest.mark.parametrize("attempt", range(TRIES if TRIES > 1 else 0))
@pytest.mark.parametrize("system", ["SQLite", "DuckDB", "LanceDB"])
def test_other_databases(tmp_path: Path, tally: Any, system: str, attempt: int) -> None:
    """What the same cuts leave of others is counted, and nothing is asked of them."""
    chance = random.Random(attempt)
    outcome = cut(system, tmp_path, more=chance.randint(1, 100), wait_s=chance.choice([0.0, 0.5, 6.0]))
    tally.add("power cut", system, lost=outcome.lost, opened=outcome.opened)
