"""The prompt of `aios sql`, as a person at a terminal has it, and what a script sees."""

from __future__ import annotations

import codecs
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

import aios_db
from aios_db.cli.completion import Completer
from aios_db.cli.results import run_statements
from aios_db.cli.running import Runner
from aios_db.cli.statements import is_blank, split_complete

pytestmark = pytest.mark.sql

PATIENCE_S = 100
ENDLESS = "SELECT count(*) FROM range(100000000000) a WHERE a.range % 7 = 3"


@pytest.mark.parametrize(
    ("text", "complete", "rest"),
    [
        ("SELECT 1;", "SELECT 1;", ""),
        ("SELECT 1", "", "SELECT 1"),
        ("SELECT 1; SELECT 2", "SELECT 1;", " SELECT 2"),
        ("SELECT 1; -- done", "SELECT 1;", ""),
        ("SELECT 1; /* a; b */ ", "SELECT 1;", ""),
        ("SELECT 1; /* a;", "SELECT 1;", " /* a;"),
        ("SELECT ';", "", "SELECT ';"),
        ("SELECT 'it''s;' AS \"a;b\" ;", "SELECT 'it''s;' AS \"a;b\" ;", ""),
        ("SELECT $$a;b", "", "SELECT $$a;b"),
        ("SELECT $x$ ; $$ $x$;", "SELECT $x$ ; $$ $x$;", ""),
        ("SELECT E'\\';' ;", "SELECT E'\\';' ;", ""),
        ("-- only; a comment", "", ""),
        ("SELECT 1 -- not the end;", "", "SELECT 1 -- not the end;"),
        ("SELECT 'ü;é' AS x; SELECT '日", "SELECT 'ü;é' AS x;", " SELECT '日"),
        (";", ";", ""),
        ("   ", "", ""),
        ("SELEC;", "SELEC;", ""),
    ],
)
def test_where_statements_end(text: str, complete: str, rest: str) -> None:
    assert split_complete(text) == (complete, rest)


def test_blank() -> None:
    assert [is_blank(text) for text in ("", " \n", "-- a", "/* a", "'", "x", ";")] == [
        True, True, True, False, False, False, False,
    ]  # fmt: skip


def test_completion() -> None:
    with aios_db.connect(":memory:") as con:
        con.execute("CREATE TABLE invoices (amount_due INT)")
        completer = Completer(con, [".mode", ".tables"])
        assert "memories" in completer.matches("memo")
        assert "invoices" in completer.matches("INV")
        assert completer.matches("m.amount") == ["m.amount_due"]
        assert "keyword_search" in completer.matches("keyw")
        assert "SELECT" in completer.matches("SELE")
        assert "select" in completer.matches("sele")
        assert completer.matches(".mo") == [".mode"]
        assert (completer("invoi", 0), completer("invoi", 1)) == ("invoices", None)


# In a process of its own: a signal that comes late is nothing that a process of tests survives.
_INTERRUPTED_TWICE = f"""
import os, signal, threading
import aios_db
from aios_db.cli.running import Runner
from aios_db.cli.results import run_statements

signal.signal(signal.SIGINT, signal.default_int_handler)
with aios_db.connect(":memory:") as con:
    runner = Runner(con.cursor())
    for _ in range(2):
        threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            runner.run(lambda: run_statements(runner, "{ENDLESS}", "csv"))
        except KeyboardInterrupt:
            runner.run(lambda: run_statements(runner, "SELECT 40 + 2 AS x", "csv"))
"""


def test_an_interrupted_statement_leaves_the_cursor_usable() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED_TWICE], capture_output=True, text=True, timeout=250, check=False
    )
    assert (run.stdout, run.returncode) == ("x\n42\n" * 2, 0), run.stderr


_AT_THIS_TERMINAL = """
import fcntl, os, sys, termios

fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # Ctrl-C comes from a terminal that controls the session
os.execv(sys.executable, [sys.executable, "-m", "aios_db.cli", "sql"])
"""


