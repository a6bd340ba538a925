from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

import pytest

import aios_db
from aios_db.cli.ending import Ending
from aios_db.cli.output import cell, json_text
from aios_db.cli.shell import Shell


def test_without_a_database_here(aios, tmp_path):
    result = aios("sql", "SELECT 41 + 1 AS x", "--json")
    assert result.json == [{"x": 42}]
    assert "using a temporary one" in result.err
    assert list(tmp_path.iterdir()) == []


def test_json_keeps_columns_of_equal_names(aios):
    assert aios("sql", "SELECT 1 AS a, 2 AS a, 3 AS b", "--json").json == [{"a": 1, "a_1": 2, "b": 3}]


def test_formats(aios):
    query = "SELECT 1 AS a, 'x,y' AS b, [1, 2] AS c, NULL AS d UNION ALL SELECT 2, 'é', [], 0.5"
    assert aios("sql", query, "--format", "csv").out == 'a,b,c,d\n1,"x,y","[1, 2]",\n2,é,[],0.5\n'
    assert aios("sql", query, "--json").json[1] == {"a": 2, "b": "é", "c": [], "d": "0.5"}
    table = aios("sql", query).out.splitlines()
    assert table[0].split() == ["a", "b", "c", "d"]
    assert table[2].split() == ["1", "x,y", "[1,", "2]", "NULL"]


def test_large_table_says_what_it_leaves_out(aios, monkeypatch):
    assert len(aios("sql", "SELECT range FROM range(1, 2501)").out.splitlines()) == 2502  # into a pipe all
    monkeypatch.setenv("COLUMNS", "80")
    out = aios("sql", "SELECT range FROM range(1, 2501)").out
    assert "… and 2300 more rows; csv and json print all of them" in out
    assert len(aios("sql", "SELECT range FROM range(2500)", "--json").json) == 2500


def test_echo(aios):
    out = aios("sql", "SELECT 1 AS a;  SELECT 2 AS b", "--echo", "--format", "csv").out
    assert out == "\nSELECT 1 AS a;\n\na\n1\n\nSELECT 2 AS b\n\nb\n2\n"


