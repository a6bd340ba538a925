"""DuckDB's exceptions as the ones of aios_db."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from aios_db.schema import errors
from aios_db.schema.errors import DatabaseError, Error
from aios_db.udfs.functions import ErrorBook


@contextmanager
def translated(book: ErrorBook) -> Iterator[None]:
    """Raise DuckDB's errors as the classes of the same PEP 249 name, and ours as they were first raised."""
    try:
        yield
    except duckdb.Error as error:
        raise (book.find(error) or _same_class(error)) from error


def _same_class(error: duckdb.Error) -> Error:
    for duckdb_class in type(error).__mro__:
        ours = getattr(errors, duckdb_class.__name__, None)
        if isinstance(ours, type) and issubclass(ours, Error):
            return ours(str(error))
    return DatabaseError(str(error))
