"""Long work on a database that one thread of one process does at a time, while others write."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from aios_db.schema import deadlines
from aios_db.schema.errors import OperationalError

logger = logging.getLogger("aios_db.store")

_POLL_S = 0.05
_TELL_S = 60.0


@contextmanager
def lease(path: Path, *, waiting: bool = True, stopped: Callable[[], bool] = lambda: False) -> Iterator[bool]:
    """Be the only one who does a kind of work on a database; yield whether that is so.

    The system ends it with the process, however that ends. It is asked for before the write lock, by nobody
    who holds that.

    Parameters
    ----------
    path
        The lock file of that work, made when first needed.
    waiting
        Wait for whoever has it as long as that takes, but not longer than the statement may.
    stopped
        Looked at while waiting: once it is true, the lease is not taken.

    Raises
    ------
    OperationalError
        The lock file cannot be made, or the statement has no time left.
    """
    lock = FileLock(path, thread_local=False)
    taken = _taken(lock, waiting=waiting, stopped=stopped)
    try:
        yield taken
    finally:
        if taken:
            lock.release()


def _taken(lock: FileLock, *, waiting: bool, stopped: Callable[[], bool]) -> bool:
    deadline, told = deadlines.current(), time.monotonic()
    while True:
        try:
            lock.acquire(blocking=False)
            return True
        except Timeout:
            if not waiting or stopped():
                return False
        except OSError as error:
            raise OperationalError(f"cannot lock {lock.lock_file}: {error}") from error
        if deadline.wait_s <= 0:
            raise deadline.error()
        if time.monotonic() - told >= _TELL_S:
            told = time.monotonic()
            logger.warning("waiting for another that has %s", lock.lock_file, extra={"lock": lock.lock_file})
        time.sleep(_POLL_S)
