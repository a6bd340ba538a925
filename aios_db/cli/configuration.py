"""`aios config`: what holds, where it comes from, and whether a file is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from aios_db.cli.options import EXIT_FAILED, Session, with_database, with_json
from aios_db.cli.output import print_json, print_table
from aios_db.schema.errors import ConfigError, OperationalError
from aios_db.schema.secrets import shown

if TYPE_CHECKING:
    from aios_db.config import Loaded
    from aios_db.schema.config import Config

DEFAULT = "default"


@click.group(epilog="\b\nExamples:\n  aios config show\n  aios config check\n  aios config schema\n")
def config() -> None:
    """Show, check and describe the configuration."""


@config.command(epilog="\b\nExamples:\n  aios config show\n  AIOS_RECALL__K=5 aios config show --changed\n")
@click.option("--changed", is_flag=True, help="Only what is not the default.")
@with_json
@with_database
@click.pass_obj
def show(session: Session, /, changed: bool, *, as_json: bool) -> None:
    """Print the effective values, and where each comes from; secrets are masked."""
    found = _loaded(session)
    rows = [row for row in _rows(found) if not changed or row[2] != DEFAULT]
    if as_json:
        print_json([dict(zip(("key", "value", "from"), row, strict=True)) for row in rows])
    else:
        print_table(["key", "value", "from"], rows)
    _print_problems(found.problems)


@config.command(epilog="\b\nExamples:\n  aios config check\n  aios --config new.yaml config check\n")
@with_database
@click.pass_obj
def check(session: Session) -> None:
    """Say which file and variables hold, and what in them cannot be used; exit status 1 if so."""
    found = _loaded(session)
    variables = sorted(place for place in found.places.values() if place.startswith("$"))
    click.echo(f"{found.file or 'no file: the defaults'}{''.join(f', {each}' for each in variables)}")
    problems = [*found.problems, *_of_schedule(found.config)]
    _print_problems(problems)
    if problems:
        click.get_current_context().exit(EXIT_FAILED)


@config.command(epilog="\b\nExamples:\n  aios config schema > aios.schema.json\n")
def schema() -> None:
    """Print the JSON Schema of a configuration file, which editors check one against."""
    from aios_db.config.json_schema import json_schema

    print_json(json_schema())


def _loaded(session: Session) -> Loaded:
    from aios_db.config import loaded

    return loaded(session.config_file, database=session.path)


def _rows(found: Loaded) -> list[tuple[str, object, str]]:
    from aios_db.config import keys, sections
    from aios_db.config.values import ROOT

    rows = []
    for name, section in sections().items():
        values = found.config if name == ROOT else getattr(found.config, name)
        for key in keys(section):
            value = shown(key, getattr(values, key))
            place = found.places.get((name, key), DEFAULT)
            rows.append((f"{name}.{key}" if name else key, value, place.rpartition(": ")[0] or place))
    return rows


def _of_schedule(config: Config) -> Iterator[str]:
    """Yield what is wrong with the schedule, as far as what reads one is installed."""
    from aios_db.lifecycle.schedule import check_schedule

    try:
        check_schedule(config.consolidation.schedule)
    except ConfigError as error:
        yield str(error)
    except OperationalError:
        return


def _print_problems(problems: Sequence[str]) -> None:
    for problem in problems:
        click.echo(f"invalid configuration: {problem}", err=True)
