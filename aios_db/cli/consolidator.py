"""`aios consolidator`: run, once, report, undo."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from aios_db.cli.history import print_report
from aios_db.cli.monitoring import serving_metrics, with_metrics_port
from aios_db.cli.options import Session, with_database, with_json
from aios_db.cli.output import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aios_db.schema.consolidations import Report


@click.group(
    epilog="\b\nExamples:\n  aios consolidator report\n  aios consolidator once\n  aios consolidator run\n"
)
def consolidator() -> None:
    """Make principles of short-term memories, by hand or when it is due."""


@consolidator.command(epilog="\b\nExamples:\n  aios consolidator run --db agent.aios\n")
@with_metrics_port
@with_database
@click.pass_obj
def run(session: Session, /, *, metrics_port: int | None) -> None:
    """Consolidate by consolidation.schedule and under storage pressure, until SIGTERM or Ctrl-C.

    There is one for a database. A run that was missed is made up. Cron and systemd call `once`.
    """
    from aios_db.lifecycle.consolidator import run_until_stopped

    with session.connect() as con, serving_metrics(con.store, metrics_port):
        run_until_stopped(con.store)


@consolidator.command(epilog="\b\nExamples:\n  aios consolidator once\n  aios consolidator once --json\n")
@with_json
@with_database
@click.pass_obj
def once(session: Session, /, *, as_json: bool) -> None:
    """Consolidate now, and print what was done."""
    from aios_db.lifecycle.consolidator import Consolidator, be_polite

    be_polite()
    with session.connect() as con:
        _print(Consolidator(con.store).once(), as_json=as_json)


@consolidator.command(epilog="\b\nExamples:\n  aios consolidator report\n")
@with_json
@with_database
@click.pass_obj
def report(session: Session, /, *, as_json: bool) -> None:
    """Print what a consolidation would do, and what own past queries would find after it."""
    with session.connect(read_only=True) as con:
        _print(con.consolidate(dry_run=True), as_json=as_json)


@consolidator.command(epilog="\b\nExamples:\n  aios consolidator undo 0193a1b2-0000-7000-8000-000000000000\n")
@click.argument("consolidation_id")
@click.option("--yes", is_flag=True, help="Delete more than storage.confirm_forget (1,000) principles, too.")
@with_json
@with_database
@click.pass_obj
def undo(session: Session, /, consolidation_id: str, *, yes: bool, as_json: bool) -> None:
    """Take a consolidation back; FROM consolidation_log lists them."""
    with session.connect() as con:
        print_report(con.undo_consolidation(consolidation_id, confirm=yes), as_json=as_json)


def _print(reports: Sequence[Report], *, as_json: bool) -> None:
    if as_json:
        print_json([dataclasses.asdict(each) for each in reports])
    elif not reports:
        click.echo("nothing to consolidate")
    else:
        columns = [
            "consolidation",
            "state",
            "principles",
            "memories",
            "model",
            "queries",
            "before",
            "after",
            "note",
        ]
        print_table(columns, [_row(each) for each in reports])


def _row(report: Report) -> list[object]:
    shares = (report.recall_before, report.recall_after)
    return [
        report.consolidation_id,
        report.state,
        report.clusters,
        report.memories,
        report.model,
        report.queries,
        *("" if share is None else f"{share:.3f}" for share in shares),
        report.note,
    ]
