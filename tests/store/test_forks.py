"""Forks with open databases: children neither hang nor die, and nothing of the parent's is touched."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

PRELUDE = """
import os, signal, sys, threading
import aios_db
from aios_db.config import Config
from aios_db.schema.errors import InterfaceError

signal.alarm(300)
path = sys.argv[1]
vector = [1.0] + [0.0] * 383

def fork(child):
    pid = os.fork()
    if pid == 0:
        signal.alarm(120)
        child()
        sys.exit(0)  # the whole way out: atexit, destructors
    return pid

def statuses(pids):
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]

def refused(act, words):
    try:
        act()
    except InterfaceError as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"not refused: {act}")
"""


def run(script: str, path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-u", "-W", "ignore", "-c", PRELUDE + textwrap.dedent(script), str(path)],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_twenty_children_of_an_open_connection(tmp_path: Path) -> None:
    """Each uses, closes or leaves what it inherited; the parent goes on writing meanwhile."""
    out = run(
        """
        con = aios_db.connect(path, config=Config())
        con.remember([{"text": f"memory {i}", "text_embedding": vector} for i in range(50)])
        cursor = con.cursor().execute("SELECT text FROM memories")
        relation = con.sql("SELECT text FROM memories")
        other = aios_db.connect(":memory:", config=Config())

        in_thread = threading.local()
        ready, done = threading.Event(), threading.Event()
        def hold():
            in_thread.cursor = con.cursor()
            con.execute("SELECT 1")
            ready.set(); done.wait()
        thread = threading.Thread(target=hold); thread.start(); ready.wait()

        def use():
            word = "before this process was forked"
            for act in (
                lambda: con.execute("SELECT 1"), lambda: con.remember("x"), lambda: con.recall("x"),
                lambda: con.get("x"), lambda: con.forget(["x"]), con.cursor, con.begin, con.commit,
                con.__enter__, con.fetchone, lambda: con.sql("SELECT 1"), cursor.fetchone, cursor.fetchall,
                lambda: cursor.execute("SELECT 1"), lambda: list(cursor), con.store.refresh,
                lambda: con.store.optimize(), lambda: other.execute("SELECT 1"),
            ):
                refused(act, word)
        def close():
            cursor.close(); con.close(); con.close(); other.close()
            refused(lambda: con.execute("SELECT 1"), "forked")
        def drop():
            global con, cursor, relation, other
            del con, cursor, relation, other
            import gc; gc.collect()
        pids = [fork((use, close, drop, lambda: None)[n % 4]) for n in range(20)]
        for n in range(20):
            con.remember(f"meanwhile {n}", text_embedding=vector)
        print(statuses(pids) == [0] * 20)
        done.set(); thread.join()
        print(con.execute("SELECT count(*) FROM memories").fetchone()[0], len(cursor.fetchall()))
        print(os.path.isdir(other.store.path), other.execute("SELECT count(*) FROM memories").fetchone())
        con.close()
        """,
        tmp_path / "a.aios",
    )
    assert out.split("\n")[:-1] == ["True", "70 50", "True (0,)"]


def test_a_child_is_told_to_use_spawn(tmp_path: Path) -> None:
    """Lance's threads are one set for a process: whoever had a database open cannot pass them on."""
    out = run(
        """
        import duckdb
        con = aios_db.connect(path, config=Config())
        own = duckdb.connect()
        aios_db.attach(own, path, config=Config())
        con.close()
        def connect():
            for act in (
                lambda: aios_db.connect(path), lambda: aios_db.connect(":memory:"),
                lambda: aios_db.attach(duckdb.connect(), path), lambda: aios_db.detach(own),
            ):
                refused(act, "'spawn' or 'forkserver'")
        print(statuses([fork(connect) for _ in range(3)]))
        print(own.execute("SELECT count(*) FROM memories").fetchone())
        """,
        tmp_path / "a.aios",
    )
    assert out == "[0, 0, 0]\n(0,)\n"


def test_children_forked_before_anything_is_opened_work(tmp_path: Path) -> None:
    """As a server does that loads the application, forks its workers, and opens the database in each."""
    out = run(
        """
        from aios_db.connection import Connection  # the application is loaded, Lance and DuckDB with it
        def serve():
            with aios_db.connect(path, config=Config()) as con:
                con.remember(f"from {os.getpid()}", text_embedding=vector)
                assert con.execute("SELECT count(*) FROM memories").fetchone()[0] >= 1
        print(statuses([fork(serve) for _ in range(4)]))
        with aios_db.connect(path, config=Config()) as con:
            print(con.execute("SELECT count(*) FROM memories").fetchone()[0])
        """,
        tmp_path / "a.aios",
    )
    assert out == "[0, 0, 0, 0]\n4\n"


@pytest.mark.parametrize("holder", ["store.lock.hold()", "store.recalls._log.writing()"])
def test_a_child_neither_releases_nor_keeps_a_lock_of_its_parent(tmp_path: Path, holder: str) -> None:
    out = run(
        f"""
        import subprocess, time
        con = aios_db.connect(path, config=Config())
        con.remember("first", text_embedding=vector)
        lock = con.{holder.replace(".hold()", "._file").replace(".writing()", "._lock")}.lock_file
        held = [sys.executable, "-c", "import sys; from filelock import FileLock, Timeout\\n"
                "try: FileLock(sys.argv[1]).acquire(blocking=False); print('free')\\n"
                "except Timeout: print('held')", lock]
        look = lambda: subprocess.run(held, capture_output=True, text=True).stdout.strip()
        leave, stay = os.pipe()
        with con.{holder}:
            pids = [fork(con.close), fork(lambda: None)]
            print(statuses(pids), look())
            waiting = fork(lambda: os.read(leave, 1))
        print(look())
        os.write(stay, b"x")
        print(statuses([waiting]))
        con.remember("second", text_embedding=vector)
        con.close()
        """,
        tmp_path / "a.aios",
    )
    assert out == "[0, 0] held\nfree\n[0]\n"


@pytest.mark.parametrize(("method", "said"), [("fork", "refused"), ("spawn", "1 then 2")])
def test_pools_of_processes(tmp_path: Path, method: str, said: str) -> None:
    """`multiprocessing` and `concurrent.futures`: a new connection works in a spawned worker."""
    module = tmp_path / "workers.py"
    module.write_text(
        textwrap.dedent(
            """
            import sys, multiprocessing
            from concurrent.futures import ProcessPoolExecutor
            import aios_db
            from aios_db.config import Config
            vector = [1.0] + [0.0] * 383

            def work(path):
                try:
                    with aios_db.connect(path, config=Config()) as con:
                        before = con.execute("SELECT count(*) FROM memories").fetchone()[0]
                        con.remember("from a worker", text_embedding=vector)
                        return f"{before} then {con.execute('SELECT count(*) FROM memories').fetchone()[0]}"
                except aios_db.InterfaceError:
                    return "refused"

            if __name__ == "__main__":
                con = aios_db.connect(sys.argv[1], config=Config())
                con.remember("from the parent", text_embedding=vector)
                context = multiprocessing.get_context(sys.argv[2])
                with ProcessPoolExecutor(1, mp_context=context) as pool:
                    print(pool.submit(work, sys.argv[1]).result(timeout=300))
                process = context.Process(target=work, args=(sys.argv[1],))
                process.start(); process.join(300)
                print(process.exitcode)
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(module), str(tmp_path / "a.aios"), method],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"{said}\n0\n"), done.stderr
