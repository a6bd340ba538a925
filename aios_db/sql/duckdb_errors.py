"""DuckDB's exceptions as the ones of aios_db."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from aios_db.schema import errors
from aios_db.schema.errors import DatabaseError, Error, NotSupportedError, OperationalError, ProgrammingError
from aios_db.schema.shortage import shortage
from aios_db.sql.writes import misplaced
from aios_db.udfs.functions import ErrorBook

_NO_TIME_TRAVEL = "does not support time travel"  # what its binder says of AT, but for a few formats
_NO_BASE_TABLE = (  # what its binder says of writing to a view
    "memories is not an table",
    "association_links is not an table",
    "Can only update base table",
    "Can only delete from base table",
    "Can only insert into base table",
    "can only create an index on a base table",
)
_INSTEAD = (
    "memories and association_links are views to DuckDB; INSERT, UPDATE and DELETE of them are statements of "
    "their own: INSERT INTO memories (text, …) SELECT … FROM 'file.csv' in the place of COPY, and parameters "
    "to execute(sql, parameters) in that of PREPARE"
)
# What a call that writes is until the statement ends, where something else than an output column was wanted.
_CALL_AS_A_VALUE = re.compile(r'STRUCT\("aios (\w+)"')
_NO_VALUE = "Unable to cast Python instance of type <class 'str'>"  # what DuckDB 1.5 says of a lone surrogate
_INTERRUPTED_READER = "INTERRUPT Error"
_INTERRUPTED = "Query interrupted"  # what DuckDB raises in a KeyboardInterrupt's place
# What it says of one in Python code that it called: a function, a dataset's schema, scan or batches.
_INTERRUPTED_IN_PYTHON = re.compile(
    r"(?:^|failed: |executing the UDF: |External error: |\n)KeyboardInterrupt(?:: |\n|$)"
)
_NOT_FOUND = re.compile(r"External error: .*?Not found: (.+?\.lance/[^,\n]*)")  # by Lance


@contextmanager
def translated(book: ErrorBook) -> Iterator[None]:
    """Raise DuckDB's errors as the classes of the same PEP 249 name, and ours as they were first raised.

    Ctrl-C is a `KeyboardInterrupt`, wherever DuckDB was when it came.
    """
    try:
        yield
    except duckdb.Error as error:
        raise (book.find(error) or _interrupt(error) or _same_class(error)) from error
    except ValueError as error:  # DuckDB 2 parses statements that its Python client has no name for
        if "StatementType" not in str(error):
            raise
        raise NotSupportedError("DuckDB's Python client does not know this kind of statement") from error
    except OSError as error:  # Arrow's, of a reader of DuckDB's rows
        if _INTERRUPTED_READER not in str(error):
            raise
        raise OperationalError("the statement was interrupted") from error
    except (MemoryError, ImportError) as error:
        raise (shortage("the statement", error) or error) from error
    except RuntimeError as error:
        if _NO_VALUE in str(error):
            raise ProgrammingError("DuckDB's Python client takes no text with half a letter") from error
        if str(error) != _INTERRUPTED:
            raise
        raise KeyboardInterrupt from error


def _interrupt(error: duckdb.Error) -> KeyboardInterrupt | OperationalError | None:
    if isinstance(error, duckdb.InterruptException):
        return OperationalError("the statement was interrupted")
    return KeyboardInterrupt() if _INTERRUPTED_IN_PYTHON.search(str(error)) else None


def _same_class(error: duckdb.Error) -> Error:
    if _NO_TIME_TRAVEL in str(error):
        return NotSupportedError(
            "DuckDB reads no view at another time: AT (VERSION => n) and AT (TIMESTAMP => t) do not work "
            "here; the memories of a version or a time are FROM memories_at(…), and recall(…, as_of := …) "
            "asks what was known then"
        )
    if missing := _NOT_FOUND.search(str(error)):
        return OperationalError(
            f"{missing[1]} was not found: another process has erased or cleaned up what was read, so run it "
            "again; where it is not found then, aios doctor says what is lost"
        )
    if call := _CALL_AS_A_VALUE.search(str(error)):
        return misplaced(call[1])
    if any(said in str(error) for said in _NO_BASE_TABLE):
        return NotSupportedError(f"{error}. {_INSTEAD}")
    for duckdb_class in type(error).__mro__:
        ours = getattr(errors, duckdb_class.__name__, None)
        if isinstance(ours, type) and issubclass(ours, Error):
            return ours(str(error))
    return DatabaseError(str(error))
