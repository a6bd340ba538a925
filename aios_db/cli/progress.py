"""How far a long command is, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from aios_db.schema.progress import silent

if TYPE_CHECKING:
    from rich.progress import TaskID

    from aios_db.schema.progress import Progress

_LINE_EVERY_S = 10.0


@contextmanager
def shown(*, quiet: bool = False) -> Iterator[Progress]:
    """Yield what shows how far work is: a bar for each piece of it on a terminal, else a line now and then.

    A step that is told once is a line of its own.
    """
    if quiet:
        yield silent
        return
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(doing: str, done: int, total: int) -> None:
            if not total:
                bars.console.print(f"  {doing}", markup=False, highlight=False)
                return
            if doing not in tasks:
                tasks[doing] = bars.add_task(doing, total=total)
            bars.update(tasks[doing], completed=done, total=total)

        yield show


def _lines() -> Progress:
    """Return what prints how far the work is, unless it did so less than `_LINE_EVERY_S` ago."""
    started = last = time.monotonic()

    def show(doing: str, done: int, total: int) -> None:
        nonlocal last
        if not total:
            click.echo(f"  {doing}", err=True)
            return
        now = time.monotonic()
        if now - last >= _LINE_EVERY_S:
            last = now
            click.echo(f"{doing}: {done} of {total}, {(now - started) / 60:.1f} minutes", err=True)

    return show
