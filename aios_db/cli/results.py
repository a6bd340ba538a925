"""Statements run and their results printed, for a script and for the prompt alike."""

from __future__ import annotations

import click

from aios_db.cli.output import print_csv, print_json_rows
from aios_db.cli.running import Runner
from aios_db.cli.tables import print_lines, print_markdown, print_table
from aios_db.schema.amounts import amount

FORMATS = {
    "table": print_table,
    "line": print_lines,
    "csv": print_csv,
    "json": print_json_rows,
    "markdown": print_markdown,
}


def run_statements(runner: Runner, script: str, format_: str, *, echo: bool = False) -> None:
    """Run every statement of a script and print each result that has rows to show."""
    import duckdb

    from aios_db.sql.duckdb_errors import translated
    from aios_db.sql.plans import check_text

    cursor = runner.cursor
    check_text(script)
    with translated(cursor.connection.session.errors):
        statements = [statement.query for statement in duckdb.extract_statements(script)]
    for statement in statements:
        if echo:
            click.echo(f"\n{statement.strip()}\n")
        cursor.execute(statement)
        print_result(runner, format_)


def print_result(runner: Runner, format_: str) -> None:
    """Print the rows of the cursor's result, or how many rows its statement changed.

    The number goes where it is no part of what a program reads.
    """
    cursor = runner.cursor
    if cursor.rowcount >= 0:
        click.echo(f"{amount(cursor.rowcount, 'row')}", err=format_ not in {"table", "line"})
    elif cursor.description:
        FORMATS[format_]([column[0] for column in cursor.description], runner.rows())
