"""One thread for each of many small matrix products, and as many threads as there are cores over all of them.

A product of a few megabytes ends before a second thread has helped, and on a busy machine it waits for that
thread's turn: ten times the time. Large products keep all threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

T = TypeVar("T")
Found = TypeVar("Found")


class _Limit:
    """Limits the library to one thread from the first entry to the last exit, over all threads."""

    def __init__(self) -> None:
        import numpy as np

        _ = np.ones((2, 2)) @ np.ones((2, 2))  # the library is loaded, so that it is found
        self._controller = ThreadpoolController()
        self._lock = threading.Lock()
        self._inside = 0
        self._limiter: Any = None
        found = [each["num_threads"] for each in self._controller.info() if each["user_api"] == "blas"]
        self.threads = max(found, default=1)

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._limiter = self._controller.limit(limits=1, user_api="blas")
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limiter.restore_original_limits()


@cache
def _limit() -> _Limit:
    return _Limit()


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let NumPy's matrix products use one thread; threads may be inside at the same time."""
    limit = _limit()
    limit.enter()
    try:
        yield
    finally:
        limit.leave()


def each_in_a_thread(task: Callable[[T], Found], items: Iterable[T]) -> list[Found]:
    """Call ``task`` with each item, on as many threads as a large product would have, one a product.

    What it returns is in the order of the items.
    """
    threads, items = _limit().threads, list(items)
    with single_threaded():
        if threads == 1 or len(items) == 1:  # a pool takes longer to start than a small search
            return [task(item) for item in items]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(task, items))
