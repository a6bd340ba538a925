"""`aios history` and `aios undo`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from aios_db.cli.options import Session, with_database, with_json
from aios_db.cli.output import print_json, print_table
from aios_db.schema.amounts import amount

if TYPE_CHECKING:
    from aios_db.schema.changes import ChangeRecord, UndoReport


@click.command(epilog="\b\nExamples:\n  aios history\n  aios history --limit 5 --json\n")
@click.option("--limit", type=click.IntRange(0), default=20, show_default=True, help="How many.")
@with_json
@with_database
@click.pass_obj
def history(session: Session, /, limit: int, *, as_json: bool) -> None:
    """Print what was changed last, by whom and by which call, the newest first.

    No text of a memory is in it. All columns: aios sql "FROM changes".
    """
    with session.connect(read_only=True) as con:
        found = con.history(limit)
    if as_json:
        print_json([dataclasses.asdict(each) for each in found])
    else:
        columns = ["change", "time", "call", "by", "added", "updated", "deleted", "links"]
        print_table(columns, [_row(each) for each in found])


def _row(change: ChangeRecord) -> list[object]:
    scope = [each for each in (change.user_id, change.agent_id) if each is not None]
    call = change.call if change.undoes is None else f"{change.call} {change.undoes}"
    return [
        change.change_id,
        change.changed_at,
        call if change.complete else f"{call} (broken off)",
        f"{change.program}[{change.process_id}] of {'/'.join([change.os_user, *scope])}",
        change.added,
        change.updated,
        change.deleted,
        change.links,
    ]


@click.command(epilog="\b\nExamples:\n  aios undo 12 --dry-run\n  aios undo 12\n")
@click.argument("change", type=int)
@click.option("--dry-run", is_flag=True, help="Write nothing; print what would be written.")
@click.option("--yes", is_flag=True, help="Delete more than storage.confirm_forget (1,000) memories, too.")
@with_json
@with_database
@click.pass_obj
def undo(session: Session, /, change: int, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Bring what the change with this number (aios history) wrote back to what it was before.

    Nothing is written where a later change touched the same memories. An undo is a change, and can be undone.
    """
    with session.connect(read_only=dry_run) as con:
        report = con.undo(change, dry_run=dry_run, confirm=yes)
    print_report(report, as_json=as_json, dry_run=dry_run)


def print_report(report: UndoReport, *, as_json: bool, dry_run: bool = False) -> None:
    """Print what was taken back."""
    if as_json:
        print_json(dataclasses.asdict(report))
        return
    change = "nothing to write" if report.change_id is None else f"change {report.change_id}"
    done = f"{amount(report.added, 'memory')} back, {report.updated} as before, {report.deleted} gone"
    click.echo(f"{'dry run' if dry_run else change}: {done}; {amount(report.links, 'link')}")
