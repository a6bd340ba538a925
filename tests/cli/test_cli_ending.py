"""SIGTERM and SIGHUP in a command: what it was making goes, and the exit status names the signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import aios_db
from aios_db.cli.ending import Ending
from aios_db.cli.shell import Shell

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
_ENDED = """
import os
import signal
import sys
import aios_db.exports.writing
from aios_db.cli import main

def end(*_):
    os.kill(os.getpid(), int(sys.argv[1]))

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored under nohup
aios_db.exports.writing.force_tree = end
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    with aios_db.connect(tmp_path / "agent.aios") as con:
        con.remember([{"text": "The key is blue.", "text_embedding": [1.0] * 384}])
    return tmp_path / "agent.aios"


def _ended(folder: Path, number: signal.Signals, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _ENDED, str(int(number)), *(str(each) for each in arguments)],
        cwd=folder, check=False, capture_output=True, text=True, timeout=200,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_export_that_a_signal_ends_leaves_nothing(database: Path, number: signal.Signals) -> None:
    folder = database.parent
    ended = _ended(folder, number, "--db", database, "export", folder / "all.jsonl")
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (128 + number, f"ended by {number.name}")
    assert os.listdir(folder) == ["agent.aios"]


def test_at_the_prompt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ending = Ending()
    lines = iter(["SELECT 1;"])

    def typed(prompt: str) -> str:
        line = next(lines, None)
        if line is None:  # a second signal would end this process
            raise EOFError
        os.kill(os.getpid(), signal.SIGTERM)
        return line

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("builtins.input", typed)
    with _ctrl_c_as_python_has_it(), ending.heard(), aios_db.connect(":memory:") as con:
        Shell(con, ending).run()
    assert ending.by is signal.SIGTERM


def test_a_signal_that_is_ignored_stays_so() -> None:
    ending = Ending()
    was = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with _ctrl_c_as_python_has_it(), ending.heard():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, was)
    assert ending.by is None


@contextmanager
def _ctrl_c_as_python_has_it() -> Iterator[None]:
    was = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, was)
