"""One writer at a time, over all threads and processes that have a database open."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from aios_db.schema import deadlines
from aios_db.schema.errors import OperationalError

logger = logging.getLogger("aios_db.store")

_POLL_S = 0.002
_STEP_S = 1.0  # a longer step was not waiting: the process was stopped, or the machine asleep
_PATIENCE_S = 60.0


class WriteLock:
    """The `write.lock` of a database; re-entrant within a thread, released by the system when a holder dies.

    A thread waits as long as it takes for other threads of its process (one of them is the database's own
    maintenance): they end by themselves. For other processes it waits ``timeout_s``, of which as much is over
    as other threads have just waited for them in vain. A statement with a deadline waits no longer than that,
    and is not stopped while it holds the lock.

    Parameters
    ----------
    path
        The lock file, made when first needed.
    timeout_s
        Seconds to wait for a writer in another process.
    """

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        # The thread lock hands over at once; the file lock, which polls, is left to other processes.
        self._thread = threading.RLock()
        self._file = FileLock(path, thread_local=False)
        self._kept_out_s = 0.0  # by other processes, all threads together; changes under the thread lock
        self._entered_at_s = 0.0  # of these, when a thread last got in

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock.

        Raises
        ------
        OperationalError
            When a writer in another process has not finished in time, or the lock file cannot be made.
        """
        deadline = deadlines.current()
        if self._is_mine():
            with deadline.writing():
                yield
            return
        try:
            began = self._kept_out_s
            self._wait_for_threads(deadline)
            self._wait_for_processes(deadline, self._kept_out_s - max(began, self._entered_at_s))
            with deadline.writing():
                yield
        finally:
            self._let_go()

    @contextmanager
    def without_writers_here(self) -> Iterator[None]:
        """Wait for the writers of this process, and let none of them begin; other processes go on."""
        with self._thread:
            yield

    def is_free(self) -> bool:
        """Tell whether nobody else holds the lock just now."""
        if self._is_mine():
            return True
        try:
            if not self._thread.acquire(blocking=False):
                return False
            self._file.acquire(blocking=False)
        except (Timeout, OSError):
            return False
        finally:
            self._let_go()
        return True

    def _is_mine(self) -> bool:
        """Whether this thread has the thread lock, which it takes first and lets go of last."""
        return bool(self._thread._is_owned())  # type: ignore[attr-defined]

    def _let_go(self) -> None:
        """Let go of what this thread holds, however far it came before it was interrupted."""
        try:
            self._release()
        finally:
            self._release()  # an interrupt may have ended the first before it began

    def _release(self) -> None:
        if self._is_mine():
            self._file.release(force=True)
            self._thread.release()

    def _wait_for_threads(self, deadline: deadlines.Deadline) -> None:
        while not self._thread.acquire(timeout=min(_PATIENCE_S, deadline.wait_s)):
            if deadline.wait_s <= 0:
                raise deadline.error()
            logger.warning("waiting for another thread that is writing", extra={"lock": self._file.lock_file})

    def _wait_for_processes(self, deadline: deadlines.Deadline, waited: float) -> None:
        while True:
            try:
                self._file.acquire(blocking=False)
                self._entered_at_s = self._kept_out_s
                return
            except Timeout as error:
                if deadline.wait_s <= 0:
                    raise deadline.error() from error
                if waited >= self._timeout_s:
                    raise OperationalError(
                        f"another process has held {self._file.lock_file} for {self._timeout_s:g} s; "
                        "try again, or raise storage.lock_timeout_s"
                    ) from error
            except OSError as error:
                raise OperationalError(
                    f"cannot lock {self._file.lock_file}: {error}; open it with read_only=True to only read"
                ) from error
            before = time.monotonic()
            time.sleep(_POLL_S)
            step = min(time.monotonic() - before, _STEP_S)
            waited += step
            self._kept_out_s += step
