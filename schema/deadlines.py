"""When a statement must have ended: for what it does in Python, where DuckDB cannot stop it.

Nothing here stops anything: what takes long calls `check` between its steps, and waits for others no longer
than `left_s`. The deadline is that of the thread; one without a deadline is never stopped. That of a
statement without a limit is infinitely far, until the statement is interrupted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf

from aios_db.schema.errors import OperationalError


class Deadline:
    """The time that a statement has; what it has for reading its result starts anew once it has written.

    It has no lock, for `NEVER` is that of every thread: each of its fields is set at once.

    Parameters
    ----------
    timeout_s
        Seconds from now; infinity is no limit.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._first_end = self._ends_at = time.monotonic() + timeout_s
        self._writing = self._wrote = self._interrupted = False

    @property
    def is_limited(self) -> bool:
        """Whether it comes by itself."""
        return self._timeout_s != inf

    def interrupt(self) -> None:
        """Let no time be left from now on; a write that goes on ends first."""
        self._interrupted = True
        self._first_end = self._ends_at = -inf

    @property
    def left_s(self) -> float:
        """Seconds that are left, 0 or more; infinity while a write goes on that is not to be stopped."""
        return inf if self._writing else max(self._ends_at - time.monotonic(), 0.0)

    @property
    def wait_s(self) -> float:
        """Seconds to wait for a lock; infinity where a part is written already, and the rest has to be."""
        return inf if self._wrote else self.left_s

    def next_statement(self) -> None:
        """Begin another statement of the same text: it has what is left of the time of all of them."""
        self._ends_at, self._wrote = self._first_end, False

    def check(self) -> None:
        """Raise when no time is left.

        Raises
        ------
        OperationalError
            None is left.
        """
        if self.left_s <= 0:
            raise self.error()

    def error(self) -> OperationalError:
        """Return the error for a statement that took longer."""
        written = "; what it writes had been written by then" if self._wrote else ""
        if self._interrupted:
            return OperationalError(f"the statement was interrupted{written}")
        return OperationalError(
            f"the statement was stopped after {self._timeout_s:g} s, the timeout_s of the connection{written}"
        )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Do in the block what must not end halfway.

        Raises
        ------
        OperationalError
            No time is left, and the block is not begun.
        """
        if self._writing or self is NEVER:
            yield
            return
        if self.left_s <= 0 and not self._wrote:
            raise self.error()
        try:
            self._writing = True
            yield
            self._wrote = True
        finally:
            if self._wrote and not self._interrupted:
                self._ends_at = time.monotonic() + self._timeout_s
            self._writing = False  # last: whoever looks meanwhile sees a write or the new end


NEVER = Deadline(inf)
_current: ContextVar[Deadline] = ContextVar("deadline", default=NEVER)


def current() -> Deadline:
    """Return the deadline of what this thread does."""
    return _current.get()


def check() -> None:
    """Raise when the statement that this thread works for has no time left; see `Deadline.check`."""
    _current.get().check()


class Deadlines:
    """The deadlines of the statements that a connection runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[Deadline] = []

    @contextmanager
    def running(self, timeout_s: float) -> Iterator[Deadline]:
        """Let a statement that this thread runs in the block end in time; yield its deadline."""
        deadline, before = Deadline(timeout_s), _current.get()
        try:
            with self._lock:
                self._running.append(deadline)
            _current.set(deadline)
            yield deadline
        finally:
            _current.set(before)
            with self._lock:
                self._running = [each for each in self._running if each is not deadline]

    @contextmanager
    def called(self) -> Iterator[None]:
        """Give this thread, if it is one of DuckDB's, a deadline for a call; that is checked at once.

        DuckDB does not say for which statement it calls: of several that run it is taken for the last to end.
        """
        deadline = before = _current.get()
        if deadline is NEVER:
            deadline = max(list(self._running), key=lambda each: each.left_s, default=NEVER)
        deadline.check()
        try:
            _current.set(deadline)
            yield
        finally:
            _current.set(before)
