"""Printing results: tables for people, CSV and JSON for programs."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from itertools import islice
from typing import Any

import click

from aios_db.schema.amounts import amount

TABLE_ROWS = 200
CELL_CHARACTERS = 500
SHORT_CELL = 20
PIPE_WIDTH = 120


def json_text(value: object, *, indent: int | None = 2) -> str:
    """Return a value as JSON: times in ISO 8601, bytes as hexadecimal digits, NaN and infinities as null."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=indent, default=str)


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    click.echo(json_text(value))


def print_fields(fields: Mapping[str, object]) -> None:
    """Print one thing's properties, a line each."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        click.echo(f"{name:<{width}}  {cell(value)}")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as a table, long cells folded; only the first `TABLE_ROWS`, and then a line says so."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    iterator = iter(rows)
    shown = list(islice(iterator, TABLE_ROWS))
    for index, column in enumerate(columns):
        numeric = bool(shown) and all(isinstance(row[index], (int, float)) for row in shown)
        short = all(len(cell(row[index])) <= SHORT_CELL for row in shown)
        table.add_column(column, justify="right" if numeric else "left", no_wrap=short, overflow="fold")
    for row in shown:
        table.add_row(*(Text(cell(value)) for value in row))
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    console = Console(width=width)
    with console.capture() as printed:
        console.print(table)
    for line in printed.get().splitlines():
        click.echo(line.rstrip())
    if (rest := sum(1 for _ in iterator)) > 0:
        click.echo(f"… and {amount(rest, 'more row')}; --format csv or json prints all of them")


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as CSV with a header."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_csv_cell(value) for value in row])


def print_json_rows(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as a JSON array of objects, one a line, without holding them all.

    Of columns with equal names the later get a number.
    """
    from aios_db.sql.fetching import distinct_names

    columns = distinct_names(columns)
    click.echo("[", nl=False)
    separator = "\n"
    for row in rows:
        click.echo(separator + json_text(dict(zip(columns, row, strict=True)), indent=None), nl=False)
        separator = ",\n"
    click.echo("\n]")


def cell(value: object) -> str:
    """Return a value as a table shows it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e6 else f"{value:.6g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}" if value.second == 0 else f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, (dict, list)):
        value = json_text(value, indent=None)
    text = str(value) if not isinstance(value, bytes) else value.hex()
    return text if len(text) <= CELL_CHARACTERS else text[: CELL_CHARACTERS - 1] + "…"


def _csv_cell(value: object) -> object:
    if isinstance(value, (dict, list)):
        return json_text(value, indent=None)
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, datetime) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else value
