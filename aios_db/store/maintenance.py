"""A thread that does, a moment after a write, what the write need not wait for."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from typing import Protocol

logger = logging.getLogger("aios_db.store")

_running: weakref.WeakSet[Maintenance] = weakref.WeakSet()


class Maintained(Protocol):
    """What the thread looks after."""

    def maintain(self) -> None:
        """Do all work that is due."""
        ...

    def hurry(self) -> None:
        """Leave from now on what another process can do; also while another thread is in `maintain`."""
        ...


class Maintenance:
    """Calls ``maintain`` some seconds after the first of a series of notifications, or after many writes.

    Parameters
    ----------
    subject
        Held weakly, so that a store that is dropped without `close` goes away with its thread.
    delay_s
        Seconds in which further notifications are answered by the same call.
    most_writes
        So many writes are not left waiting for that: each version names the files of all of them.
    """

    def __init__(self, subject: Maintained, delay_s: float, most_writes: int) -> None:
        self._subject = weakref.ref(subject, lambda _: self._abandon())
        self._delay_s, self._most_writes = delay_s, most_writes
        self._writes = 0
        self._due, self._many = threading.Event(), threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def count_write(self) -> None:
        """Say that something was written, of which `notify` is still to be told."""
        self._writes += 1
        if self._writes >= self._most_writes:
            self._many.set()

    def notify(self) -> None:
        """Say that there is work; the thread starts with the first."""
        self._due.set()
        if self._thread is None:
            with self._starting:
                if self._thread is None and not self._stop.is_set():
                    self._thread = threading.Thread(target=self._run, name="aios_db-maintenance", daemon=True)
                    self._thread.start()
                    _running.add(self)

    def _abandon(self) -> None:
        self._stop.set()
        self._due.set()
        self._many.set()

    def stop(self) -> None:
        """End the thread, after the call it may be in, which is to be short then."""
        self._abandon()
        if (subject := self._subject()) is not None:
            subject.hurry()
        with self._starting:
            if self._thread and self._thread is not threading.current_thread():
                self._thread.join()

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._many.wait(self._delay_s)
            self._writes = 0
            self._due.clear()
            self._many.clear()
            if self._stop.is_set():  # else what `stop` set a moment ago, and this has cleared, is waited for
                return
            subject = self._subject()
            if subject is None:
                return
            try:
                subject.maintain()
            except Exception as error:
                # Nothing acknowledged depends on it; the next write tries again.
                logger.warning("maintenance failed: %s", str(error), extra={"error": type(error).__name__})
            del subject


@atexit.register
def _stop_all() -> None:
    """End the threads of what was left open: in Lance as the interpreter goes, one aborts the process."""
    for each in list(_running):
        each.stop()


if hasattr(os, "register_at_fork"):  # Windows has no fork; in a child there are no such threads
    os.register_at_fork(after_in_child=_running.clear)
