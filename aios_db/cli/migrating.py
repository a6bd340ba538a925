"""`aios migrate` and `aios models migrate`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aios_db.cli.options import Session, with_database, with_json
from aios_db.cli.output import print_json, print_table
from aios_db.cli.progress import shown
from aios_db.cli.quantize import read_calibration
from aios_db.schema.errors import ProgrammingError

if TYPE_CHECKING:
    from aios_db.schema.config import Config, QuantizationConfig


@click.command(epilog="\b\nExamples:\n  aios migrate --dry-run\n  aios migrate\n  aios migrate ~/old.aios\n")
@click.argument("path", required=False, type=click.Path())
@click.option("--dry-run", is_flag=True, help="Only list what would be done.")
@click.option("--to", type=int, metavar="N", help="Stop at this format; default the newest.")
@with_json
@with_database
@click.pass_obj
def migrate(session: Session, path: str | None, dry_run: bool, to: int | None, as_json: bool) -> None:
    """Bring a database, at PATH or where --db says, to the newest format.

    It only goes forward. Interrupted, it is finished by the next run; until then the database has its old
    format.
    """
    from aios_db.migrations.database import migrate, pending

    config = session.config()
    session.database = path or session.database
    names = [each.name for each in pending(session.path, to)]
    if names and not dry_run:
        _step_over_torn(session.path, config)
        with shown(quiet=as_json) as progress:
            names = [each.name for each in migrate(session.path, to=to, progress=progress)]
    if as_json:
        print_json({"path": str(session.path), "pending" if dry_run else "applied": names})
    elif names:
        click.echo(f"{'would apply' if dry_run else 'applied'} {', '.join(names)} to {session.path}")
    else:
        click.echo(f"{session.path} needs no migration")


@click.command(
    epilog="""\b
Examples:
  aios models migrate ~/models --dry-run
  aios models migrate ~/models
  aios models migrate ~/models/minilm --quantize int8 --calibration texts.txt
  aios models migrate ~/models --prune
"""
)
@click.argument("directory", type=click.Path(exists=True, file_okay=False))
@click.option(
    "--quantize", type=click.Choice(["int8", "int2"]), help="Quantize as well; default keeps floats."
)
@click.option(
    "--calibration",
    type=click.Path(exists=True),
    multiple=True,
    help="For --quantize: texts, a line each, and sounds and pictures, or folders of them.",
)
@click.option("--dry-run", is_flag=True, help="Only list what would be done.")
@click.option("--prune", is_flag=True, help="Delete the old files of models that were migrated before.")
@with_json
@click.pass_obj
def models_migrate(
    session: Session,
    /,
    *,
    directory: str,
    quantize: str | None,
    calibration: tuple[str, ...],
    dry_run: bool,
    prune: bool,
    as_json: bool,
) -> None:
    """Bring every model at and under DIRECTORY from weight files V1 to V2.

    The new weights are compared with the old ones before they take their place, which is one rename. The old
    files stay beside them until --prune. Interrupted, it is finished by the next run.
    """
    from aios_db.engine.weights.reader import WeightFile
    from aios_db.migrations import models

    config = session.config()
    if prune:
        deleted = [str(file) for file in models.prune(directory)]
        print_json({"deleted": deleted}) if as_json else click.echo("\n".join(deleted) or "nothing to delete")
        return
    if dry_run:
        rows = []
        for path in models.find_models(directory):
            with WeightFile(models.weights_of(path)) as file:
                rows.append({"path": str(path), "version": f"V{file.version}"})
        print_json(rows) if as_json else print_table(
            ["path", "version"], [list(row.values()) for row in rows]
        )
        return
    recipe, texts, files = _recipe(config.quantization, quantize, calibration)
    with shown(quiet=as_json) as progress:
        done = models.migrate_models(
            directory,
            quantize=recipe,
            calibration=texts,
            files=files,
            validation=config.validation,
            device=config.device,
            progress=progress,
        )
    results = [
        {
            "path": str(each.path),
            "changed": each.changed,
            "bytes_before": each.bytes_before,
            "bytes_after": each.bytes_after,
            "old_files": [file.name for file in each.old_files],
        }
        for each in done
    ]
    columns = list(results[0])
    print_json(results) if as_json else print_table(columns, [list(each.values()) for each in results])


def _step_over_torn(database: Path, config: Config) -> None:
    """Give up what a migration had not brought to the disk when the power failed; it is done again."""
    from aios_db.disk.lock import WriteLock
    from aios_db.schema.database import LOCK
    from aios_db.store.directory import step_over_torn

    step_over_torn(database, read_only=False, lock=WriteLock(database / LOCK, config.storage.lock_timeout_s))


def _recipe(
    config: QuantizationConfig, quantize: str | None, calibration: tuple[str, ...]
) -> tuple[QuantizationConfig | None, list[str], list[Path]]:
    if quantize is None:
        return None, [], []
    if not calibration:
        raise ProgrammingError("--quantize needs --calibration FILE, a text file with a text a line")
    recipe = replace(config, target="int8" if quantize == "int8" else "int2")
    return recipe, *read_calibration(calibration)
