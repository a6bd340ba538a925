"""A consolidator that is killed at any moment: nothing is lost or doubled, and the next one goes on."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from lifecycle_helpers import turns

import aios_db

Open = Callable[..., aios_db.Connection]
TRIES = int(os.environ.get("AIOS_FAULT_TRIES", "2"))


@pytest.mark.faults
@pytest.mark.slow
def test_a_killed_consolidator_leaves_no_half_archived_cluster(
    open_database: Open, tmp_path: Path, minilm_dir: Path
) -> None:
    users = 4
    with open_database() as con:
        for number in range(users):
            con.remember(turns(user_id=f"user {number}"))
        texts = Counter(con.execute("SELECT user_id, text FROM memories").fetchall())
    command = [
        sys.executable, str(Path(__file__).with_name("killed_consolidator.py")), str(tmp_path / "agent.aios"),
        str(minilm_dir.parent),
    ]  # fmt: skip
    chance, killed, total = random.Random(int(time.time())), 0, 0
    for _ in range(TRIES):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0, 1.5))
        process.kill()
        killed += "done" not in process.stdout.read()
        process.wait()
        total += look(open_database, texts)
    assert killed, f"none of {TRIES} was killed in time"
    with open_database() as con:
        con.consolidate()
    look(open_database, texts, take_back=False)
    with open_database() as con:
        assert con.execute("SELECT count(*) FROM memories WHERE tier = 'short'").fetchall() == [(0,)]
        states = con.execute("SELECT DISTINCT state FROM consolidation_log").fetchall()
        assert set(states) <= {("committed",), ("broken_off",), ("undone",)} and ("committed",) in states
    # The column of links follows within seconds of a write, or by repair, where its writer was killed.
    faults = aios_db.check(tmp_path / "agent.aios").faults
    assert [each for each in faults if "association_links" not in each.what] == []


def look(open_database: Open, texts: Counter[tuple[str, str]], *, take_back: bool = True) -> int:
    """Check what the next one finds, and take most of it back, so that there is something to do again."""
    with open_database() as con:
        found = Counter(
            con.execute("SELECT user_id, text FROM memories WHERE kind <> 'principle'").fetchall()
        )
        assert found == texts
        archived = {
            name
            for (name,) in con.execute("SELECT memory_id FROM memories WHERE tier = 'archived'").fetchall()
        }
        made = con.execute("SELECT memory_id, derived_from FROM memories WHERE kind = 'principle'").fetchall()
        sources = [name for _, names in made for name in names]
        assert len(sources) == len(set(sources)) and set(sources) == archived
        links = con.execute(
            "SELECT source_id, target_id FROM association_links WHERE kind = 'derived_from'"
        ).fetchall()
        assert Counter(links) == Counter((name, source) for name, names in made for source in names)
        logged = con.execute(
            "SELECT consolidation_id FROM consolidation_log WHERE state IN ('committed', 'begun')"
        ).fetchall()
        for (name,) in logged[:-2] if take_back else ():
            con.undo_consolidation(name)
        return len(made)
