"""Stopping a statement that takes too long or returns too much."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import TYPE_CHECKING, Any

from aios_db.schema.amounts import amount
from aios_db.schema.deadlines import Deadline, Deadlines
from aios_db.schema.errors import Error, OperationalError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_AGAIN_S = 0.02  # an interrupt between two calls of DuckDB's is forgotten
_BATCH = 8_192


@contextmanager
def deadline(
    database: duckdb.DuckDBPyConnection, deadlines: Deadlines, timeout_s: float | None
) -> Iterator[Deadline]:
    """Interrupt what a DuckDB connection does in the block when that takes longer than ``timeout_s``.

    What runs in Python there looks at the deadline itself; a write that has begun is not stopped. None is no
    limit: the deadline comes where it is interrupted.

    Raises
    ------
    OperationalError
        It did, and was stopped. What finishes all the same is left as it is.
    """
    if timeout_s is None:
        with deadlines.running(inf) as endless:
            yield endless
        return
    done, expired = threading.Event(), threading.Event()

    def watch() -> None:
        while True:
            left_s = found.left_s
            if left_s <= 0:
                expired.set()
                database.interrupt()
            if done.wait(_AGAIN_S if left_s in {0.0, inf} else min(left_s, threading.TIMEOUT_MAX)):
                return

    with deadlines.running(timeout_s) as found:
        watcher = threading.Thread(target=watch, name="aios-deadline", daemon=True)
        watcher.start()
        try:
            yield found
        except (Error, KeyboardInterrupt) as error:
            if not expired.is_set():
                raise
            raise found.error() from error
        finally:
            done.set()
            watcher.join()


def at_most(database: duckdb.DuckDBPyConnection, max_rows: int | None, *, written: bool = False) -> pa.Table:
    """Return the rows of a connection's last result.

    Parameters
    ----------
    written
        The statement has written already, and could not be refused before.

    Raises
    ------
    OperationalError
        There are more than ``max_rows``; None is no limit.
    """
    import pyarrow as pa

    if max_rows is None:
        return database.to_arrow_table()
    reader: Any = database.to_arrow_reader(min(max_rows + 1, _BATCH))
    batches, count = [], 0
    for batch in reader:
        batches.append(batch)
        count += len(batch)
        if count > max_rows:
            reader.close()  # else DuckDB could not roll back
            raise too_many(max_rows, written=written)
    return pa.Table.from_batches(batches, reader.schema)


def may_change(statement: duckdb.Statement) -> bool:
    """Tell whether a statement may change rows and return some."""
    import duckdb

    kinds = duckdb.StatementType
    return statement.type in {kinds.INSERT, kinds.UPDATE, kinds.DELETE, kinds.MERGE_INTO, kinds.EXECUTE}


@contextmanager
def undone_if_refused(
    database: duckdb.DuckDBPyConnection, statement: duckdb.Statement, *, in_transaction: bool
) -> Iterator[Callable[[], None]]:
    """Let a statement on tables of DuckDB's own change nothing where the block raises.

    Yields
    ------
    Callable
        Makes the change last: to be called when the rows have been read, and before they are handed out.
    """
    import duckdb

    if not may_change(statement):
        yield lambda: None
        return
    ours = not in_transaction
    if ours:
        database.begin()

    def keep() -> None:
        nonlocal ours
        if ours:
            ours = False
            database.commit()

    try:
        yield keep
        keep()
    except BaseException:
        with suppress(duckdb.Error):
            if ours:
                database.rollback()
            elif in_transaction:  # which cannot be committed any more, as after any other error in it
                database.execute("SELECT error('refused')").fetchall()
        raise


def too_many(max_rows: int, *, written: bool = False) -> OperationalError:
    """Return the error for a result of more rows than are allowed."""
    done = "; what the statement writes had been written by then" if written else ""
    return OperationalError(
        f"the result has more than {amount(max_rows, 'row')}, the max_rows of the connection; add a LIMIT, "
        f"or count and group in SQL{done}"
    )
