"""The page of metrics that commands serve which run for long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from aios_db.memory_store import MemoryStore

_OPTION = click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="Serve metrics for Prometheus at this port of loopback; 0 takes a free one. Default: none.",
)


def with_metrics_port(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option ``--metrics-port``."""
    return _OPTION(command)


@contextmanager
def serving_metrics(store: MemoryStore, port: int | None) -> Iterator[None]:
    """Serve the metrics of a database in the block, if a port is given, and say where."""
    if port is None:
        yield
        return
    from aios_db.observing.prometheus import LOOPBACK, served

    def gauges() -> dict[str, float]:
        store.refresh()
        return {"memories": store.memories.count_rows(), "links": store.links.count_rows()}

    with served(store.metrics, port, gauges=gauges) as at:
        click.echo(f"metrics at http://{LOOPBACK}:{at}/metrics")
        yield
