"""How far a long command is, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

_EVERY_S = 5.0


@contextmanager
def share_read(doing: str) -> Iterator[Callable[[float], None]]:
    """Give what is told the share that is done: a bar on a terminal, else a line every few seconds."""
    if not sys.stderr.isatty():
        yield _Lines(doing).show
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(doing, total=1.0)
        yield lambda share: bars.update(task, completed=share)


class _Lines:
    def __init__(self, doing: str) -> None:
        self._doing, self._shown_at = doing, time.monotonic()

    def show(self, share: float) -> None:
        if time.monotonic() - self._shown_at >= _EVERY_S:
            self._shown_at = time.monotonic()
            click.echo(f"{self._doing}: {share:.0%}", err=True)
