"""Ctrl-C while DuckDB computes."""

from __future__ import annotations

import signal
import threading

# What `signal` wraps to return members of enumerations, at ten times the cost: a row is fetched in less.
from _signal import getsignal  # type: ignore[import-not-found]
from _signal import signal as set_handler
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

_SIGINT = int(signal.SIGINT)
_RAISE = signal.default_int_handler


class stops_at_ctrl_c:
    """Let Ctrl-C stop what DuckDB computes on a connection in a ``with`` block, too.

    DuckDB's client leaves a statement at a signal, and then waits for the statement's tasks, which know
    nothing of it: minutes or hours, in which a second Ctrl-C does nothing. So the connection is interrupted
    first. A program that handles the signal in its own way (asyncio does) keeps its way.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C came, whatever DuckDB or Lance made of it where a function of Python's was at work.
    """

    __slots__ = ("_database", "_listens", "_pressed")

    def __init__(self, database: duckdb.DuckDBPyConnection) -> None:
        self._database: Any = database
        self._listens = self._pressed = False

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread() and getsignal(_SIGINT) is _RAISE:
            self._listens = True
            set_handler(_SIGINT, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        set_handler(_SIGINT, _RAISE)  # here, since the exception may come before `__exit__` could
        self._pressed = True
        self._database.interrupt()
        _RAISE(number, frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._listens:
            return
        set_handler(_SIGINT, _RAISE)
        if self._pressed and (error is None or isinstance(error, Exception)):
            raise KeyboardInterrupt from error
