"""The cursors of a connection."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aios_db.cursor import Cursor

_STATEMENTS = "statements"


class Cursors:
    """All that a connection has made; each thread has one of its own for each purpose."""

    def __init__(self) -> None:
        self._all: weakref.WeakSet[Cursor] = weakref.WeakSet()
        self._threads = threading.local()

    def add(self, cursor: Cursor) -> None:
        """Note a new cursor."""
        self._all.add(cursor)

    def of_thread(self, new: Callable[[], Cursor], purpose: str = _STATEMENTS) -> Cursor:
        """Return this thread's cursor for a purpose, a ``new`` one where it has none that is open."""
        cursors: dict[str, Cursor] = self._threads.__dict__
        if purpose not in cursors or cursors[purpose].closed:
            cursors[purpose] = new()
        return cursors[purpose]

    def open(self) -> list[Cursor]:
        """Return those that are not closed."""
        return [cursor for cursor in list(self._all) if not cursor.closed]

    @property
    def in_transaction(self) -> bool:
        """Whether this thread's statements are in a transaction."""
        # Asked for, not made: to make a cursor takes tens of milliseconds.
        cursor: Cursor | None = self._threads.__dict__.get(_STATEMENTS)
        return cursor is not None and not cursor.closed and cursor.in_transaction

    def interrupt(self) -> None:
        """Stop the statements that threads run on them; they raise there."""
        for cursor in list(self._all):
            cursor.interrupt()

    def close(self) -> None:
        """Close all."""
        for cursor in list(self._all):
            cursor.close()
