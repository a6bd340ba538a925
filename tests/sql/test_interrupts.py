"""Ctrl-C in a statement is a KeyboardInterrupt, and the connection goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pytest
from filelock import FileLock
from numpy.typing import NDArray

import aios_db
from aios_db.encoder import LazyEncoder
from aios_db.udfs.live import LiveDataset

pytestmark = pytest.mark.sql


@pytest.fixture
def con(tmp_path: Path) -> Iterator[aios_db.Connection]:
    with aios_db.connect(tmp_path / "agent.aios") as con:
        vector = [1.0] + [0.0] * 383
        con.remember([{"text": "tea at four", "text_embedding": vector}])
        yield con


def test_inside_a_function_of_ours(con: aios_db.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    counted = "SELECT count(*) FROM keyword_search('tea', 1)"
    with monkeypatch.context() as patch:
        patch.setattr(con.store.index, "pinned", stopped)
        with pytest.raises(KeyboardInterrupt):
            con.execute(counted).fetchall()
    assert con.execute(counted).fetchall() == [(1,)]


# In a process of its own: where an interrupt is lost, DuckDB waits for hours and hears no other signal.
_INTERRUPTED = """
import signal, sys, threading
import aios_db

signal.signal(signal.SIGINT, signal.default_int_handler)
main = threading.main_thread().ident
with aios_db.connect(sys.argv[1]) as con:
    con.remember([{"text": "tea at four", "text_embedding": [1.0] + [0.0] * 383}])
    for after in (0.3, 0.05, 0.2, 0.1, 0.25):
        timer = threading.Timer(after, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        try:
            con.execute("SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b").fetchall()
        except KeyboardInterrupt:
            print("interrupted", con.execute("SELECT text FROM memories").fetchall(), flush=True)
        timer.join()
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="sends a signal to the main thread")
def test_while_duckdb_computes(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED, str(tmp_path / "agent.aios")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert child.stdout.splitlines() == ["interrupted [('tea at four',)]"] * 5 + ["True"], child.stderr


# Also in a process of its own: the signal is the whole process's, and must not reach what runs the tests.
_RUNG = """
import faulthandler, os, signal, sys, time
import aios_db

faulthandler.enable()
heard = []
signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
with aios_db.connect(sys.argv[1]) as con:
    con.remember([{"text": "tea at four", "text_embedding": [1.0] + [0.0] * 383}])
    pinned = con.store.index.pinned

    def rung():
        os.kill(os.getpid(), signal.SIGINT)
        return pinned()

    con.store.index.pinned = rung
    print(con.execute("SELECT count(*) FROM keyword_search('tea', 1)").fetchall())
    until = time.monotonic() + 60
    while not heard and time.monotonic() < until:  # it comes when the system likes
        time.sleep(0.01)
    print(heard == [signal.SIGINT])
"""


def test_a_handler_of_the_programs_own_stays(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", _RUNG, str(tmp_path / "agent.aios")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (child.returncode, child.stdout.splitlines()) == (0, ["[(1,)]", "True"]), child.stderr


def test_another_thread_can_stop_a_statement(con: aios_db.Connection) -> None:
    timer = threading.Timer(0.3, con.interrupt)
    timer.start()
    with pytest.raises(aios_db.OperationalError, match=r"^the statement was interrupted$"):
        con.execute("SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b").fetchall()
    timer.join()
    assert con.execute("SELECT text FROM memories").fetchall() == [("tea at four",)]


def test_an_interrupt_just_before_duckdb_begins_is_heard(
    con: aios_db.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh = con.store.refresh

    def interrupted() -> object:
        con.interrupt()
        return refresh()

    with monkeypatch.context() as patched:
        patched.setattr(con.store, "refresh", interrupted)
        with pytest.raises(aios_db.OperationalError, match="interrupted"):
            con.execute("SELECT text FROM memories")
    assert con.execute("SELECT text FROM memories").fetchall() == [("tea at four",)]


def test_another_thread_stops_what_python_does(
    con: aios_db.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    class Engine:
        version = "stand-in@000000000000"

        def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            asked.append(len(texts))
            con.interrupt()
            return np.eye(1, con.store.dimension, dtype=np.float32).repeat(len(texts), axis=0)

    with monkeypatch.context() as patched:
        patched.setattr(LazyEncoder, "_load", lambda self: Engine())
        with pytest.raises(aios_db.OperationalError, match=r"the statement was interrupted$"):
            con.execute("SELECT remember('lamp ' || range) FROM range(2000)")
    assert len(asked) == 1
    with FileLock(Path(con.store.path) / "write.lock"):  # as another process that writes
        timer = threading.Timer(0.3, con.interrupt)
        timer.start()
        with pytest.raises(aios_db.OperationalError, match=r"the statement was interrupted$"):
            con.execute("SELECT forget(memory_id) FROM memories")
    assert con.execute("SELECT text FROM memories").fetchall() == [("tea at four",)]


def test_what_lance_makes_of_ctrl_c_in_a_python_callback(
    con: aios_db.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("LanceError(Arrow): External error: KeyboardInterrupt: , /home/runner/work")

    monkeypatch.setattr("aios_db.store.writes.commit", broken)
    with pytest.raises(KeyboardInterrupt):
        con.remember([{"text": "coffee", "text_embedding": [1.0] + [0.0] * 383}])


class Interrupting(pads.Dataset):
    """A dataset in which Ctrl-C comes at one of the places where DuckDB calls it."""

    def __init__(self, inner: pads.Dataset, place: str) -> None:
        self.inner, self.place = inner, place

    def _at(self, place: str) -> None:
        if place == self.place:
            raise KeyboardInterrupt

    @property
    def schema(self) -> pa.Schema:
        return self.inner.schema

    def scanner(self, **options: object) -> pads.Scanner:
        self._at("scanner")
        scanner = self.inner.scanner(**options)

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in scanner.to_batches():
                self._at("batches")
                yield batch

        return pads.Scanner.from_batches(
            batches(), schema=scanner.projected_schema, columns=options["columns"]
        )


@pytest.mark.parametrize("place", ["scanner", "batches"])
def test_while_a_table_is_scanned(
    con: aios_db.Connection, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    reading = "SELECT text FROM memories WHERE text <> 'KeyboardInterrupt: '"

    def interrupted(live: LiveDataset, **options: object) -> pads.Scanner:
        return Interrupting(live._current(), place).scanner(**options)

    with monkeypatch.context() as patched:
        patched.setattr(LiveDataset, "scanner", interrupted)
        with pytest.raises(KeyboardInterrupt):
            con.execute(reading).fetchall()
    assert con.execute(reading).fetchall() == [("tea at four",)]
    with pytest.raises(aios_db.ProgrammingError, match="KeyboardInterrupt"):
        con.execute("SELECT KeyboardInterrupt FROM memories")
