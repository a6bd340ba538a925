"""`aios import`."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aios_db.cli.options import EXIT_SET_ASIDE, Session, with_database, with_json
from aios_db.cli.output import print_json

if TYPE_CHECKING:
    from aios_db.importers import ImportReport


@click.command(
    "import",
    epilog="""\b
Examples:
  aios import conversations/
  aios import locomo10.json
  aios import notes.md --agent-id secretary
  aios import export.csv --rejected bad-rows.jsonl

Interrupted, it goes on where it was when it is started again. Exit status 3: imported, but some rows were
set aside.
""",
)
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--format", "format_", help="The format, where its name's ending does not tell.")
@click.option("--session-id", help="For rows that have no session of their own.")
@click.option("--agent-id", help="For rows that have no agent of their own.")
@click.option("--user-id", help="For rows that have no user of their own.")
@click.option(
    "--rejected", type=click.Path(dir_okay=False), help="Where bad rows go; default <db>.rejected.jsonl."
)
@click.option("--restart", is_flag=True, help="Import again what was imported before.")
@with_json
@with_database
@click.pass_obj
def import_(session: Session, /, paths: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Store what files and folders hold: JSONL, JSON, CSV, Parquet, Markdown, text, chat exports.

    One memory a row, message, turn or section. What was imported before is not imported again.
    """
    from aios_db.importers import ImportReport, import_path

    scope = ("session_id", "agent_id", "user_id")
    defaults = {name: options[name] for name in scope if options[name] is not None}
    total = ImportReport()
    with session.connect(create=True) as con, _progress() as progress:
        for path in paths:
            report = import_path(
                con,
                Path(path),
                format=options["format_"],
                defaults=defaults,
                rejected_path=options["rejected"],
                restart=options["restart"],
                progress=progress and progress.update,
            )
            total = _sum(total, report)
    if as_json:
        print_json(dataclasses.asdict(total))
    else:
        _print_report(total)
    if total.rejected:
        click.get_current_context().exit(EXIT_SET_ASIDE)


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


def _progress() -> Any:
    return _ProgressBar() if sys.stderr.isatty() else nullcontext()


def _sum(total: ImportReport, report: ImportReport) -> ImportReport:
    return dataclasses.replace(
        total,
        files=total.files + report.files,
        skipped=total.skipped + report.skipped,
        imported=total.imported + report.imported,
        resumed=total.resumed + report.resumed,
        links=total.links + report.links,
        rejected=total.rejected + report.rejected,
        rejected_path=report.rejected_path or total.rejected_path,
    )


def _print_report(report: ImportReport) -> None:
    line = f"imported {report.imported} rows from {report.files} files"
    if report.resumed:
        line += f", {report.resumed} had been imported before"
    if report.links:
        line += f", {report.links} links"
    click.echo(line)
    if report.skipped:
        click.echo(
            f"skipped {len(report.skipped)} files of no known format: {', '.join(report.skipped[:5])}",
            err=True,
        )
    if report.rejected:
        click.echo(f"set {report.rejected} bad rows aside in {report.rejected_path}", err=True)
