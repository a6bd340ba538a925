"""`aios sql`: a statement, a script from standard input, or a prompt."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from aios_db.cli.options import DATABASE_VARIABLE, Session, with_database
from aios_db.cli.output import print_csv, print_json_rows, print_table

if TYPE_CHECKING:
    from aios_db.connection import Connection
    from aios_db.cursor import Cursor, Row

FORMATS = {"table": print_table, "csv": print_csv, "json": print_json_rows}
FETCH = 1000


@click.command(
    epilog="""\b
Examples:
  aios sql "SELECT text, score FROM recall('the spare key', k := 3)"
  aios sql "SELECT speaker, count(*) FROM memories GROUP BY ALL" --format csv
  aios sql < report.sql
  aios sql
"""
)
@click.argument("statement", required=False)
@click.option(
    "--format", "format_", type=click.Choice(list(FORMATS)), default="table", help="How rows are printed."
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--echo", is_flag=True, help="Print each statement before its result.")
@click.option("--read-only", is_flag=True, help="Refuse writes of memories and links.")
@with_database
@click.pass_obj
def sql(session: Session, /, statement: str | None, format_: str, as_json: bool, **options: bool) -> None:
    """Run SQL: STATEMENT, or standard input, or what is typed at a prompt.

    Without a database here, and none named, a temporary one is used.
    """
    format_ = "json" if as_json else format_
    with _open(session, options["read_only"]) as con:
        if statement is None and sys.stdin.isatty():
            from aios_db.cli.shell import Shell

            Shell(con, format_).run()
        else:
            script = sys.stdin.read() if statement is None else statement
            run_statements(con, script, format_, echo=options["echo"])


def run_statements(con: Connection, script: str, format_: str, *, echo: bool = False) -> None:
    """Run every statement of a script and print each result that has rows to show."""
    import duckdb

    from aios_db.duckdb_errors import translated

    with translated(con.errors):
        statements = [statement.query for statement in duckdb.extract_statements(script)]
    for statement in statements:
        if echo:
            click.echo(f"\n{statement.strip()}\n")
        print_result(con.execute(statement), format_)


def print_result(cursor: Cursor, format_: str) -> None:
    """Print the rows of a cursor, when its statement had any."""
    if cursor.description:
        FORMATS[format_]([column[0] for column in cursor.description], _rows(cursor))


def _open(session: Session, read_only: bool) -> Connection:
    import os

    named = session.database or os.environ.get(DATABASE_VARIABLE)
    if named or session.path.exists():
        return session.connect(read_only=read_only)
    import aios_db

    click.echo(f"no database at {session.path}: using a temporary one", err=True)
    return aios_db.connect(":memory:", config=session.config())


def _rows(cursor: Cursor) -> Iterator[Row]:
    while rows := cursor.fetchmany(FETCH):
        yield from rows
