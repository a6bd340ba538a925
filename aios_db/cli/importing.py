"""`aios import`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aios_db.cli.options import EXIT_SET_ASIDE, Session, with_database, with_json
from aios_db.cli.output import print_json
from aios_db.cli.progress import shown
from aios_db.schema.amounts import amount

if TYPE_CHECKING:
    from aios_db.importers import ImportReport


@click.command(
    "import",
    epilog="""\b
Examples:
  aios import conversations/
  aios import locomo10.json
  aios import notes.md --agent-id secretary
  aios import export.csv --map text=body,occurred_at=when --rejected bad-rows.jsonl
  aios import WhatsApp.zip --time-zone Europe/Lisbon

Interrupted, it goes on where it was when it is started again. Exit status 3: imported, but some records were
set aside.
""",
)
@click.argument("paths", nargs=-1, type=click.Path(exists=True))
@click.option(
    "--retry", type=click.Path(exists=True, dir_okay=False), help="Import a file of rejected records again."
)
@click.option("--format", "format_", help="The format, where its name's ending does not tell.")
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="COLUMN=FIELD,…",
    help="Which field is which column: text=body.",
)
@click.option("--encoding", help="The encoding of text files; found out by default.")
@click.option(
    "--no-header", is_flag=True, help="CSV files without names of columns; they are called 1, 2, 3, …."
)
@click.option("--time-zone", metavar="ZONE", help="Of times without one, such as Europe/Lisbon; default UTC.")
@click.option("--source", help="Where all of it comes from, whatever its rows say; by default the file.")
@click.option("--session-id", help="For rows that have no session of their own.")
@click.option("--agent-id", help="For rows that have no agent of their own.")
@click.option("--user-id", help="For rows that have no user of their own.")
@click.option(
    "--rejected", type=click.Path(dir_okay=False), help="Where bad records go; default <db>.rejected.jsonl."
)
@click.option("--restart", is_flag=True, help="Import again what was imported before.")
@click.option("--sync", is_flag=True, help="Forget what is gone from these files and folders.")
@with_json
@with_database
@click.pass_obj
def import_(session: Session, /, paths: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Store what files and folders hold: chat exports, mail, tables, documents, archives of these.

    One memory per row, message, turn or section. A file that did not change is not imported again;
    of one that did, what changed replaces what it was. What 'aios export' wrote is taken in with its ids; a
    memory that is here already stays as it is.
    """
    from aios_db.importers import import_files, retry_rejected
    from aios_db.importers.run import checked_import

    if bool(paths) == bool(options["retry"]):
        raise click.UsageError("name files or folders to import, or a file of rejected records with --retry")
    if options["source"] is not None and not options["source"].strip():
        raise click.UsageError("--source is blank; name where the files come from")
    scope = ("session_id", "agent_id", "user_id")
    mapping, time_zone = _mapping(options["mapping"]), options["time_zone"]
    if not session.path.exists():
        named = [Path(each) for each in paths]
        encoding = options["encoding"]
        checked_import(named, options["format_"], mapping=mapping, encoding=encoding, time_zone=time_zone)
    with session.connect(create=True) as con, shown() as progress:
        con.store.database.source = options["source"]
        defaults = {name: options[name] for name in scope if options[name] is not None}
        report = (
            retry_rejected(con, options["retry"], defaults=defaults, mapping=mapping, time_zone=time_zone)
            if not paths
            else import_files(
                con,
                paths,
                format=options["format_"],
                defaults=defaults,
                mapping=mapping,
                time_zone=time_zone,
                encoding=options["encoding"],
                header=not options["no_header"],
                rejected_path=options["rejected"],
                restart=options["restart"],
                sync=options["sync"],
                progress=progress,
            )
        )
    if as_json:
        print_json(report.as_dict())
    else:
        _print_report(report)
    if report.rejected:
        click.get_current_context().exit(EXIT_SET_ASIDE)


def _mapping(given: tuple[str, ...]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for pair in ",".join(given).split(",") if given else ():
        column, equals, field = pair.partition("=")
        if not (column.strip() and equals and field.strip()):
            raise click.UsageError(f"--map takes COLUMN=FIELD, such as text=body, not {pair!r}")
        found[column.strip()] = field.strip()
    return found


def _print_report(report: ImportReport) -> None:
    parts = {
        "stored": report.stored,
        "merged with equal ones": report.merged,
        "replaced": report.replaced,
        "rejected": report.rejected,
        "skipped": report.skipped - report.resumed,
    }
    files = f"{amount(report.files, 'file')}"
    line = f"read {amount(report.read - report.resumed, 'record')} from {files}"
    if said := ", ".join(f"{count} {what}" for what, count in parts.items() if count):
        line += f": {said}"
    if report.resumed:
        line += f"; {report.resumed} had been imported before"
    if report.removed:
        line += f"; {report.removed} removed"
    if report.links:
        line += f"; {amount(report.links, 'link')}"
    click.echo(line)
    reasons = {reason: count for reason, count in report.skip_reasons.items() if reason != "imported before"}
    for reason, count in reasons.items():
        click.echo(f"skipped {count}: {reason}", err=True)
    for name, reason in list(report.skipped_files.items())[:10]:
        click.echo(f"left {name} alone: {reason}", err=True)
    if len(report.skipped_files) > 10:
        click.echo(
            f"left {amount(len(report.skipped_files) - 10, 'more file')} alone; --json lists them", err=True
        )
    if report.rejected:
        click.echo(f"set {amount(report.rejected, 'bad record')} aside in {report.rejected_path}", err=True)
