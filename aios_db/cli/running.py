"""Running statements so that Ctrl-C stops them at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aios_db.cursor import Cursor
    from aios_db.sql.fetching import Row

FETCH = 1000
_PATIENCE_S = 0.2


class Runner:
    """Works with a cursor in a thread of its own.

    While DuckDB computes, Python's main thread, the one that hears of Ctrl-C, must be free to stop it.
    """

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self._stopped = threading.Event()

    def run(self, act: Callable[[], None]) -> None:
        """Call ``act``, which uses the cursor; raise what it raises.

        Raises
        ------
        KeyboardInterrupt
            Ctrl-C was pressed; what ran has ended.
        """
        raised: list[BaseException] = []
        done = threading.Event()

        def work() -> None:
            try:
                act()
            except BaseException as error:  # goes on in the caller's thread
                raised.append(error)
            finally:
                done.set()

        self._stopped.clear()
        with self._hearing_ctrl_c():
            threading.Thread(target=work, name="aios sql", daemon=True).start()
            while not done.wait(_PATIENCE_S):
                if self._stopped.is_set():
                    self.cursor.interrupt()  # again, should it have begun another query
        if self._stopped.is_set():
            raise KeyboardInterrupt
        if raised:
            raise raised[0]

    @contextmanager
    def _hearing_ctrl_c(self) -> Iterator[None]:
        """Let Ctrl-C stop the thread and nothing else; an exception could come anywhere in the waiting."""
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            self._stopped.set()
            self.cursor.interrupt()

        signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def rows(self) -> Iterator[Row]:
        """Yield the rows of the cursor's result, until Ctrl-C."""
        while not self._stopped.is_set() and (rows := self.cursor.fetchmany(FETCH)):
            for row in rows:
                if self._stopped.is_set():
                    return
                yield row
