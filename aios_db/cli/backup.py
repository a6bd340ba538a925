"""`aios backup` and `aios restore`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from aios_db.cli.history import print_report
from aios_db.cli.options import EXIT_FAILED, Session, with_database, with_json
from aios_db.cli.output import print_json
from aios_db.schema.amounts import amount
from aios_db.schema.errors import OperationalError

if TYPE_CHECKING:
    from aios_db.backup import Manifest, Verified


@click.command(
    epilog="""\b
Examples:
  aios backup /mnt/backups/agent
  aios backup /mnt/backups/agent --keep 30 --models
  aios backup /mnt/backups/agent --verify
"""
)
@click.argument("target", type=click.Path(file_okay=False))
@click.option("--keep", type=click.IntRange(1), help="How many backups stay in TARGET; 7 by default.")
@click.option("--models", is_flag=True, help="Copy the models that made the vectors, too.")
@click.option("--list", "only_list", is_flag=True, help="Make none; list the backups in TARGET.")
@click.option("--verify", "only_verify", is_flag=True, help="Make none; check every file of those in TARGET.")
@with_json
@with_database
@click.pass_obj
def backup(
    session: Session,
    /,
    target: str,
    *,
    keep: int | None,
    models: bool,
    only_list: bool,
    only_verify: bool,
    as_json: bool,
) -> None:
    """Copy the database into TARGET, a directory of backups, while others go on writing.

    Only what no backup there has yet is copied. What is erased later stays in the backups made before.
    """
    from aios_db.backup import Target, examine
    from aios_db.backup.making import KEEP
    from aios_db.backup.making import backup as make

    config = session.config()
    if only_verify:
        _print_verified(examine(target), as_json)
        return
    if only_list:
        directory = Target(target)
        _print_backups([directory.read(each) for each in directory.ids()], as_json)
        return
    if not session.path.exists():
        raise OperationalError(f"no database at {session.path}: name one with --db")
    report = make(session.path, target, keep=KEEP if keep is None else keep, models=models, config=config)
    if as_json:
        print_json(dataclasses.asdict(report))
        return
    rows = report.tables["memories"].rows
    click.echo(f"backup {report.id} of {session.path}: {amount(rows, 'memory')}, {report.bytes} bytes")
    click.echo(f"copied {report.copied_files} of {amount(report.files, 'file')}, {report.copied_bytes} bytes")
    if report.mended:
        click.echo(f"mended {amount(len(report.mended), 'damaged file')} of {target}")
    for each in report.removed:
        click.echo(f"removed backup {each}")


def _print_backups(found: list[Manifest], as_json: bool) -> None:
    if as_json:
        print_json([_about(each) for each in found])
        return
    for each in found:
        click.echo(_line(each))


def _print_verified(found: list[Verified], as_json: bool) -> None:
    """Print which backups are whole, and of others what is wrong; exit status 1 when there are any."""
    if as_json:
        print_json(
            [
                {
                    **(_about(each.manifest) if each.manifest else {"id": each.id}),
                    "whole": not each.faults,
                    "faults": list(each.faults),
                }
                for each in found
            ]
        )
    for each in () if as_json else found:
        if each.manifest is not None and not each.faults:
            click.echo(_line(each.manifest, " whole"))
        for fault in each.faults:
            click.echo(f"{each.id} damaged: {fault}", err=True)
    if any(each.faults for each in found):
        click.get_current_context().exit(EXIT_FAILED)


def _about(backup: Manifest) -> dict[str, Any]:
    return {
        "id": backup.id,
        "database": backup.database,
        "database_id": backup.database_id,
        "memories": backup.tables["memories"].rows,
        "bytes": sum(entry.size for entry in backup.entries()),
        "models": [model.version for model in backup.models],
    }


def _line(backup: Manifest, state: str = "") -> str:
    about = _about(backup)
    memories = amount(about["memories"], "memory")
    return f"{backup.id}{state}: {memories}, {about['bytes']} bytes of {backup.database}"


@click.command(
    epilog="""\b
Examples:
  aios restore /mnt/backups/agent restored.aios
  aios restore /mnt/backups/agent restored.aios --id 2026-11-29T045616.913398Z
  aios restore --to 2026-11-29T04:00
  aios restore --to 12 --dry-run
"""
)
@click.argument(
    "backup_path", metavar="[BACKUP]", required=False, type=click.Path(exists=True, file_okay=False)
)
@click.argument("database", metavar="[DB]", required=False, type=click.Path())
@click.option("--id", "backup_id", help="Which backup; the newest by default.")
@click.option("--to", "point", metavar="POINT", help="Instead: bring --db back to this version or time.")
@click.option("--dry-run", is_flag=True, help="With --to: write nothing; print what would be written.")
@click.option("--yes", is_flag=True, help="With --to: delete more than storage.confirm_forget memories, too.")
@with_json
@with_database
@click.pass_obj
def restore(
    session: Session,
    /,
    backup_path: str | None,
    database: str | None,
    *,
    backup_id: str | None,
    point: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Make a database at DB, or where --db says, of a backup in BACKUP.

    Nothing is overwritten. Every file is compared with its checksum; the database is there whole, or not
    at all.

    With --to and no BACKUP, the database that is there goes back to an earlier version or time, as far as
    versions are kept; that is a change, and can be undone (aios undo).
    """
    import aios_db

    if (
        (point is None) == (backup_path is None)
        or (point is None and (dry_run or yes))
        or (point and backup_id)
    ):
        raise click.UsageError("give a BACKUP, or --to with a version or a time")
    if point is not None:
        with session.connect(read_only=dry_run) as con:
            to = int(point) if point.isdecimal() else point
            found = con.restore(to, dry_run=dry_run, confirm=yes)
        print_report(found, as_json=as_json, dry_run=dry_run)
        return
    assert backup_path is not None
    session.database = database or session.database
    report = aios_db.restore(backup_path, session.path, backup_id=backup_id, config=session.config())
    if as_json:
        print_json(dataclasses.asdict(report))
        return
    click.echo(
        f"restored {report.path}: {amount(report.tables['memories'].rows, 'memory')} of backup {report.id}"
    )
    for each in report.installed_models:
        click.echo(f"installed the model {each}")
    for each in report.missing_models:
        click.echo(f"{each} is not on this machine")
    if report.missing_models:
        click.echo(
            "install such models, or aios models activate others; register encoders of your own again, and "
            "fit a joint space again (aios fusion fit)"
        )
