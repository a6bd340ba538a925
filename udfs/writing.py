"""Functions of SQL that write.

DuckDB does not promise how often it calls a function: before a LIMIT it calls it for every row, and not at
all where nothing uses the result. So `remember`, `forget`, `erase` and `link` are values in SQL, a struct of
their arguments, and the cursor writes those that a statement has returned (`aios_db/sql/writes.py`). Their
macros also call a function that DuckDB evaluates while it binds a statement: it is told of every call,
behind whatever macros and views it stands, and refuses those that nobody would carry out.
"""

from __future__ import annotations

import secrets
import threading
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from aios_db.schema.errors import Error, NotSupportedError
from aios_db.udfs.functions import ErrorBook
from aios_db.udfs.protocols import MemoryWriter

MARK = "aios_writes"
SITE = "aios_call"
KEY = "written"
_TAG = "aios "


@dataclass(frozen=True)
class DeferredWrite:
    """One writing function whose calls are carried out at the end of their statement.

    Attributes
    ----------
    name
        Its name in SQL.
    returns
        SQL type of what a call returns.
    apply
        Called once per statement as ``apply(store, arguments)``, with an array of one argument per call;
        returns an array of that length.
    instead
        What to write on a connection of the user's own, where nobody sees the end of a statement.
    """

    name: str
    returns: str
    apply: Callable[[MemoryWriter, pa.Array], pa.Array]
    instead: str

    @property
    def tag(self) -> str:
        """The name of the one field of the struct that a call is in SQL."""
        return _TAG + self.name

    def is_type(self, type_: pa.DataType) -> bool:
        """Tell whether values of this Arrow type are calls of this function."""
        return bool(pa.types.is_struct(type_)) and type_.num_fields == 1 and type_.field(0).name == self.tag


Check = Callable[[str], None]


class Bound(list[str]):
    """The names of the calls in a statement; of those that write at once, which were made.

    Parameters
    ----------
    trying
        These only return what they would return, and write nothing.
    """

    def __init__(self, *, trying: bool = False) -> None:
        super().__init__()
        self.trying, self.calls = trying, 0
        self.sites: dict[str, str] = {}  # by token, the function that a call in the text is of
        self.made: set[str] = set()
        self.postponed: list[Callable[[], object]] = []  # what writes when the statement has ended

    def lost(self, names: Collection[str]) -> str | None:
        """Return which of these functions the statement calls and DuckDB never did, if any."""
        for token, name in self.sites.items():
            if token not in self.made:
                return name
        found = set(self.sites.values())
        return next((each for each in self if each in names and each not in found), None)


class WriteGuard:
    """Is told of every call of a writing function when the statement with it is bound.

    DuckDB binds on the thread that asks it to, so what is noted and allowed is kept per thread.
    """

    def __init__(self, errors: ErrorBook, instead: dict[str, str]) -> None:
        self._errors, self._instead = errors, instead
        self._local = threading.local()
        self._unwatched = secrets.token_hex(8)
        self._bound: weakref.WeakValueDictionary[str, Bound] = weakref.WeakValueDictionary()

    @contextmanager
    def watching(self, check: Check, *, trying: bool = True) -> Iterator[Bound]:
        """In the block, pass the name of each bound call to ``check``, which may raise; yield the names.

        While ``trying``, functions that write at once return what they would return, and write nothing.
        """
        before = getattr(self._local, "watch", None)
        bound = Bound(trying=trying)
        self._local.watch = (check, bound)
        try:
            yield bound
        finally:
            self._local.watch = before

    def bind(self, name: str) -> str:
        """Note a call. This is the SQL function `MARK`, which DuckDB evaluates while it binds."""
        watch = getattr(self._local, "watch", None)
        try:
            if watch is not None:
                watch[1].append(name)
                watch[0](name)
            elif name in self._instead:
                raise NotSupportedError(
                    f"{name} in a SELECT writes what the statement returns, and only a cursor of "
                    f"aios_db.connect sees its end; here write {self._instead[name]}"
                )
        except Error as error:
            raise self._errors.record(error) from error
        return KEY

    def site(self, name: str) -> str:
        """Return a token for a call. This is the SQL function `SITE`, evaluated when DuckDB optimises."""
        watch = getattr(self._local, "watch", None)
        if watch is None:
            return self._unwatched
        token = secrets.token_hex(8)
        watch[1].sites[token] = name
        self._bound[token] = watch[1]
        return token

    def postpone(self, token: str, write: Callable[[], object]) -> None:
        """Note what a call that was made is to write at its statement's end."""
        bound = self._bound.get(token)
        if bound is not None:
            bound.postponed.append(write)

    def called(self, token: str) -> bool:
        """Note that a call is made; return whether it is to write.

        Raises
        ------
        NotSupportedError
            Nobody gave out its token: it is no call of one of our macros.
        """
        bound = self._bound.get(token)
        if bound is not None:
            bound.made.add(token)
            bound.calls += 1
            return not bound.trying
        if token != self._unwatched:
            raise NotSupportedError(
                "functions named aios_… are internal; call remember_all, update_all, forget_all, …"
            )
        return True
