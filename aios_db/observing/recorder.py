"""Latency and throughput of operations: a histogram each, added to in a microsecond.

Buckets grow by a quarter of a power of two, so that a percentile is at most 19 % too high, as in an HDR
histogram of two significant bits.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable, Sized
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Protocol, TypeVar, cast

import pyarrow as pa

from aios_db.observing.spans import Spans
from aios_db.schema.metrics import SCHEMA

LEAST_S = 1e-6
_PER_OCTAVE = 4
BUCKETS = 31 * _PER_OCTAVE + 1  # up to half an hour

Call = TypeVar("Call", bound=Callable[..., Any])


def bucket_of(seconds: float) -> int:
    """Return the bucket of a duration."""
    if seconds <= LEAST_S:
        return 0
    return min(math.ceil(math.log2(seconds / LEAST_S) * _PER_OCTAVE), BUCKETS - 1)


def upper_s(bucket: int) -> float:
    """Return the longest duration that a bucket holds, in seconds; the last one holds all that is longer."""
    return float(LEAST_S * 2.0 ** (bucket / _PER_OCTAVE))


@dataclass
class Operation:
    """What is known of one operation."""

    calls: int = 0
    failed: int = 0
    items: int = 0
    total_s: float = 0.0
    max_s: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * BUCKETS)

    def percentile_s(self, share: float) -> float:
        """Return the duration that this share of the calls did not exceed, 0 where there were none."""
        wanted, seen = share * self.calls, 0
        for bucket, count in enumerate(self.buckets):
            seen += count
            if count and seen >= wanted and bucket < BUCKETS - 1:
                return min(upper_s(bucket), self.max_s)
        return self.max_s


class Metrics:
    """The operations on one open database; safe to use from many threads.

    Parameters
    ----------
    store_id
        What names the database in traces.
    enabled
        Whether anything is recorded.
    texts
        Whether traces hold the text that was asked.
    """

    def __init__(self, store_id: str, *, enabled: bool = True, texts: bool = False) -> None:
        self.enabled = enabled
        self.since = datetime.now(timezone.utc)
        self._lock = threading.Lock()
        self._operations: dict[str, Operation] = {}
        self._spans = Spans(store_id, texts=texts)

    def observe(
        self, operation: str, began: float, items: int = 0, error: str | None = None, text: str = ""
    ) -> None:
        """Note that an operation has ended.

        Parameters
        ----------
        began
            When, as `time.perf_counter` says it.
        items
            Memories or links that it returned or wrote.
        error
            The kind of failure, where it failed; None where it did not.
        text
            What was asked, for traces that are to hold it.
        """
        if self.enabled:
            seconds = self._add(operation, began, items, error)
            self._spans.operation(operation, seconds, items, error, text)

    def observe_statement(self, kind: str, began: float, error: str | None, text: str) -> None:
        """Note that a statement of SQL, of a kind such as SELECT, has run, or failed, as `observe` does."""
        if self.enabled:
            seconds = self._add(kind, began, 0, error)
            self._spans.statement(kind, seconds, error, text)

    def _add(self, operation: str, began: float, items: int, error: str | None) -> float:
        """Add a call to what is known of its operation; return its seconds."""
        seconds = time.perf_counter() - began
        bucket = bucket_of(seconds)
        with self._lock:
            found = self._operations.get(operation)
            if found is None:
                found = self._operations[operation] = Operation()
            found.calls += 1
            found.failed += error is not None
            found.items += items
            found.total_s += seconds
            found.max_s = max(found.max_s, seconds)
            found.buckets[bucket] += 1
        return seconds

    def operations(self) -> dict[str, Operation]:
        """Return a copy of what is known, by operation in the order of names."""
        with self._lock:
            return {
                name: Operation(
                    each.calls, each.failed, each.items, each.total_s, each.max_s, list(each.buckets)
                )
                for name, each in sorted(self._operations.items())
            }

    def rows(self) -> pa.Table:
        """Return the rows of the view `metrics`."""
        rows = [
            {
                "operation": name,
                "calls": each.calls,
                "failed": each.failed,
                "items": each.items,
                "total_s": each.total_s,
                "mean_ms": each.total_s / each.calls * 1e3,
                "p50_ms": each.percentile_s(0.5) * 1e3,
                "p95_ms": each.percentile_s(0.95) * 1e3,
                "max_ms": each.max_s * 1e3,
                "items_per_s": each.items / each.total_s if each.total_s else 0.0,
                "since": self.since,
            }
            for name, each in self.operations().items()
        ]
        return pa.Table.from_pylist(rows, SCHEMA)


class Measured(Protocol):
    """What has metrics."""

    metrics: Metrics


def measured(operation: str) -> Callable[[Call], Call]:
    """Return a decorator that records a method's calls; how much it returns counts as items."""

    def decorate(method: Call) -> Call:
        @functools.wraps(method)
        def call(self: Measured, *args: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                found = method(self, *args, **options)
            except BaseException as error:
                self.metrics.observe(operation, began, error=type(error).__name__)
                raise
            self.metrics.observe(operation, began, _count(found))
            return found

        return cast("Call", call)

    return decorate


def _count(found: object) -> int:
    if isinstance(found, int):
        return int(found)
    return len(found) if isinstance(found, Sized) else 0
