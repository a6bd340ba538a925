"""Killing a process while it writes, and reading what is left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from kill_lifecycle import LIFECYCLE, recreate
from kill_writer import DIMENSION, SETTINGS, connect, row

from aios_db.search.index import SearchIndex

WRITER = Path(__file__).with_name("kill_writer.py")
COMMANDS = (
    "remember", "remember in bulk", "insert", "update", "update in SQL", "link", "forget", "delete", "erase",
    "optimize", "repair", "unlink", "import", "undo", "restore", "rollback_source", "backup",
    "restore of a backup", "fit_fusion", *LIFECYCLE,
)  # fmt: skip
_MEMORIES = 60


@dataclass(frozen=True)
class Outcome:
    """What one kill left.

    Attributes
    ----------
    lost
        Acknowledged changes that are not there, in words.
    torn
        What is wrong with the rest: half of a call, an index or links that differ from the memories.
    """

    lost: tuple[str, ...]
    torn: tuple[str, ...]


def template(path: Path) -> Path:
    """Make the database that each attempt begins with."""
    with connect(path) as con:
        for start in range(0, _MEMORIES, 20):
            con.remember([row(f"template {number}") for number in range(start, start + 20)])
    return path


MAY_BE_UNLINKED = ("rollback_source", "forget", "delete", "erase", "evict", "undo_consolidation")
"""The first is to be done again; of the others, `repair` links what had all its links with what is gone."""


def kill(database: Path, folder: Path, command: str, seed: int, after_s: float) -> Outcome:
    """Kill a writer ``after_s`` seconds after its first acknowledgement, and read what it left."""
    path = folder / "agent.aios"
    shutil.copytree(database, path)
    arguments = [sys.executable, WRITER, path, command, str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline(), writer.stdout.readline()]
        time.sleep(after_s)
        writer.kill()
        lines += writer.stdout.readlines()
    said = [json.loads(line) for line in lines if line.endswith("}\n")]
    assert any("done" in each for each in said), f"{command} did nothing"
    done = [each["done"] for each in said if "done" in each]
    last = said[-1].get("about to")  # acknowledged or not, it may be there or not, but not half of it
    with connect(path, **SETTINGS.get(command, {})) as con:
        found = _state(con)
        lost = [words for change in done for words in _missing(change, found)]
        torn = [] if last is None or _is_whole(last, found) else [f"half of {last}"]
        if last is None and "state" in done[-1]:  # a later call may have changed it
            asked, answer = done[-1]["state"]
            now = json.loads(json.dumps(con.execute(asked).fetchall(), default=str))
            lost += [] if now == answer else [f"{asked} answers {now}, not {answer}"]
        sure = (last or done[-1]).get("holds", "SELECT true")
        torn += [] if con.execute(sure).fetchone() == (True,) else [f"it does not hold: {sure}"]
        torn += _inconsistent(con, may_be_unlinked=command in MAY_BE_UNLINKED)
    for change in (each for each in (*done, last or {}) if "damaged" in each):
        mended = Path(change["damaged"])
        if change is last:
            recreate(mended)
        with connect(mended) as con:
            torn += [] if len(_state(con)["texts"]) == _MEMORIES else [f"half of {mended}"]
            lost += [str(con.store.damaged.why_read_only)] if con.store.damaged else []
    for change in (each for each in (*done, last or {}) if "restored" in each):
        restored = Path(change["restored"])
        if restored.exists():
            with connect(restored) as con:
                torn += [] if len(_state(con)["texts"]) == _MEMORIES else [f"half of {restored}"]
        elif change in done:
            lost.append(f"{restored} is not there")
    return Outcome(tuple(lost), tuple(torn))


def _state(con: Any) -> dict[str, Any]:
    rows = con.execute("SELECT memory_id, text, importance FROM memories").fetchall()
    links = con.execute("SELECT source_id, target_id FROM association_links").fetchall()
    return {
        "texts": [text for _, text, _ in rows],
        "importance": {memory_id: importance for memory_id, _, importance in rows},
        "links": set(links),
    }


def _missing(change: dict[str, Any], found: dict[str, Any]) -> list[str]:
    texts = set(found["texts"])
    lost = [f"{text!r} is gone" for text in change.get("add", []) if text not in texts]
    lost += [f"{text!r} is back" for text in change.get("remove", []) if text in texts]
    for memory_id, value in change.get("set", {}).items():
        # A later call may have set it again, and values only grow.
        if found["importance"][memory_id] < np.float32(value) - 1e-6:
            lost.append(f"{memory_id} has importance {found['importance'][memory_id]}, not {value}")
    if change.get("link") and tuple(change["link"]) not in found["links"]:
        lost.append(f"the link {change['link']} is gone")
    return lost


def _is_whole(change: dict[str, Any], found: dict[str, Any]) -> bool:
    texts = set(found["texts"])
    there = [text in texts for text in (*change.get("add", []), *change.get("remove", []))]
    there += [
        abs(found["importance"][memory_id] - value) < 1e-6
        for memory_id, value in change.get("set", {}).items()
    ]
    return len(set(there)) < 2


def _inconsistent(con: Any, *, may_be_unlinked: bool) -> list[str]:
    """Say what is wrong between memories, links and the index; the link column may follow a moment later."""
    wrong = []
    store = con.store
    texts = store.memories.to_table(columns=["text"])["text"].to_pylist()
    if len(set(texts)) != len(texts):
        wrong.append("a memory is there twice")
    once = store.repair()
    if (once.dangling_links, once.repeated_links) != (0, 0) or (once.missing_links and not may_be_unlinked):
        wrong.append(f"links were left: {once}")
    if once.link_columns:
        wrong.append(f"the column of links was left: {once}")
    again = store.repair()
    if (again.dangling_links, again.repeated_links, again.link_columns, again.missing_links) != (0, 0, 0, 0):
        wrong.append(f"repaired twice: {again}")
    con.remember([row("after the kill")])
    store.refresh()
    anew = SearchIndex.open(None, DIMENSION, standing=store.index.standing.alike())
    anew.sync(store.memories, store.links)
    for word in ("template", "wrote", "after"):
        live, rebuilt = (index.keyword_search(word, 1000) for index in (store.index, anew))
        if dict(zip(live.row_ids.tolist(), live.scores.round(5).tolist(), strict=True)) != dict(
            zip(rebuilt.row_ids.tolist(), rebuilt.scores.round(5).tolist(), strict=True)
        ):
            wrong.append(f"the index answers {word!r} otherwise than one built anew")
    return wrong
