"""The root of the command line: which commands there are, and how any of them ends."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

import aios_db
from aios_db.cli.groups import LazyGroup
from aios_db.cli.options import (
    EXIT_BY_SIGNAL,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_SET_ASIDE,
    Session,
    with_database,
)
from aios_db.schema.advice import with_advice
from aios_db.schema.amounts import amount
from aios_db.schema.errors import Error
from aios_db.schema.shortage import shortage

# "module:command", imported when it is used. A new command is a module and a line here.
COMMANDS = {
    "init": "aios_db.cli.database:init",
    "import": "aios_db.cli.importing:import_",
    "export": "aios_db.cli.exporting:export",
    "remember": "aios_db.cli.memory:remember",
    "recall": "aios_db.cli.recall:recall",
    "get": "aios_db.cli.changing:get",
    "update": "aios_db.cli.changing:update",
    "forget": "aios_db.cli.changing:forget",
    "erase": "aios_db.cli.changing:erase",
    "quarantine": "aios_db.cli.provenance:quarantine",
    "history": "aios_db.cli.history:history",
    "undo": "aios_db.cli.history:undo",
    "audit": "aios_db.cli.provenance:audit",
    "rollback-source": "aios_db.cli.provenance:rollback_source",
    "sql": "aios_db.cli.sql:sql",
    "stats": "aios_db.cli.database:stats",
    "doctor": "aios_db.cli.doctor:doctor",
    "bench": "aios_db.cli.benchmark:bench",
    "repair": "aios_db.cli.database:repair",
    "backup": "aios_db.cli.backup:backup",
    "restore": "aios_db.cli.backup:restore",
    "salvage": "aios_db.cli.salvaging:salvage",
    "evict": "aios_db.cli.eviction:evict",
    "compress": "aios_db.cli.eviction:compress",
    "optimize": "aios_db.cli.database:optimize",
    "migrate": "aios_db.cli.migrating:migrate",
    "consolidator": "aios_db.cli.consolidator:consolidator",
    "config": "aios_db.cli.configuration:config",
    "models": "aios_db.cli.models:models",
    "warm": "aios_db.cli.tuning:warm",
    "cards": "aios_db.cli.cards:cards",
    "fusion": "aios_db.cli.fusion:fusion",
    "federation": "aios_db.cli.federation:federation",
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  aios import conversations/
  aios recall "where did Ada put the key?"
  aios sql "SELECT speaker, count(*) FROM memories GROUP BY ALL"

Exit status: 0 done, 1 failed, 2 wrong usage, 3 imported, salvaged or fitted but for some rows, or
stored but for links, 130 interrupted.
""",
)
@with_database
@click.option("--config", "config_file", type=click.Path(dir_okay=False), help="A YAML configuration file.")
@click.option("--verbose", is_flag=True, help="Show tracebacks, and log at level INFO.")
@click.version_option(aios_db.__version__, prog_name="aios")
@click.pass_context
def cli(context: click.Context, config_file: str | None, verbose: bool) -> None:
    """Keep and recall the memories of AI agents."""
    session = context.ensure_object(Session)
    session.config_file, session.verbose = config_file, verbose


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; an error is one line on standard error."""
    session = Session()
    if sys.stdin is None:  # closed, as a supervisor may leave it
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - it stays open
    with session.ending.heard():
        status = _run(arguments, session)
    if session.ending.by is None:
        return status
    click.echo(f"ended by {session.ending.by.name}", err=True)
    return EXIT_BY_SIGNAL + session.ending.by


def _said(error: Exception) -> str:
    if told := shortage("the command", error):
        return str(told)
    if isinstance(error, OSError):
        return with_advice(error)
    if isinstance(error, Error):
        return str(error)
    # A defect; whoever is at the prompt still deserves one line.
    return f"unexpected {type(error).__name__}: {error} (--verbose shows where)"


def _run(arguments: Sequence[str] | None, session: Session) -> int:
    try:
        status = cli.main(arguments, prog_name="aios", standalone_mode=False, obj=session)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        if session.ending.by is None:
            click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except Exception as error:
        if session.verbose:
            traceback.print_exc()
        click.echo(f"error: {' '.join(_said(error).split())}", err=True)
        return EXIT_FAILED
    if session.unlinked:
        click.echo(
            f"stored without links: {amount(session.unlinked, 'memory')}; the next write makes them, or "
            "aios repair",
            err=True,
        )
        return EXIT_SET_ASIDE
    return status if isinstance(status, int) else 0  # what a command gave to `Context.exit`
