"""`aios models validate`, `versions` and `activate`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from aios_db.cli.options import EXIT_FAILED, Session, with_database, with_json
from aios_db.cli.output import print_fields, print_json, print_table
from aios_db.cli.progress import shown


@click.command(
    epilog="""\b
Examples:
  aios models validate ./minilm-int8 --original minilm
  aios models validate ./minilm-int8 --original minilm --texts sentences.txt --json
  aios models validate ./whisper-int8 --original whisper-tiny --files ~/sounds
"""
)
@click.argument("model")
@click.option(
    "--original", required=True, metavar="MODEL", help="What it was made of: a name or a directory."
)
@click.option("--texts", type=click.Path(exists=True, dir_okay=False), help="Compare on these, a line each.")
@click.option(
    "--files",
    type=click.Path(exists=True),
    multiple=True,
    help="Compare encoders of sounds or pictures on these, or on what is in these folders.",
)
@with_json
@with_database
@click.pass_context
def validate(
    context: click.Context,
    /,
    *,
    model: str,
    original: str,
    texts: str | None,
    files: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare MODEL, a name or a directory, with the original it was quantized from.

    On the memories of the database where there is one, or on --texts. Only texts that no calibration may
    see are used. The report lies in the model's directory, as validation.json and validation.html; a
    model that does not pass cannot be activated, and the exit status is 1.
    """
    from aios_db.engine.catalog.find import find_model
    from aios_db.models.making import validate_version

    session: Session = context.obj
    config = session.config()
    before, after = (find_model(name, config.engine.models_dir) for name in (original, model))
    given = None if texts is None else Path(texts).read_text(encoding="utf-8").splitlines()
    report = validate_version(
        before, after, texts=given, files=files, config=config, open_store=session.open_store()
    )
    if as_json:
        print_json(report.to_dict())
    else:
        measured = report.vectors or report.perplexity
        fields = {
            "version": report.candidate.version,
            "result": "passed" if report.passed else "refused",
            "failures": "; ".join(report.failures) or None,
            "arithmetic": report.arithmetic,
            **(asdict(measured) if measured else {}),
            "bits_per_weight": report.candidate.bits_per_weight,
            "report": str(after / "validation.html"),
        }
        print_fields(fields)
    context.exit(0 if report.passed else EXIT_FAILED)


@click.command(epilog="\b\nExamples:\n  aios models versions\n  aios models versions --json\n")
@with_json
@with_database
@click.pass_obj
def versions(session: Session, as_json: bool) -> None:
    """List the weight versions that are installed in the database."""
    with session.connect(read_only=True) as con:
        found = [asdict(each) for each in con.store.versions.all()]
    if as_json:
        print_json(found)
        return
    columns = ["version", "space", "is_active", "quant_type", "bits_per_weight", "bytes", "parent_version"]
    print_table(columns, [[each[column] for column in columns] for each in found])


@click.command(
    epilog="\b\nExamples:\n  aios models activate minilm-int8\n  aios models activate ./minilm-int8\n"
)
@click.argument("model")
@with_json
@with_database
@click.pass_obj
def activate(session: Session, model: str, as_json: bool) -> None:
    """Make MODEL, a name or a directory, what the database's texts are embedded with.

    Every memory is embedded again first; until then the version before answers, also in other processes.
    Interrupted, it goes on when it is run again. A quantized model needs its passing validation report.
    """
    from aios_db.models.activation import activate

    with session.connect() as con, shown(quiet=as_json) as progress:
        version = activate(con.store, model, progress=progress)
    print_json(asdict(version)) if as_json else click.echo(f"{version.version} is active")
