"""`aios salvage`."""

from __future__ import annotations

import dataclasses

import click

from aios_db.cli.options import EXIT_SET_ASIDE, Session, with_json
from aios_db.cli.output import print_json
from aios_db.schema.amounts import amount


@click.command(
    epilog="""\b
Examples:
  aios salvage agent.aios salvaged
  aios import salvaged --db mended.aios

Exit status: 0 all was read, 3 something is missing, 1 nothing could be read.
"""
)
@click.argument("database", metavar="DB", type=click.Path(exists=True, file_okay=False))
@click.argument("out", type=click.Path())
@with_json
@click.pass_obj
def salvage(session: Session, database: str, out: str, as_json: bool) -> None:
    """Write whatever can be read of the damaged database DB to the directory OUT, and list what cannot.

    DB is not opened and not changed. OUT is an export, which 'aios import' takes into a new database, and
    salvage.json with the list.
    """
    import aios_db

    session.config()  # sets up logging
    report = aios_db.salvage(database, out)
    if as_json:
        print_json({"complete": report.complete, **dataclasses.asdict(report)})
    else:
        salvaged = f"{amount(report.memories, 'memory')} and {amount(report.links, 'link')}"
        click.echo(f"salvaged {salvaged} to {report.path}")
        if report.dangling_links:
            click.echo(f"left out {amount(report.dangling_links, 'link')}: the memory at an end is not there")
        for loss in report.losses:
            click.echo(f"missing: {loss}")
    if not report.complete:
        click.get_current_context().exit(EXIT_SET_ASIDE)
