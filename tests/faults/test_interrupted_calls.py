"""Ctrl-C at any bytecode of a call leaves a connection that works, and the call done or not done.

Any but those that leave a `with`, before the call of its `__exit__`: there the interpreter does not look for
signals (https://github.com/python/cpython/issues/74174).
"""

from __future__ import annotations

import dis
import os
import random
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kill_writer import DIMENSION, row

import aios_db
from aios_db.config import Config
from aios_db.schema.config import EngineConfig, StorageConfig
from aios_db.search.index import SearchIndex

TRIES = int(os.environ.get("AIOS_FAULT_TRIES", "1"))
POINTS = 12 * TRIES
PACKAGE = str(Path(aios_db.__file__).parent)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900 * TRIES)]


@cache
def leaving_with(code: CodeType) -> frozenset[int]:
    """The offsets of the bytecodes that end a `with`: three times None, and the call that takes them."""
    found: list[int] = []
    run: list[int] = []
    for each in dis.get_instructions(code):
        if each.opname in {"SWAP", "LOAD_CONST", "PRECALL"} and each.argval in {None, 2}:
            run.append(each.offset)
            continue
        if each.opname == "CALL" and each.arg == 2 and len(run) >= 3:
            found += [*run, each.offset]
        run = []
    return frozenset(found)


class Interrupt:
    """Counts the bytecodes that the package runs, and raises KeyboardInterrupt at one of them."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.seen = at, 0
        self.where = ""

    def __enter__(self) -> Interrupt:
        self._earlier = sys.gettrace()  # coverage measures with one
        sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._earlier)

    def _called(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _step(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "opcode" and frame.f_lasti not in leaving_with(frame.f_code):
            self.seen += 1
            if self.seen == self.at:
                self.where = f"{frame.f_code.co_filename[len(PACKAGE) :]}:{frame.f_lineno}"
                sys.settrace(self._earlier)
                raise KeyboardInterrupt
        return self._step


class Words:
    """A vector for each text, so that `recall` needs no model."""

    dimension = DIMENSION
    version = "words@000000000000"

    def encode(self, texts: Any) -> np.ndarray:
        vectors = np.array([row(text)["text_embedding"] for text in texts], np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def con(tmp_path: Path) -> Iterator[aios_db.Connection]:
    storage = StorageConfig(dimension=DIMENSION, maintenance_delay_s=3600, lock_timeout_s=5)
    engine = EngineConfig(models_dir=str(tmp_path / "none"))
    with aios_db.connect(tmp_path / "agent.aios", config=Config(storage=storage, engine=engine)) as con:
        con.store.database.texts.given = Words()
        con.remember([row(f"tea {number}") for number in range(20)])
        yield con


def _texts(con: aios_db.Connection) -> set[str]:
    return {text for (text,) in con.execute("SELECT text FROM memories").fetchall()}


def _check(con: aios_db.Connection, where: str) -> None:
    store = con.store
    store.refresh()
    anew = SearchIndex.open(None, DIMENSION)
    anew.sync(store.memories, store.links)
    live, rebuilt = (index.keyword_search("tea wrote", 1000) for index in (store.index, anew))
    assert dict(zip(live.row_ids.tolist(), live.scores.round(5).tolist(), strict=True)) == dict(
        zip(rebuilt.row_ids.tolist(), rebuilt.scores.round(5).tolist(), strict=True)
    ), where
    assert len(store.index) == store.memories.count_rows(), where


def _remember(con: aios_db.Connection, number: int) -> Callable[[], object]:
    return lambda: con.remember([row(f"wrote {number}")])


def _forget(con: aios_db.Connection, number: int) -> Callable[[], object]:
    (memory_id,) = con.remember([row(f"passing {number}")])
    return lambda: con.forget(memory_id)


def _update(con: aios_db.Connection, number: int) -> Callable[[], object]:
    (memory_id,) = con.execute("SELECT memory_id FROM memories ORDER BY text LIMIT 1").fetchone() or ("",)
    return lambda: con.update(memory_id, importance=(number % 100) / 100)


def _link(con: aios_db.Connection, number: int) -> Callable[[], object]:
    ids = [each for (each,) in con.execute("SELECT memory_id FROM memories ORDER BY text").fetchall()]
    return lambda: con.link(ids[number % len(ids)], ids[(number + 1) % len(ids)])


def _recall(con: aios_db.Connection, number: int) -> Callable[[], object]:
    return lambda: con.recall("tea", k=5)


def _insert(con: aios_db.Connection, number: int) -> Callable[[], object]:
    vector = row(f"wrote {number}")["text_embedding"]
    statement = "INSERT INTO memories (text, text_embedding) VALUES (?, ?)"
    return lambda: con.execute(statement, [f"wrote {number}", vector])


def _delete(con: aios_db.Connection, number: int) -> Callable[[], object]:
    con.remember([row(f"passing {number}")])
    return lambda: con.execute("DELETE FROM memories WHERE text = ?", [f"passing {number}"])


def _would_consolidate(con: aios_db.Connection, number: int) -> Callable[[], object]:
    return lambda: con.consolidate(dry_run=True)


@pytest.mark.parametrize(
    "make", [_remember, _forget, _update, _link, _recall, _insert, _delete, _would_consolidate]
)
def test_an_interrupted_call(con: aios_db.Connection, make: Callable[..., Callable[[], object]]) -> None:
    make(con, 0)()
    with Interrupt() as counting:
        make(con, 1)()
    points = random.Random(make.__name__).sample(range(1, counting.seen), min(POINTS, counting.seen - 1))
    for number, point in enumerate(sorted(points), start=2):
        call = make(con, number)
        try:
            with Interrupt(point) as interrupt:
                call()
        except KeyboardInterrupt:
            pass
        before = _texts(con)
        (memory_id,) = con.remember([row(f"tea after {number}")])  # the lock is free
        assert _texts(con) == before | {f"tea after {number}"}, interrupt.where
        con.forget(memory_id)
        _check(con, interrupt.where)
