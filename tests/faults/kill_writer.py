"""A process of its own: repeats one writing command on a database until it is killed.

``python kill_writer.py DATABASE COMMAND SEED`` prints a line of JSON before and after each call: what it is
about to do to which memories, and that it is done.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from kill_fusion import fit
from kill_lifecycle import LIFECYCLE
from numpy.typing import NDArray

import aios_db
from aios_db import session
from aios_db.config import Config
from aios_db.importers import import_path
from aios_db.schema.config import EngineConfig, EvictionConfig, StorageConfig, TrustConfig

DIMENSION = 16
Change = dict[str, Any]
"""``add``, ``remove``: texts; ``set``: memory_id to importance; ``link``: memory_ids; ``restored``: path;
``damaged``: path of a database without whole links.

``state``: a query, to which is added what it answers when the call is done; ``holds``: one that is true all
the time.
"""
Call = Callable[[], object]
SETTINGS: dict[str, dict[str, Any]] = {
    "restore": {"keep_versions_s": 60.0},  # is about what is kept
    "release": {"trust": TrustConfig(sources=(("web:*", 0.2),))},
    "evict": {"eviction": EvictionConfig(grace_s=0.0)},
}
"""What the configuration says for a command."""


class StandIn:
    """Embeds the texts of an import."""

    dimension, version = DIMENSION, "stand-in@000000000000"

    def __init__(self, config: Config) -> None:
        pass

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        made = np.array([row(text)["text_embedding"] for text in texts], np.float32)
        unit: NDArray[np.float32] = made / np.linalg.norm(made, axis=1, keepdims=True)
        return unit

    def close(self) -> None:
        pass


def connect(path: Path, **settings: Any) -> aios_db.Connection:
    """Open the database; settings are those of storage, or sections of the configuration."""
    # Maintenance within the run, so that kills hit compaction and clean-up, too.
    often = {"maintenance_delay_s": 0.1, "compact_after_fragments": 4, "keep_versions_s": 0.5}
    sections = {name: settings.pop(name) for name in ("trust", "eviction") if name in settings}
    storage = StorageConfig(dimension=DIMENSION, **{**often, **settings})
    engine = EngineConfig(models_dir=str(path.parent / "none"))
    return aios_db.connect(path, config=Config(storage=storage, engine=engine, **sections))


def row(text: str) -> dict[str, Any]:
    seed = abs(int.from_bytes(text.encode()[-8:], "little"))
    vector = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32).tolist()
    return {"text": text, "text_embedding": vector, "session_id": "s"}


def steps(con: aios_db.Connection, command: str, seed: int) -> Iterator[tuple[Change, Call]]:
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
            calls: dict[str, Call] = {
                "forget": lambda i=memory_id: con.forget(i),
                "delete": lambda i=memory_id: con.execute("DELETE FROM memories WHERE memory_id = ?", [i]),
                "erase": lambda i=memory_id: con.erase(i),
            }
            yield {"remove": [gone]}, calls[command]
        elif command == "unlink":
            one, other = (memory_id for memory_id, _ in chance.sample(known, 2))
            con.link(one, other)
            yield {}, lambda one=one, other=other: con.store.unlink(_named(one, other))
        else:
            yield WHOLE[command](con, number, text)


def _import(con: aios_db.Connection, number: int, text: str) -> tuple[Change, Call]:
    texts = [f"{text} {each}" for each in range(40)]
    file = Path(con.store.path).with_name(f"{number}.jsonl")
    file.write_text("\n".join(json.dumps({"text": each, "session_id": "s"}) for each in texts))
    return {"add": texts}, lambda: import_path(con, file)


def _undo(con: aios_db.Connection, _: int, text: str) -> tuple[Change, Call]:
    con.remember([row(text)])
    return {"remove": [text]}, lambda: con.undo(con.history()[0])


def _restore(con: aios_db.Connection, _: int, text: str) -> tuple[Change, Call]:
    version = con.store.memories.version
    con.remember([row(text)])
    return {"remove": [text]}, lambda: con.restore(version)


def _rollback(con: aios_db.Connection, number: int, text: str) -> tuple[Change, Call]:
    con.remember([{**row(text), "source": f"web:{number}"}])
    return {"remove": [text]}, lambda: con.rollback_source(f"web:{number}")


def _backup(con: aios_db.Connection, _: int, text: str) -> tuple[Change, Call]:
    con.remember([row(text)])
    return {"add": [text]}, lambda: con.backup(_backups(con))


def _restore_backup(con: aios_db.Connection, number: int, _: str) -> tuple[Change, Call]:
    if number == 1:
        con.backup(_backups(con))
    path = str(_backups(con).with_name(f"restored {number}.aios"))
    return {"restored": path}, lambda: aios_db.restore(_backups(con), path)


def _optimize(con: aios_db.Connection, _: int, text: str) -> tuple[Change, Call]:
    return {"add": [text]}, lambda: (con.remember([row(text)]), con.store.optimize())


WHOLE: dict[str, Callable[[aios_db.Connection, int, str], tuple[Change, Call]]] = {
    "import": _import,
    "undo": _undo,
    "restore": _restore,
    "rollback_source": _rollback,
    "backup": _backup,
    "restore of a backup": _restore_backup,
    "optimize": _optimize,
    "repair": lambda con, _, __: ({}, con.store.repair),
    "fit_fusion": fit,
    **LIFECYCLE,
}
"""Commands that are about more than some memories, by name."""


def _named(one: str, other: str) -> pa.Table:
    return pa.table({"source_id": [one], "target_id": [other], "kind": ["user"]})


def _backups(con: aios_db.Connection) -> Path:
    return Path(con.store.path).with_name("backups")


def main(path: str, command: str, seed: str) -> None:
    session.LazyEncoder = StandIn  # type: ignore[assignment,misc]
    with connect(Path(path), **SETTINGS.get(command, {})) as con:
        for change, call in steps(con, command, int(seed)):
            say("about to", change)
            call()
            if "state" in change:
                change["state"] = [change["state"], con.execute(change["state"]).fetchall()]
            say("done", change)


def say(word: str, change: Change) -> None:
    sys.stdout.write(json.dumps({word: change}, default=str) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