class Terminal:
    """A prompt in a pseudo-terminal."""

    def __init__(self, directory: str) -> None:
        self.master, terminal = os.openpty()
        self.process = subprocess.Popen(  # never a fork: this process has threads that hold locks
            [sys.executable, "-c", _AT_THIS_TERMINAL],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            cwd=directory,
            env={**os.environ, "XDG_STATE_HOME": directory, "TERM": "dumb", "COLUMNS": "100"},
        )
        os.close(terminal)
        self.printed = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a read may end within a character
        self.expect("aios> ")

    def expect(self, wanted: str, patience_s: float = PATIENCE_S) -> str:
        """Return what is printed up to ``wanted``."""
        until = time.monotonic() + patience_s
        while wanted not in self.printed:
            assert select.select([self.master], [], [], max(0, until - time.monotonic()))[0], (
                f"no {wanted!r} in {patience_s} s, but {self.printed!r}"
            )
            try:
                chunk = os.read(self.master, 65536)
            except OSError:  # the end of a pseudo-terminal on Linux
                chunk = b""
            assert chunk, f"no {wanted!r} in {self.printed!r}"
            self.printed += self._decoder.decode(chunk)
        before, _, self.printed = self.printed.partition(wanted)
        return before

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self.master, text.encode())

    def interrupt(self, wanted: str) -> None:
        """Press Ctrl-C until ``wanted`` is printed: one just before Python waits for a key is not heard."""
        for _ in range(PATIENCE_S // 2):
            self.type("\x03")
            with suppress(AssertionError):
                self.expect(wanted, patience_s=2)
                return
        raise AssertionError(f"no {wanted!r}, but {self.printed!r}")

    def status(self) -> int:
        """Return the exit status, once the process has ended."""
        while True:
            try:
                if not os.read(self.master, 65536):
                    break
            except OSError:
                break
        return self.process.wait()

    def close(self) -> None:
        """End the process, if it has not ended."""
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal(tmp_path) -> Iterator[Terminal]:
    if sys.platform == "win32":
        pytest.skip("pseudo-terminals are POSIX")
    opened = Terminal(str(tmp_path))
    yield opened
    opened.close()


def test_a_session_at_a_terminal(terminal: Terminal) -> None:
    terminal.type("SELECT 40 +\n")
    terminal.expect("…> ")
    terminal.type("2 AS answer; SELECT ';' AS mark; -- done\n")
    terminal.expect("42")
    terminal.expect("mark")
    terminal.expect("aios> ")
    terminal.type("SELEC;\n")
    terminal.expect("error: ")
    terminal.expect("aios> ")
    terminal.type("SELECT typed_in_vain\n")
    terminal.expect("…> ")
    terminal.interrupt("aios> ")  # Ctrl-C drops the statement
    terminal.type(f"SELECT 'be' || 'gun'; {ENDLESS};\n")
    terminal.expect("begun")
    time.sleep(1)
    terminal.interrupt("interrupted")  # and interrupts a running one
    terminal.expect("aios> ")
    terminal.type("FROM memories;\n")
    terminal.expect("memory_id")
    terminal.expect("aios> ")
    terminal.type(".mode json\nSELECT NULL AS n;\n")
    terminal.expect('{"n": null}')
    terminal.type("exit\n")
    assert terminal.status() == 0


def test_the_end_of_input_leaves(terminal: Terminal) -> None:
    terminal.type("\x04")
    assert terminal.status() == 0


def test_bytes_that_are_no_text_end_neither_the_prompt_nor_a_script_in_a_defect(terminal: Terminal) -> None:
    os.write(terminal.master, b"SELECT '\xff';\n")
    terminal.expect("error: what was typed is no text in utf-8")
    terminal.expect("aios> ")
    terminal.type("SELECT 40 + 2 AS x;\n")
    terminal.expect("42")
    with aios_db.connect(":memory:") as con:
        runner = Runner(con.cursor())
        with pytest.raises(aios_db.ProgrammingError, match="half a letter"):
            run_statements(runner, "SELECT '\udcff'", "csv")


@pytest.mark.parametrize(("script", "status"), [("SELECT 1;", 0), ("SELECT 1; SELEC;", 1), ("-- nothing", 0)])
def test_the_exit_status_of_a_script(tmp_path, script: str, status: int) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "aios_db.cli", "sql"],
        input=script, capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert run.returncode == status
    assert "Traceback" not in run.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
@pytest.mark.parametrize(("arguments", "status"), [("sql", 0), ("remember -", 1)])
def test_a_closed_standard_input_is_an_empty_one(tmp_path, arguments: str, status: int) -> None:
    command = f"exec {sys.executable} -m aios_db.cli {arguments}"
    closed, empty = (
        subprocess.run(
            ["/bin/sh", "-c", f"{command} <{end}"], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        for end in ("&-", "/dev/null")
    )
    assert (closed.returncode, closed.stderr) == (empty.returncode, empty.stderr)
    assert closed.returncode == status and "unexpected" not in closed.stderr


def test_an_interrupted_script_says_so(tmp_path) -> None:
    query = f"SELECT 'begun'; {ENDLESS}"
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "aios_db.cli", "sql", query, "--format", "csv"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert process.stdout is not None
    while "begun" not in process.stdout.readline():
        pass
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert not re.search("Traceback", error)
