"""`aios bench`: strategies timed side by side on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aios_db.cli.options import EXIT_FAILED, EXIT_INTERRUPTED, Session
from aios_db.cli.output import json_text, print_json
from aios_db.cli.progress import shown

_OUT = click.Path(dir_okay=False, path_type=Path)
_SUITES = ("operators", "encode", "database", "sync")


@click.command(
    epilog="""\b
Examples:
  aios bench
  aios bench --suite encode --compare standard,openvino,int8 --texts notes.txt
  aios bench --json today.json --html today.html --baseline last.json

Interrupted, it reports what was measured by then, compares nothing, and ends with status 130.
"""
)
@click.option("--suite", "suites", type=click.Choice(_SUITES), multiple=True, help="Only these; repeat it.")
@click.option(
    "--compare",
    default="standard,compile,openvino,int8,auto",
    show_default=True,
    help="Ways to encode, the first the reference: back ends, precisions, or installed models.",
)
@click.option("--model", help="The text model; by default the configuration's.")
@click.option("--texts", type=click.Path(exists=True, dir_okay=False), multiple=True, help="A text per line.")
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True, help="Texts of a call.")
@click.option("--length", type=click.IntRange(1), default=32, show_default=True, help="Tokens of a text.")
@click.option("--rows", type=click.IntRange(20), default=2000, show_default=True, help="Memories.")
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True, help="Runs of each.")
@click.option(
    "--memory/--no-memory",
    default=True,
    show_default=True,
    help="Run each strategy once more in a process of its own, and measure what that holds.",
)
@click.option("--json", "json_", type=_OUT, help="Write the report as JSON.")
@click.option("--markdown", type=_OUT, help="Write it as Markdown.")
@click.option("--html", type=_OUT, help="Write it as a page with plots.")
@click.option(
    "--baseline",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An earlier report; exit status 1 where something is worse beyond the noise.",
)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a report, and measure nothing.")
@click.pass_obj
def bench(session: Session, /, *, schema: bool, **given: Any) -> None:
    """Measure operators, encoding, the database and exchanges, with accuracy beside speed."""
    import dataclasses

    from aios_db.benchmarking import report as reporting
    from aios_db.benchmarking.run import run
    from aios_db.benchmarking.suites import Options

    if schema:
        print_json(reporting.schema())
        return
    _check_places(given)
    before = reporting.read_baseline(given["baseline"]) if given["baseline"] else None
    config = session.config()
    if given["model"]:
        config = dataclasses.replace(
            config, engine=dataclasses.replace(config.engine, text_model=given["model"])
        )
    options = Options(
        suites=given["suites"] or _SUITES,
        compare=tuple(each.strip() for each in given["compare"].split(",") if each.strip()),
        texts=given["texts"],
        **{name: given[name] for name in ("batch", "length", "rows", "rounds", "memory")},
    )
    with shown() as progress:
        report = run(options, config, progress)
    for path, text in (
        (given["json_"], json_text(report.as_json()) + "\n"),
        (given["markdown"], report.as_markdown()),
        (given["html"], report.as_html()),
    ):
        if path is not None:
            path.write_text(text, encoding="utf-8")
    click.echo(report.as_markdown(), nl=False)
    if report.interrupted:
        click.get_current_context().exit(EXIT_INTERRUPTED)
    worse = [] if before is None else reporting.regressions(report.results, before, report.skipped)
    for line in worse:
        click.echo(f"worse: {line}", err=True)
    if not report.results:
        click.echo("nothing could be measured", err=True)
    if worse or not report.results:
        click.get_current_context().exit(EXIT_FAILED)


def _check_places(given: dict[str, Any]) -> None:
    """Refuse what cannot be written before minutes are spent on what is to be in it."""
    for option in ("json_", "markdown", "html"):
        path = given[option]
        if path is not None and not path.parent.is_dir():
            raise click.BadParameter(
                f"there is no directory {path.parent}", param_hint=f"--{option.strip('_')}"
            )