def test_long_cells_fold(aios, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    lines = aios("sql", "SELECT repeat('word ', 40) AS t, 7 AS n").out.splitlines()
    assert max(map(len, lines)) <= 60
    assert sum(line.count("word") for line in lines) == 40


def test_script_from_standard_input(aios, monkeypatch):
    script = "CREATE TABLE t (x INT); INSERT INTO t VALUES (1), (2);\n-- a; b\nFROM t; SELECT 'a;b' AS s"
    monkeypatch.setattr(sys, "stdin", io.StringIO(script))
    assert aios("sql", "--format", "csv").out.splitlines()[-5:] == ["x", "1", "2", "s", "a;b"]


@pytest.mark.parametrize(
    "query", ["SELEC 1", "SELECT 1; SELEC", "SELECT * FROM none", "SELECT 1/0::INT % 0 FROM x"]
)
def test_errors_are_one_line(aios, query):
    result = aios("sql", query)
    assert (result.status, result.err.count("error: ")) == (1, 1)
    assert "Traceback" not in result.err


def test_read_only(aios):
    aios("init")
    result = aios("sql", "SELECT remember('x')", "--read-only")
    assert result.status == 1
    assert "read_only" in result.err or "read-only" in result.err


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    """Return a function that feeds lines to the prompt and gives what was printed."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def shell(*lines):
        feed = iter(lines)

        def answer(prompt):
            line = next(feed, None)
            if line is None:
                raise EOFError
            if isinstance(line, type):
                raise line
            return line

        monkeypatch.setattr("builtins.input", answer)
        with aios_db.connect(":memory:") as con:
            Shell(con, Ending(), "csv").run()
        return capsys.readouterr()

    return shell


def test_shell_statements_over_lines_and_errors(shell):
    printed = shell(
        "", "SELECT 1", " + 1 AS two;", "SELEC;", "SELECT 3 AS three;", ".quit", "SELECT 4 AS four;"
    )
    assert "two\n2\n" in printed.out
    assert "three\n3\n" in printed.out
    assert "four" not in printed.out
    assert printed.err.startswith("error: ")


def test_shell_commands(shell):
    out = shell(".tables", ".functions", ".mode json", "SELECT 1 AS x;", ".mode xml", ".help").out
    assert "memories,VIEW" in out
    assert '{"x": 1}' in out
    assert "rows are printed as json; there are table, line, csv, json, markdown" in out
    assert out.count("Statements end with a semicolon") == 1
    assert "remember" in out


def test_shell_interrupt_drops_the_statement(shell):
    assert "2\n" in shell("SELECT", KeyboardInterrupt, "SELECT 2 AS x;").out


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
def test_prompt_at_a_terminal_keeps_history(tmp_path):
    master, slave = pty.openpty()
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "TERM": "dumb"}
    process = subprocess.Popen(
        [sys.executable, "-m", "aios_db.cli", "sql", "--json"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
    )
    os.close(slave)
    os.write(master, b"SELECT 40 + 2 AS answer;\n.quit\n")
    printed = b""
    try:
        while chunk := os.read(master, 4096):
            printed += chunk
    except OSError:
        pass  # the end of a pseudo-terminal on Linux
    assert process.wait(60) == 0
    assert b'{"answer": 42}' in printed
    assert "SELECT 40 + 2" in (tmp_path / "aios_db" / "history").read_text()


def test_cold_start_imports_only_what_it_needs():
    script = """
import sys
from aios_db.cli import main
assert main(["--help"]) == 0
loaded = {"torch", "duckdb", "pyarrow", "lance", "rich", "numpy"} & set(sys.modules)
assert not loaded, loaded
assert main(["sql", "SELECT 1"]) == 0
loaded = {"torch", "lancedb", "transformers", "openvino", "tokenizers"} & set(sys.modules)
assert not loaded, loaded
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_closed_pipe_is_no_error():
    command = f"{sys.executable} -m aios_db.cli sql 'SELECT range FROM range(300000)' --format csv | head -1"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert run.stdout == "range\n"
    assert "Traceback" not in run.stderr


def test_cells():
    assert [cell(value) for value in (None, True, 1.23456, 2e9, b"\x01", [1], "x" * 600)][:6] == [
        "", "true", "1.235", "2e+09", "01", "[1]",
    ]  # fmt: skip
    assert len(cell("x" * 600)) == 500
    assert (
        json_text({"a": float("nan"), "b": b"\x02", 3: (1,)}, indent=None)
        == '{"a": null, "b": "02", "3": [1]}'
    )


def test_changes_print_their_row_count(aios):
    script = """
        INSERT INTO memories (text) VALUES ('a'), ('b'), ('c');
        UPDATE memories SET tier = 'long' WHERE text = 'a';
        DELETE FROM memories WHERE false;
        CREATE TABLE t (n INTEGER)
    """
    assert aios("sql", script).out == "3 rows\n1 row\n0 rows\n"
    as_json = aios("sql", script, "--json")
    assert (as_json.out, as_json.err.endswith("3 rows\n1 row\n0 rows\n")) == ("", True)


def test_restricted_sql_reaches_no_files(aios, tmp_path):
    (tmp_path / "secret.txt").write_text("canary-4f1c")
    aios("init")
    failed = aios("sql", "--restricted", f"FROM read_text('{tmp_path}/secret.txt')")
    assert failed.status == 1
    assert "disabled by configuration" in failed.err
    assert "canary-4f1c" not in failed.out + failed.err
    assert aios("sql", "--restricted", "SELECT count(*) AS n FROM memories", "--json").json == [{"n": 0}]
    assert aios("sql", "--restricted", "FROM range(100001)").status == 1


def test_sql_of_one_source_writes_nothing_as_another(aios):
    aios("init")
    written = aios(
        "sql", "--source", "web:page", "INSERT INTO memories (text, source) VALUES ('Tea.', 'user')"
    )
    assert written.status == 0
    assert aios("sql", "SELECT source FROM memories", "--json").json == [{"source": "web:page"}]
