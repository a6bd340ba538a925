"""`aios get`, `aios update`, `aios forget` and `aios erase`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import click

from aios_db.cli.options import EXIT_FAILED, Session, with_columns, with_database, with_json
from aios_db.cli.output import print_json

Command = TypeVar("Command", bound=Callable[..., Any])

SELECTORS = (
    ("--user-id", "Memories of this user."),
    ("--agent-id", "Memories of this agent."),
    ("--session-id", "Memories of this session."),
    ("--external-id", "The memory that was given this name."),
    ("--source", "Memories from this source."),
)


def with_selectors(command: Command) -> Command:
    """Add the options that select memories; several values of one are alternatives."""
    command = click.option("--before", help="What happened before this time.")(command)
    for name, text in reversed(SELECTORS):
        command = click.option(name, multiple=True, help=text)(command)
    return command


def given_selectors(selectors: dict[str, Any]) -> dict[str, Any]:
    """Return the selectors that the user gave."""
    return {name: value for name, value in selectors.items() if value not in (None, ())}


@click.command(
    epilog="""\b
Examples:
  aios get 0193a1b2-0000-7000-8000-000000000000
  aios get --external-id profile --user-id ada --json
"""
)
@click.argument("memory_id", required=False)
@click.option("--external-id", help="The name that the memory was given, instead of its id.")
@click.option("--user-id", help="The user that the name belongs to.")
@click.option("--agent-id", help="The agent that the name belongs to.")
@with_json
@with_database
@click.pass_context
def get(context: click.Context, /, memory_id: str | None, as_json: bool, **named: Any) -> None:
    """Print every column of a memory."""
    with context.obj.connect(read_only=True) as con:
        given = {name: value for name, value in named.items() if value is not None}
        found = con.get(memory_id, **given) if memory_id else con.get(**given)
    if found is None:
        click.echo(f"no memory {memory_id or named['external_id']}", err=True)
        context.exit(EXIT_FAILED)
    row = {
        each.name: getattr(found, each.name)
        for each in dataclasses.fields(found)
        if each.name not in ("media", "text_embedding")
    }
    if as_json:
        print_json(row)
        return
    for name, value in row.items():
        if value is not None:
            click.echo(f"{name}: {value}")


@click.command(
    epilog="""\b
Examples:
  aios update 0193a1b2-0000-7000-8000-000000000000 --text "Tea at five"
  aios update 0193a1b2-0000-7000-8000-000000000000 --tier long --importance 0.9
"""
)
@click.argument("memory_id")
@click.option("--text", help="Its new text, which is embedded again.")
@click.option("--title", help="Its new title, which is embedded with the text.")
@with_columns
@click.option("--clear", multiple=True, metavar="COLUMN", help="Empty a column.")
@with_json
@with_database
@click.pass_obj
def update(session: Session, /, memory_id: str, as_json: bool, clear: tuple[str, ...], **fields: Any) -> None:
    """Change columns of a memory, which keeps its id, its links and when it was stored."""
    given = {name: value for name, value in fields.items() if value is not None}
    given |= {name.replace("-", "_"): None for name in clear}
    with session.connect() as con:
        count = con.update(memory_id, **given)
    if as_json:
        print_json({"updated": count})
    else:
        click.echo(f"updated {count}")


@click.command(
    epilog="""\b
Examples:
  aios forget 0193a1b2-0000-7000-8000-000000000000
  aios forget --user-id ada
  aios forget --session-id monday --before 2024-01-01
"""
)
@click.argument("memory_ids", nargs=-1)
@click.option("--yes", is_flag=True, help="Delete more than storage.confirm_forget (1,000) memories, too.")
@with_selectors
@with_json
@with_database
@click.pass_obj
def forget(
    session: Session, /, memory_ids: tuple[str, ...], yes: bool, as_json: bool, **selectors: Any
) -> None:
    """Delete memories and their links: by id, or all for which every option given holds."""
    with session.connect() as con:
        count = con.forget(list(memory_ids) or None, confirm=yes, **given_selectors(selectors))
    if as_json:
        print_json({"forgotten": count})
    else:
        click.echo(f"forgot {count} of {len(memory_ids)}" if memory_ids else f"forgot {count}")


@click.command(
    epilog="""\b
Examples:
  aios erase --user-id ada
  aios erase 0193a1b2-0000-7000-8000-000000000000 --json
"""
)
@click.argument("memory_ids", nargs=-1)
@with_selectors
@with_json
@with_database
@click.pass_context
def erase(context: click.Context, /, memory_ids: tuple[str, ...], as_json: bool, **selectors: Any) -> None:
    """Delete memories so that no file of the database holds them, nor what was deleted before.

    The tables and the search index are written anew and older versions removed. Backups made before keep
    what is erased: make one with --keep 1 after it. The exit status is 1 when a text was found all the same,
    since another memory says it.
    """
    with context.obj.connect() as con:
        report = con.erase(list(memory_ids) or None, **given_selectors(selectors))
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        click.echo(f"erased {report.memories}; {report.bytes_scanned} bytes of files looked through")
        for name in report.found_in:
            click.echo(f"still in {name}, of another memory")
    if report.found_in:
        context.exit(EXIT_FAILED)
