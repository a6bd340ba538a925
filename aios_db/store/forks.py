"""What is open does not survive a fork: the threads of Lance and DuckDB stay behind in the parent.

A forked child that goes on with them hangs, or dies as it closes them. So in the child everything that was
open says so when it is used, and is never destroyed: not when it is closed or forgotten, nor at the end of
the process. Nothing of the parent's is touched: no lock is released, no thread joined.
"""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Protocol
from weakref import WeakSet

from aios_db.schema.errors import InterfaceError

_ADVICE = (
    "open it in the child, and nothing in the parent before the fork, or start the child with "
    "multiprocessing's 'spawn' or 'forkserver'"
)


class Inheritable(Protocol):
    """What is open, and would be inherited."""

    def abandon(self) -> None:
        """Be closed without touching anything: this process is a child of the one that opened it."""
        ...


_open: WeakSet[Inheritable] = WeakSet()
_held: list[Inheritable] = []
_used = threading.Event()  # whether this process had anything open
_lost = threading.Event()  # whether it is a child of one that had


def watch(opened: Inheritable) -> None:
    """Abandon ``opened`` in children that are forked from now on."""
    _used.set()
    _open.add(opened)


def keep(*opened: object) -> None:
    """Keep objects until the process is gone, whoever drops them."""
    for each in opened:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))


def is_inherited(what: str) -> InterfaceError:
    """Return the error for the use of something inherited."""
    return InterfaceError(
        f"{what} was opened before this process was forked, and cannot be used here: {_ADVICE}"
    )


def refuse_if_lost() -> None:
    """Refuse to open anything in a child of a process that had a database open.

    Raises
    ------
    InterfaceError
        Lance's threads, of which a process has one set, stayed behind in the parent: a write would hang.
    """
    if _lost.is_set():
        raise InterfaceError(
            f"this process was forked from one that had opened an aios_db database, {_ADVICE}"
        )


def _before() -> None:
    # Else what other threads hold is destroyed with them, before `_in_child` is called.
    _held[:] = list(_open)


def _in_parent() -> None:
    _held.clear()


def _in_child() -> None:
    if _used.is_set():
        _lost.set()
    for each in _held:
        keep(each)
        each.abandon()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
