"""`aios export`."""

from __future__ import annotations

import dataclasses

import click

from aios_db.cli.options import Session, with_database, with_json
from aios_db.cli.output import print_json
from aios_db.schema.amounts import amount


@click.command(
    epilog="""\b
Examples:
  aios export memories.jsonl
  aios export exported --no-embeddings
  aios import exported --db other.aios
"""
)
@click.argument("path", type=click.Path())
@click.option("--no-embeddings", is_flag=True, help="Leave the vectors out; an import makes them anew.")
@with_json
@with_database
@click.pass_obj
def export(session: Session, path: str, no_embeddings: bool, as_json: bool) -> None:
    """Write all memories and links to PATH: a .jsonl file, or else a directory of Parquet files.

    Ids, times, links, tiers, metadata, media and counts are kept; 'aios import PATH' takes them in again.
    """
    with session.connect(read_only=True) as con:
        report = con.export(path, embeddings=not no_embeddings)
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        exported = f"{amount(report.memories, 'memory')} and {amount(report.links, 'link')}"
        click.echo(f"exported {exported} to {report.path}: {report.bytes} bytes")
