"""A process of its own: repeats one writing command on a database until it is killed.

``python kill_writer.py DATABASE COMMAND SEED`` prints a line of JSON before and after each call: what it is
about to do to which memories, and that it is done.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import aios_db
from aios_db.config import Config
from aios_db.schema.config import EngineConfig, StorageConfig

DIMENSION = 16
Change = dict[str, Any]
"""``add``, ``remove``: texts; ``set``: memory_id to importance; ``link``: two memory_ids."""


def connect(path: Path, **settings: Any) -> aios_db.Connection:
    # Maintenance within the run, so that kills hit compaction and clean-up, too.
    often = {"maintenance_delay_s": 0.1, "compact_after_fragments": 4, "keep_versions_s": 0.5}
    storage = StorageConfig(dimension=DIMENSION, **{**often, **settings})
    engine = EngineConfig(models_dir=str(path.parent / "none"))
    return aios_db.connect(path, config=Config(storage=storage, engine=engine))


def row(text: str) -> dict[str, Any]:
    seed = abs(int.from_bytes(text.encode()[-8:], "little"))
    vector = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32).tolist()
    return {"text": text, "text_embedding": vector, "session_id": "s"}


def steps(con: aios_db.Connection, command: str, seed: int) -> Iterator[tuple[Change, Callable[[], object]]]:
    """Yield what each call changes, and the call."""
    chance = random.Random(seed)
    known = con.execute("SELECT memory_id, text FROM memories ORDER BY memory_id").fetchall()
    chance.shuffle(known)
    number = 0
    while True:
        number += 1
        text = f"seed {seed} wrote {number}"
        if command == "remember":
            yield {"add": [text]}, lambda text=text: con.remember([row(text)])
        elif command == "remember in bulk":
            texts = [f"{text} {each}" for each in range(40)]
            yield {"add": texts}, lambda texts=texts: con.remember([row(each) for each in texts])
        elif command == "insert":
            given = row(text)
            yield (
                {"add": [text]},
                lambda given=given: con.execute(
                    "INSERT INTO memories (text, text_embedding) VALUES ($text, $text_embedding)",
                    {"text": given["text"], "text_embedding": given["text_embedding"]},
                ),
            )
        elif command == "update":
            memory_id, _ = chance.choice(known)
            value = number / 1000
            yield {"set": {memory_id: value}}, lambda i=memory_id, v=value: con.update(i, importance=v)
        elif command == "update in SQL":
            some = [memory_id for memory_id, _ in chance.sample(known, 10)]
            value = number / 1000
            yield (
                {"set": dict.fromkeys(some, value)},
                lambda some=some, value=value: con.execute(
                    "UPDATE memories SET importance = ? WHERE list_contains(?, memory_id)", [value, some]
                ),
            )
        elif command == "link":
            one, other = (memory_id for memory_id, _ in chance.sample(known, 2))
            yield {"link": [one, other]}, lambda one=one, other=other: con.link(one, other)
        elif command in ("forget", "delete", "erase"):
            if not known:
                return
            memory_id, gone = known.pop()
            calls: dict[str, Callable[[], object]] = {
                "forget": lambda i=memory_id: con.forget(i),
                "delete": lambda i=memory_id: con.execute("DELETE FROM memories WHERE memory_id = ?", [i]),
                "erase": lambda i=memory_id: con.erase(i),
            }
            yield {"remove": [gone]}, calls[command]
        elif command == "optimize":
            yield {"add": [text]}, lambda text=text: (con.remember([row(text)]), con.store.optimize())
        elif command == "repair":
            yield {}, con.store.repair
        else:
            raise ValueError(command)


def main(path: str, command: str, seed: str) -> None:
    with connect(Path(path)) as con:
        for change, call in steps(con, command, int(seed)):
            say("about to", change)
            call()
            say("done", change)


def say(word: str, change: Change) -> None:
    sys.stdout.write(json.dumps({word: change}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
