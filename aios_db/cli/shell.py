"""The prompt of `aios sql`: statements end with a semicolon, history is kept between sessions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aios_db.cli.sql import FORMATS, run_statements
from aios_db.schema.errors import Error

if TYPE_CHECKING:
    from aios_db.connection import Connection

HISTORY_LINES = 10_000
HELP = """\
Statements end with a semicolon; the arrow keys bring earlier ones back.
.tables          the tables and views
.functions       the functions aios_db adds
.format NAME     print rows as table, csv or json
.quit            leave, as does Ctrl-D"""
TABLES = "SELECT table_name, table_type FROM information_schema.tables ORDER BY ALL"
FUNCTIONS = """
    SELECT function_name, array_to_string(parameters, ', ') AS parameters FROM duckdb_functions()
    WHERE NOT internal AND function_name NOT LIKE 'aios%' ORDER BY ALL"""


class Shell:
    """A read-eval-print loop on one connection."""

    def __init__(self, con: Connection, format_: str = "table") -> None:
        self.con = con
        self.format = format_

    def run(self) -> None:
        """Read until the end of input."""
        history = _open_history()
        click.echo(f"aios_db at {self.con.store.path}. Statements end with ';', .help helps.")
        pending = ""
        while True:
            try:
                line = input("…> " if pending else "aios> ")
            except EOFError:
                click.echo()
                break
            except KeyboardInterrupt:
                click.echo()
                pending = ""
                continue
            if not pending and line.strip().startswith("."):
                if not self.command(line.strip()):
                    break
                continue
            pending = f"{pending}\n{line}" if pending else line
            if pending.rstrip().endswith(";"):
                self.execute(pending)
                pending = ""
            elif not pending.strip():
                pending = ""
        _save_history(history)

    def execute(self, statement: str) -> None:
        """Run a statement; an error is shown and the prompt goes on."""
        try:
            run_statements(self.con, statement, self.format)
        except Error as error:
            click.echo(f"error: {error}", err=True)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)

    def command(self, line: str) -> bool:
        """Run a command that begins with a dot; False when it ends the session."""
        name, _, argument = line.partition(" ")
        if name in {".quit", ".exit"}:
            return False
        if name == ".tables":
            self.execute(TABLES)
        elif name == ".functions":
            self.execute(FUNCTIONS)
        elif name == ".format" and argument.strip() in FORMATS:
            self.format = argument.strip()
        else:
            click.echo(HELP)
        return True


def _open_history() -> Path:
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    path = state / "aios_db" / "history"
    try:
        import readline
    except ImportError:  # no line editing on this platform
        return path
    if path.is_file():
        readline.read_history_file(path)
    readline.set_history_length(HISTORY_LINES)
    return path


def _save_history(path: Path) -> None:
    try:
        import readline

        path.parent.mkdir(parents=True, exist_ok=True)
        readline.write_history_file(path)
    except (ImportError, OSError) as error:
        click.echo(f"the history was not saved: {error}", err=True)
