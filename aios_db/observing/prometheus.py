"""Metrics of a long-running command as a page that Prometheus reads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aios_db.observing.recorder import BUCKETS, Metrics, upper_s
from aios_db.schema.errors import MissingExtraError, OperationalError

log = logging.getLogger("aios_db.observing")

_EVERY = 4  # of the recorder's buckets becomes one here: powers of two
LOOPBACK = "127.0.0.1"


@contextmanager
def served(
    metrics: Metrics, port: int, address: str = LOOPBACK, gauges: Callable[[], dict[str, float]] = dict
) -> Iterator[int]:
    """Serve metrics at ``http://address:port/metrics`` in the block; yield the port, a free one for 0.

    Parameters
    ----------
    gauges
        Returns further numbers, by name; where it fails, the page is without them.

    Raises
    ------
    MissingExtraError
        `prometheus_client` is not installed.
    OperationalError
        The port cannot be used.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
        from prometheus_client.process_collector import ProcessCollector
    except ModuleNotFoundError as error:
        raise MissingExtraError("prometheus_client", "metrics", "a page of metrics") from error
    registry = CollectorRegistry()
    registry.register(_Collector(metrics, gauges))
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(port, address, registry)
    except (OSError, OverflowError) as error:
        raise OperationalError(
            f"cannot serve metrics at {address}:{port}: {error}; take another port, or 0 for a free one"
        ) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Collector:
    """Turns what is recorded into Prometheus's families when it is asked."""

    def __init__(self, metrics: Metrics, gauges: Callable[[], dict[str, float]]) -> None:
        self._metrics, self._gauges = metrics, gauges
        self._reason = ""

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        operations = self._metrics.operations()
        seconds = HistogramMetricFamily(
            "aios_operation_seconds", "How long operations took.", labels=["operation"]
        )
        failed = CounterMetricFamily("aios_operation_failures", "Calls that failed.", labels=["operation"])
        items = CounterMetricFamily(
            "aios_operation_items", "Memories or links returned or written.", labels=["operation"]
        )
        for name, each in operations.items():
            seconds.add_metric([name], _cumulative(each.buckets), each.total_s)
            failed.add_metric([name], each.failed)
            items.add_metric([name], each.items)
        yield from (seconds, failed, items)
        for name, value in self._further().items():
            yield GaugeMetricFamily(f"aios_{name}", name.replace("_", " "), value)

    def _further(self) -> dict[str, float]:
        """Return the further numbers; none, and a warning for each new reason, while they cannot be had."""
        try:
            found, reason = self._gauges(), ""
        except Exception as error:
            found, reason = {}, f"{type(error).__name__}: {error}"
            if reason != self._reason:
                log.warning("the page of metrics leaves out what cannot be read: %s", reason)
        self._reason = reason
        return found


def _cumulative(buckets: list[int]) -> list[tuple[str, int]]:
    found, seen = [], 0
    for bucket, count in enumerate(buckets):
        seen += count
        if bucket % _EVERY == 0 and bucket < BUCKETS - 1:
            found.append((f"{upper_s(bucket):.6g}", seen))
    return [*found, ("+Inf", seen)]
