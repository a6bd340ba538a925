"""Declaring a Python function for SQL: Arrow in, Arrow out, errors kept for the caller.

Every Python function has an ``aios_`` name that is global in a DuckDB instance; what users call are the
macros in ``udfs/sql``, which can live in any schema and have named arguments with defaults.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa

from aios_db.schema.deadlines import Deadlines
from aios_db.schema.errors import Error
from aios_db.schema.shortage import shortage
from aios_db.udfs.types import sql_type

Handler = Callable[..., pa.Array]

_MARK = re.compile(r"\[aios error (\d+)\]")
_MOST_WAITING = 32


@dataclass(frozen=True)
class ScalarFunction:
    """One vectorised SQL function.

    Attributes
    ----------
    name
        Its name in SQL, starting with ``aios_``.
    parameters, returns
        Types of its arguments and of its result; see `aios_db.udfs.types`.
    handler
        Called as ``handler(store, *columns)`` with one Arrow array per argument, all of one length; returns
        an array of that length.
    trial
        Of a function that changes the database when it is called, what returns the like of its result and
        changes nothing; None where it only reads.
    at_end
        Of a function that changes the database: on a cursor of ours, which sees the statement's end, it does
        so then, and returns what ``trial`` says.
    retrieves
        Of a function that searches, the macro that finds with it: plans of queries that call that are kept.
    """

    name: str
    parameters: Sequence[pa.DataType]
    returns: pa.DataType
    handler: Handler
    trial: Handler | None = None
    at_end: bool = False
    retrieves: str = ""

    @property
    def writes(self) -> bool:
        """Whether it changes the database when it is called."""
        return self.trial is not None


class ErrorBook:
    """Keeps errors of SQL functions until they come out of DuckDB, which passes on their text alone.

    An error holds the frames that it went through, with all that is in them, so that it is handed out once.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, Error | KeyboardInterrupt] = {}
        self._number = itertools.count(1)

    def record(self, error: Error | KeyboardInterrupt) -> Error:
        """Return an error to raise in the function's place, marked so that `find` knows it again."""
        number = next(self._number)
        self._waiting[number] = error
        self._waiting.pop(number - _MOST_WAITING, None)  # on a connection of the user's own nobody looks
        marked = f"{error} [aios error {number}]"
        if isinstance(error, Error) and type(error).__init__ is Error.__init__:
            return type(error)(marked)
        return Error(marked)

    def find(self, error: duckdb.Error) -> Error | KeyboardInterrupt | None:
        """Return the error that DuckDB wrapped in this one, if it was one of ours, and keep it no longer."""
        for number in reversed(_MARK.findall(str(error))):
            found = self._waiting.pop(int(number), None)
            if found is not None:
                return found
        return None


def install(  # noqa: PLR0917 - each of another kind
    connection: duckdb.DuckDBPyConnection,
    functions: Sequence[ScalarFunction],
    current: Callable[[], Any],
    dimension: int,
    errors: ErrorBook,
    suffix: str = "",
    called: Callable[[str], bool] = lambda _: True,
    postpone: Callable[[str, Callable[[], object]], None] = lambda _, write: None,
    deadlines: Deadlines | None = None,
) -> list[Callable[..., pa.Array]]:
    """Register the functions in the DuckDB instance of ``connection``.

    Parameters
    ----------
    current
        Returns the store to work on, at each call.
    suffix
        Stands behind the functions' names, so that an instance can have those of two stores.
    called
        Is passed the token of each call of a function that writes, its last argument, before the call, and
        returns whether the call is to write.
    postpone
        Is passed the token of a call that is to write at its statement's end, and what writes it.
    deadlines
        By when the statements that call must have ended.

    Returns
    -------
    list
        What DuckDB calls. The caller keeps it: DuckDB calls a function that is gone where a prepared query
        still has it, or where the connection that registered it is closed before the others.
    """
    create_function: Any = connection.create_function  # its annotations know no type written as text
    deadlines = deadlines or Deadlines()
    calls = [_bind(function, current, errors, called, postpone, deadlines) for function in functions]
    for function, call in zip(functions, calls, strict=True):
        create_function(
            function.name + suffix,
            call,
            [sql_type(each, dimension) for each in function.parameters],
            sql_type(function.returns, dimension),
            type="arrow",
            null_handling="special",
            side_effects=True,  # a model, a table or a clock may change between two calls
        )
    return calls


def remove(
    connection: duckdb.DuckDBPyConnection, functions: Sequence[ScalarFunction], suffix: str = ""
) -> None:
    """Take the functions out of the DuckDB instance again."""
    for function in functions:
        connection.remove_function(function.name + suffix)


def _bind(  # noqa: PLR0917 - each of another kind
    function: ScalarFunction,
    current: Callable[[], Any],
    errors: ErrorBook,
    called: Callable[[str], bool],
    postpone: Callable[[str, Callable[[], object]], None],
    deadlines: Deadlines,
) -> Callable[..., pa.Array]:
    def call(*columns: pa.ChunkedArray) -> pa.Array:
        try:
            arrays = [_one_array(column) for column in columns]
            handler = function.handler
            if function.trial is not None:
                tokens = set(arrays.pop().to_pylist())
                if not all(called(str(token)) for token in tokens):
                    handler = function.trial
                    if function.at_end:
                        postpone(str(tokens.pop()), partial(function.handler, current(), *arrays))
            with deadlines.called():
                return handler(current(), *arrays)
        except (Error, KeyboardInterrupt) as error:
            raise errors.record(error) from error
        except (MemoryError, ImportError, OSError, RuntimeError) as error:
            told = shortage(function.name, error)
            if told is None:
                raise
            raise errors.record(told) from error

    # DuckDB counts the parameters in the signature.
    kind = inspect.Parameter.POSITIONAL_ONLY
    names = (f"argument{position}" for position in range(len(function.parameters)))
    call.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
    return call


def _one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
