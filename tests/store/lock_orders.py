"""In which orders threads take the locks of the package, as the kernel's lockdep learns it.

Two threads that take two locks in opposite orders can wait for each other for good, and do so once in a long
while. The orders show without that: of each lock, known by where it is made, it is noted which others the
thread held when it asked.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from filelock import BaseFileLock

ROOT = Path(__file__).resolve().parent.parent.parent


class LockOrders:
    """The orders seen: ``before[a]`` has b where b was held as a was taken; the stack of the first time."""

    def __init__(self) -> None:
        self.before: dict[str, set[str]] = {}
        self.stacks: dict[tuple[str, str], str] = {}
        self._held = threading.local()

    def asked(self, name: str) -> None:
        """Note that this thread is about to take a lock."""
        held: list[str] = getattr(self._held, "names", [])
        if name in held:
            return  # a re-entrant lock, or one of the same kind of another database
        self.before.setdefault(name, set())
        for other in held:
            if other not in self.before[name]:
                self.before[name].add(other)
                self.stacks[other, name] = "".join(traceback.format_stack(sys._getframe(2), 12))

    def took(self, name: str) -> None:
        """Note that it has the lock."""
        if not hasattr(self._held, "names"):
            self._held.names = []
        self._held.names.append(name)

    def gave_back(self, name: str) -> None:
        """Note that it has let go of the lock; a file lock may be let go of by another thread."""
        names = getattr(self._held, "names", [])
        if name in names:
            names.reverse()
            names.remove(name)
            names.reverse()


class _Recorded:
    """A lock of the standard library that tells of itself."""

    def __init__(self, lock: Any, name: str, orders: LockOrders) -> None:
        self._lock, self._name, self._orders = lock, name, orders

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if blocking:
            self._orders.asked(self._name)
        taken: bool = self._lock.acquire(blocking, timeout)
        if taken:
            self._orders.took(self._name)
        return taken

    def release(self) -> None:
        self._lock.release()
        self._orders.gave_back(self._name)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()

    def __getattr__(self, name: str) -> Any:  # what a Condition asks of a lock
        return getattr(self._lock, name)


@contextmanager
def recorded(monkeypatch: Any) -> Iterator[LockOrders]:
    """Record the orders of the locks that modules of the package make meanwhile, and of file locks."""
    orders = LockOrders()

    def making(make: Any) -> Any:
        def lock() -> Any:
            name = _of_the_package(sys._getframe(1))
            return make() if name is None else _Recorded(make(), name, orders)

        return lock

    take, let_go = BaseFileLock.acquire, BaseFileLock.release

    def acquire(self: BaseFileLock, *args: Any, **options: Any) -> Any:
        name = Path(self.lock_file).name
        if options.get("blocking", True) and not self.is_locked:
            orders.asked(name)
        found = take(self, *args, **options)
        orders.took(name)
        return found

    def release(self: BaseFileLock, *args: Any, **options: Any) -> None:
        let_go(self, *args, **options)
        orders.gave_back(Path(self.lock_file).name)

    with monkeypatch.context() as patched:
        patched.setattr(threading, "Lock", making(threading.Lock))
        patched.setattr(threading, "RLock", making(threading.RLock))
        patched.setattr(BaseFileLock, "acquire", acquire)
        patched.setattr(BaseFileLock, "release", release)
        yield orders


def _of_the_package(frame: FrameType) -> str | None:
    """Return what names the lock that is made in a frame, if that is the package's."""
    file = Path(frame.f_code.co_filename)
    if not file.is_relative_to(ROOT) or file.is_relative_to(ROOT / "tests") or ".venv" in file.parts:
        return None
    return f"{file.relative_to(ROOT).with_suffix('')}:{frame.f_lineno}"
