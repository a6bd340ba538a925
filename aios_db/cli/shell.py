"""The prompt of `aios sql`: statements end with a semicolon, history is kept between sessions."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aios_db.cli.completion import DELIMITERS, Completer
from aios_db.cli.results import FORMATS, print_result, run_statements
from aios_db.cli.running import Runner
from aios_db.cli.statements import is_blank, split_complete
from aios_db.schema.errors import Error
from aios_db.security.permissions import FILE_MODE

if TYPE_CHECKING:
    from aios_db.cli.ending import Ending
    from aios_db.connection import Connection

HISTORY_LINES = 10_000
HELP = f"""\
Statements end with a semicolon; the arrow keys bring earlier ones back, Tab completes names.
.tables [PATTERN]  the tables and views, those whose name is like PATTERN
.schema [NAME]     the columns of all tables and views, or of one
.functions         the functions aios_db adds
.mode NAME         print rows as {", ".join(FORMATS)}
.help              this
.quit              leave, as do .exit, quit, exit and Ctrl-D
Ctrl-C interrupts a running statement, and drops one that is being typed."""
TABLES = """
    SELECT table_name, table_type FROM information_schema.tables
    WHERE table_name LIKE coalesce($1, '%') ORDER BY ALL"""
SCHEMA = """
    SELECT table_name, column_name, data_type FROM information_schema.columns
    WHERE table_name = coalesce($1, table_name) ORDER BY table_name, ordinal_position"""
FUNCTIONS = "SELECT name, arguments, description FROM memory_functions()"
QUIT = frozenset({"quit", "exit", "quit;", "exit;", ".quit", ".exit", ".q"})
COMMANDS = [".exit", ".functions", ".help", ".mode", ".quit", ".schema", ".tables"]


class Shell:
    """A read-eval-print loop on one connection."""

    def __init__(self, con: Connection, ending: Ending, format_: str = "table") -> None:
        self.con, self._ending = con, ending
        self.runner = Runner(con.cursor())
        self.format = format_
        self._pending = ""  # the beginning of a statement that has not ended

    def run(self) -> None:
        """Read until the end of input, or a signal that ends the process."""
        history = _open_history(Completer(self.con, COMMANDS))
        click.echo(f"aios_db at {self.con.store.path}. Statements end with ';', .help helps.")
        while self._ending.by is None:
            try:
                if not self._step():
                    break
            except KeyboardInterrupt:
                click.echo()
                self._pending = ""
        _save_history(history)

    def _step(self) -> bool:
        """Read a line and do what it says; False where the prompt is left."""
        try:
            line = input("…> " if self._pending else "aios> ")
            line.encode()  # readline makes half letters of bytes that are none
        except EOFError:
            click.echo()
            if not is_blank(self._pending):
                click.echo("the last statement does not end with ';': it was not run", err=True)
            return False
        except UnicodeError as error:
            encoding = getattr(error, "encoding", "its encoding")
            click.echo(f"error: what was typed is no text in {encoding}", err=True)
            return True
        typed = line.strip()
        if not self._pending and typed.lower() in QUIT:
            return False
        if not self._pending and typed.startswith("."):
            self.command(typed)
            return True
        complete, self._pending = split_complete(f"{self._pending}\n{line}" if self._pending else line)
        if complete:
            self.execute(complete)
        return True

    def execute(self, statements: str) -> None:
        """Run statements; an error ends the line, is shown, and the prompt goes on."""
        self._guarded(lambda: run_statements(self.runner, statements, self.format))

    def command(self, line: str) -> None:
        """Run a command that begins with a dot."""
        name, _, argument = line.rstrip(";").partition(" ")
        argument = argument.strip()
        if name == ".tables":
            self._query(TABLES, argument or None)
        elif name == ".schema":
            self._query(SCHEMA, argument or None)
        elif name == ".functions":
            self._query(FUNCTIONS)
        elif name in {".mode", ".format"} and argument in FORMATS:
            self.format = argument
        elif name in {".mode", ".format"}:
            click.echo(f"rows are printed as {self.format}; there are {', '.join(FORMATS)}")
        elif name == ".help":
            click.echo(HELP)
        else:
            click.echo(f"error: there is no command {name}; .help lists them", err=True)

    def _query(self, query: str, *parameters: object) -> None:
        def ask() -> None:
            self.runner.cursor.execute(query, list(parameters))
            print_result(self.runner, self.format)

        self._guarded(ask)

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            self.runner.run(act)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
        except Error as error:
            click.echo(f"error: {error}", err=True)


def _open_history(completer: Completer) -> Path:
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    path = state / "aios_db" / "history"
    try:
        import readline
    except ImportError:  # no line editing on this platform
        return path
    try:
        if path.is_file():
            readline.read_history_file(path)
    except OSError as error:
        click.echo(f"the history was not read: {error}", err=True)
    readline.set_history_length(HISTORY_LINES)
    readline.set_completer(completer)
    readline.set_completer_delims(DELIMITERS)
    readline.parse_and_bind(
        "bind ^I rl_complete" if "libedit" in (readline.__doc__ or "") else "tab: complete"
    )
    return path


def _save_history(path: Path) -> None:
    try:
        import readline

        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(FILE_MODE)
        readline.write_history_file(path)
    except (ImportError, OSError) as error:
        click.echo(f"the history was not saved: {error}", err=True)
