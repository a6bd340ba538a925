"""`aios evict` and `aios compress`."""

from __future__ import annotations

import dataclasses

import click

from aios_db.cli.options import Session, with_database, with_json
from aios_db.cli.output import print_fields, print_json, print_table


@click.command(epilog="\b\nExamples:\n  aios evict --dry-run\n  aios evict --json\n")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@with_json
@with_database
@click.pass_obj
def evict(session: Session, /, *, dry_run: bool, as_json: bool) -> None:
    """Forget what has expired and what is too much, by the configuration's section eviction, and say why."""
    with session.connect(read_only=dry_run) as con:
        done = con.evict(dry_run=dry_run)
    rows = [dataclasses.asdict(each) for each in done]
    if as_json:
        print_json(rows)
    elif rows:
        names = ("action", "memory_id", "tier", "reason")
        print_table(list(names), [[row[name] for name in names] for row in rows])
    else:
        click.echo("nothing to evict")


@click.command(epilog="\b\nExample:\n  aios compress\n")
@with_json
@with_database
@click.pass_obj
def compress(session: Session, /, *, as_json: bool) -> None:
    """Compress the memories of the tiers that the configuration's section compression names."""
    with session.connect() as con:
        before = con.store.stats()
        packed = con.compress()
        done = {
            **dataclasses.asdict(packed),
            "bytes_before": before.bytes,
            "bytes": con.store.stats().bytes,
        }
    (print_json if as_json else print_fields)(done)
