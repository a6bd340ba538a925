"""One writer at a time, over all threads and processes that have a database open."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from aios_db.schema.errors import OperationalError


class WriteLock:
    """The `write.lock` of a database; re-entrant within a thread, released by the system when a holder dies.

    Parameters
    ----------
    path
        The lock file, made when first needed.
    timeout_s
        Seconds to wait for another writer.
    """

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        # The thread lock hands over at once; the file lock, which polls, is left to other processes.
        self._thread = threading.RLock()
        self._file = FileLock(path, timeout=timeout_s, thread_local=False)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock.

        Raises
        ------
        OperationalError
            When another writer has not finished in time, or the lock file cannot be made.
        """
        if not self._thread.acquire(timeout=self._timeout_s):
            raise OperationalError(f"another thread has been writing for {self._timeout_s:g} s; try again")
        try:
            try:
                self._file.acquire(poll_interval=0.002)
            except Timeout as error:
                raise OperationalError(
                    f"another process has held {self._file.lock_file} for {self._timeout_s:g} s; try again, "
                    "or raise storage.lock_timeout_s"
                ) from error
            except OSError as error:
                raise OperationalError(
                    f"cannot lock {self._file.lock_file}: {error}; open it with read_only=True to only read"
                ) from error
            try:
                yield
            finally:
                self._file.release()
        finally:
            self._thread.release()
