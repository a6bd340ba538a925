"""How many threads torch uses for what one thread of the caller's computes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aios_db.engine.backends.cpu_features import usable_cores


class _Threads(threading.local):
    """What torch's number was in this thread; None before it was asked."""

    number: int | None = None


class _Numbers:
    """The number to go back to, by thread."""

    def __init__(self) -> None:
        self._lock, self._own = threading.Lock(), _Threads()
        self._active = self._default = 0

    def enter(self) -> int:
        """Return the number to go back to at the end."""
        import torch

        with self._lock:
            # A thread that torch does not know yet begins with what was set last, and that may be another's.
            unknown = self._own.number is None and self._active
            self._own.number = self._default if unknown else torch.get_num_threads()
            if not self._active:
                self._default = self._own.number
            self._active += 1
            return self._own.number

    def leave(self) -> None:
        """Note the end of one."""
        with self._lock:
            self._active -= 1


_numbers = _Numbers()


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads meanwhile; 0 leaves the number as it is.

    OpenMP keeps the number by thread: two models with other numbers, called by two threads, each get theirs,
    and what else the process computes keeps its own.
    """
    import torch

    if not count:
        yield
        return
    before = _numbers.enter()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _numbers.leave()


class SideBySide:
    """Several threads that compute at once, each with its part of the cores, and more when others have ended.

    A product that all cores share waits for the slowest of them, and that core for the other threads'
    products: a fifth of the processor time goes into that.

    Parameters
    ----------
    count
        Of the threads.
    """

    def __init__(self, count: int) -> None:
        self._lock, self._count = threading.Lock(), count

    @property
    def share(self) -> int:
        """Cores that each has now, one at least."""
        return max(1, usable_cores() // self._count)

    @contextmanager
    def part(self) -> Iterator[None]:
        """Let torch, where it is in use, take the calling thread's part of the cores meanwhile."""
        if "torch" not in sys.modules:
            yield
            return
        with torch_threads(self.share):
            yield

    @contextmanager
    def one(self) -> Iterator[None]:
        """Be one of the threads, whose cores the others have afterwards."""
        try:
            yield
        finally:
            with self._lock:
                self._count = max(1, self._count - 1)
