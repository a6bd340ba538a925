"""`aios fusion`: the joint space of text, sound and picture."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from aios_db.cli.options import EXIT_SET_ASIDE, Session, with_database, with_json
from aios_db.cli.output import print_json, print_table
from aios_db.cli.progress import shown


@click.group(epilog="\b\nExamples:\n  aios fusion fit --pairs pairs.parquet\n  aios fusion status\n")
def fusion() -> None:
    """Fit the joint space of text, sound and picture, and say which is in use."""


@fusion.command(
    epilog="""\b
Examples:
  aios fusion fit --pairs pairs.parquet
  aios fusion fit --pairs pairs.parquet --mlp
  aios fusion fit --pairs pairs.parquet --name photos --json

Exit status 3: fitted, but some of the pairs are left out.
"""
)
@click.option(
    "--pairs", required=True, type=click.Path(exists=True, dir_okay=False), help="A Parquet file of pairs."
)
@click.option("--name", default="joint", show_default=True, help="Name of the model.")
@click.option("--mlp", is_flag=True, help="Train a fusion MLP, too, and use it where it is better.")
@click.option("--seed", default=0, show_default=True, type=int, help="Of folds and of training.")
@click.option("--no-cache", is_flag=True, help="Keep no features for the next fit.")
@with_json
@with_database
@click.pass_obj
def fit(session: Session, /, pairs: str, as_json: bool, **options: Any) -> None:
    """Fit a joint space on pairs, activate it, and put the memories into it.

    The file has the columns text (a text, or a list of texts), image and audio (bytes, or paths relative to
    the file), any of which may be NULL, and perhaps group. Features are made by what engine.text_model,
    engine.image_model and engine.audio_model name; "module:encoder" names one of your own.
    """
    from aios_db.joint.pairs import items_of

    cached = not options.pop("no_cache")
    if not session.path.exists():
        items_of(pairs)  # what is no file of pairs makes no database
    with session.connect(create=True) as con, shown() as progress:
        report = con.fit_fusion(pairs, cached=cached, progress=progress, **options)
    if as_json:
        print_json(asdict(report))
    else:
        click.echo(str(report))
    if report.faults:
        click.get_current_context().exit(EXIT_SET_ASIDE)


@fusion.command(epilog="\b\nExamples:\n  aios fusion status\n  aios fusion status --json\n")
@with_json
@with_database
@click.pass_obj
def status(session: Session, /, as_json: bool) -> None:
    """Say by what pictures and sounds are found, and with which encoders.

    That is the joint space that was fitted; where none was, CLIP's own for pictures, if it is installed; or
    else text is the pivot, and they are found by the words of their memories.
    """
    with session.connect(read_only=True) as con:
        found = con.execute("FROM joint_space()")
        columns = [each[0] for each in found.description or ()]
        rows = found.fetchall()
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, rows)
