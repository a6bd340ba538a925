"""`aios remember`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from aios_db.cli.options import Session, with_columns, with_database, with_json
from aios_db.cli.output import print_json


@click.command(
    epilog="""\b
Examples:
  aios remember "Ada keeps the spare key under the blue pot." --speaker Ada
  aios remember --session-id monday --title Minutes - < minutes.txt
  aios remember "The boat at the pier" --image boat.jpg
  aios remember "Tea at four" --metadata '{"place": "kitchen"}'
"""
)
@click.argument("text", required=False)
@click.option("--image", type=click.Path(exists=True, dir_okay=False), help="A picture, stored with TEXT.")
@click.option("--audio", type=click.Path(exists=True, dir_okay=False), help="A sound, stored with TEXT.")
@click.option("--title", help="A title, embedded and searched with the text.")
@with_columns
@click.option("--fold", is_flag=True, help="Count a text that was said before, and keep its times.")
@with_json
@with_database
@click.pass_obj
def remember(session: Session, /, text: str | None, as_json: bool, fold: bool, **fields: Any) -> None:
    """Store TEXT and print its memory_id; '-' reads it from standard input, up to the last line feed.

    The same text in the same scope (user, agent) is one memory, which is brought up to date; but a message of
    a session, or of another time, is another one.
    """
    content = sys.stdin.read().removesuffix("\n") if text == "-" else text
    given = {name: value for name, value in fields.items() if value is not None}
    for name in given.keys() & {"image", "audio"}:
        given[name] = Path(given[name]).read_bytes()
    if content is None and not given.keys() & {"image", "audio", "title"}:
        raise click.UsageError("Missing argument 'TEXT', or --image, or --audio.")
    if not session.path.exists():
        _refuse_no_memory(session, content, given)
    with session.connect(create=True) as con:
        memory_id = con.remember(content, fold=fold, **given)
    if as_json:
        print_json({"memory_id": memory_id})
    else:
        click.echo(memory_id)


def _refuse_no_memory(session: Session, content: str | None, fields: dict[str, Any]) -> None:
    """Raise what `remember` would of its arguments, by which no database is made."""
    from aios_db.given_rows import rows_of
    from aios_db.store.rows import check_lengths, normalise

    storage = session.config().storage
    rows = normalise(rows_of(content, fields), storage.dimension)
    check_lengths(dict(zip(rows.column_names, rows.columns, strict=True)), storage.max_text_bytes)
