"""`aios sql`: a statement, a script from standard input, or a prompt."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from aios_db.cli.options import DATABASE_VARIABLE, Session, with_database
from aios_db.cli.results import FORMATS, run_statements
from aios_db.cli.running import Runner

if TYPE_CHECKING:
    from aios_db.connection import Connection


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
@click.option("--read-only", is_flag=True, help="Refuse writes of memories and links, and access to files.")
@click.option(
    "--restricted",
    is_flag=True,
    help="For SQL of somebody else: no files; limits of 1 GB, 30 s, 100,000 rows.",
)
@click.option("--source", metavar="NAME", help="What is written comes from there, whatever it says itself.")
@with_database
@click.pass_obj
def sql(
    session: Session, /, statement: str | None, format_: str, as_json: bool, echo: bool, **options: Any
) -> None:
    """Run SQL: STATEMENT, or standard input, or what is typed at a prompt.

    Without a database here, and none named, a temporary one is used.
    """
    format_ = "json" if as_json else format_
    with _open(session, **options) as con:
        if statement is None and sys.stdin.isatty():
            from aios_db.cli.shell import Shell

            Shell(con, session.ending, format_).run()
        else:
            script = sys.stdin.read() if statement is None else statement
            runner = Runner(con.cursor())
            runner.run(lambda: run_statements(runner, script, format_, echo=echo))


def _open(session: Session, *, read_only: bool, restricted: bool, source: str | None) -> Connection:
    import os

    named = session.database or os.environ.get(DATABASE_VARIABLE)
    if named or session.path.exists():
        return session.connect(read_only=read_only, restricted=restricted, source=source)
    import aios_db

    click.echo(f"no database at {session.path}: using a temporary one", err=True)
    return aios_db.connect(":memory:", config=session.config(), restricted=restricted, source=source)
