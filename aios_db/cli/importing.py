"""`aios import`."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from aios_db.cli.options import EXIT_SET_ASIDE, Session, with_database, with_json
from aios_db.cli.output import print_json

if TYPE_CHECKING:
    from aios_db.importers import ImportReport

_LINE_EVERY_S = 5.0


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

    One memory a row, message, turn or section. A file that did not change is not imported again;
    of one that did, what changed replaces what it was. What 'aios export' wrote is taken in with its ids; a
    memory that is here already stays as it is.
    """
    from aios_db.importers import import_files, retry_rejected

    if bool(paths) == bool(options["retry"]):
        raise click.UsageError("name files or folders to import, or a file of rejected records with --retry")
    if options["source"] is not None and not options["source"].strip():
        raise click.UsageError("--source is blank; name where the files come from")
    scope = ("session_id", "agent_id", "user_id")
    with session.connect(create=True) as con, _progress() as progress:
        con.store.source = options["source"]
        defaults = {name: options[name] for name in scope if options[name] is not None}
        mapping, time_zone = _mapping(options["mapping"]), options["time_zone"]
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
                progress=progress.update,
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


class _ProgressBar:
    """One bar a file, on standard error."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rows]} rows"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> _ProgressBar:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def update(self, name: str, share: float, report: ImportReport) -> None:
        """Show how far a file is."""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=1.0, rows=0)
        self._bars.update(self._tasks[name], completed=share, rows=report.imported)


class _ProgressLines:
    """A line now and then on standard error, for logs and other readers that are no terminal."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _LINE_EVERY_S

    def __enter__(self) -> _ProgressLines:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def update(self, name: str, share: float, report: ImportReport) -> None:
        """Say how far a file is, unless that was just said."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _LINE_EVERY_S
            click.echo(f"{name}: {share:.0%}, {report.read} records read, {report.stored} stored", err=True)


def _progress() -> _ProgressBar | _ProgressLines:
    return _ProgressBar() if sys.stderr.isatty() else _ProgressLines()


def _print_report(report: ImportReport) -> None:
    parts = {
        "stored": report.stored,
        "merged with equal ones": report.merged,
        "replaced": report.replaced,
        "rejected": report.rejected,
        "skipped": report.skipped - report.resumed,
    }
    files = f"{report.files} {'file' if report.files == 1 else 'files'}"
    line = f"read {report.read - report.resumed} records from {files}"
    if said := ", ".join(f"{count} {what}" for what, count in parts.items() if count):
        line += f": {said}"
    if report.resumed:
        line += f"; {report.resumed} had been imported before"
    if report.removed:
        line += f"; {report.removed} removed"
    if report.links:
        line += f"; {report.links} links"
    click.echo(line)
    reasons = {reason: count for reason, count in report.skip_reasons.items() if reason != "imported before"}
    for reason, count in reasons.items():
        click.echo(f"skipped {count}: {reason}", err=True)
    for name, reason in list(report.skipped_files.items())[:10]:
        click.echo(f"left {name} alone: {reason}", err=True)
    if len(report.skipped_files) > 10:
        click.echo(f"left {len(report.skipped_files) - 10} more files alone; --json lists them", err=True)
    if report.rejected:
        click.echo(f"set {report.rejected} bad records aside in {report.rejected_path}", err=True)
