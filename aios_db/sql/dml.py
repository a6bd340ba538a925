"""INSERT, UPDATE and DELETE on `memories` and `association_links`, as DuckDB understands them.

In a transaction that is rolled back, the view gives way to a temporary table of the same name, columns and
rows. DuckDB runs the statement on that, with all of its syntax, types and parameters; the rows that differ
afterwards are what the store is told to insert, change or delete, in one commit.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import duckdb
import pyarrow as pa

from aios_db.schema import association_links, memories
from aios_db.schema.errors import NotSupportedError, ProgrammingError
from aios_db.schema.sources import SQL
from aios_db.security import limits
from aios_db.sql.one_row import one_row
from aios_db.sql.own_objects import HERE
from aios_db.sql.statements import dotted_name, returning, words
from aios_db.udfs.macros import quoted

Result = tuple[pa.Table, list[tuple[str, str]]]
"""Rows, and name and SQL type of each column."""

_LARGE = ("media", "text_embedding", "association_links")
_BEFORE_NAME = {"into", "from", "only", "table", "or", "replace", "ignore"}
_GIVEN = "aios_given"
_BEFORE = "aios_before"


class Store(Protocol):
    """What changes the tables."""

    def remember(self, rows: pa.Table, *, entry: str = ...) -> list[str]:
        """Insert memories."""
        ...

    def update(self, rows: pa.Table) -> int:
        """Change columns of memories."""
        ...

    def forget(self, memories: Sequence[str]) -> int:
        """Delete memories."""
        ...

    def link(self, links: pa.Table, *, exactly: bool = False) -> int:
        """Insert links, or give them a greater weight; ``exactly``, this one."""
        ...

    def unlink(self, links: pa.Table) -> int:
        """Delete links."""
        ...


@dataclass(frozen=True)
class Target:
    """A table of the database that a statement changes."""

    table: str
    verb: str
    query: str

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that name a row."""
        return (memories.KEY,) if self.table == memories.TABLE else ("source_id", "target_id", "kind")

    @property
    def writable(self) -> Sequence[str]:
        """The columns that a statement may give values to."""
        if self.table == memories.TABLE:
            return memories.WRITABLE
        return ("source_id", "target_id", "kind", "weight") if self.verb == "insert" else ("weight",)

    @property
    def reads(self) -> bool:
        """Whether the statement needs the rows that are there: all but an INSERT from elsewhere do."""
        return self.verb != "insert" or self.query.lower().count(self.table) > 1


def target_of(statement: duckdb.Statement) -> Target | None:
    """Return which table of the database a statement changes, if any.

    Raises
    ------
    NotSupportedError
        It is a MERGE, or an INSERT with ON CONFLICT.
    """
    kinds = duckdb.StatementType
    if statement.type not in {kinds.INSERT, kinds.UPDATE, kinds.DELETE, kinds.MERGE_INTO}:
        return None
    query = statement.query
    if not any(table in query.lower() for table in (memories.TABLE, association_links.TABLE)):
        return None
    outer = [word for word, depth in words(query) if depth == 0]
    verb = next(word for word in outer if word in {"insert", "update", "delete", "truncate", "merge"})
    name = dotted_name(itertools.dropwhile(_BEFORE_NAME.__contains__, outer[outer.index(verb) + 1 :]))
    if name[-1] not in {memories.TABLE, association_links.TABLE} or name[:-1] not in HERE:
        return None
    if verb == "merge" or "conflict" in outer or outer[outer.index(verb) + 1] == "or":
        raise NotSupportedError(
            f"{name[-1]}: MERGE, ON CONFLICT and INSERT OR … are not for this table; a plain INSERT of what "
            "is there already gives it the new values"
        )
    return Target(name[-1], "delete" if verb == "truncate" else verb, query)


def run(  # noqa: PLR0917 - a statement, and what it works on
    database: duckdb.DuckDBPyConnection,
    target: Target,
    statement: duckdb.Statement,
    parameters: Sequence[Any],
    store: Store,
    see_newest: Callable[[], None],
    max_rows: int | None = None,
) -> tuple[int, Result | None]:
    """Run a statement once for each of ``parameters``, and carry it out in one commit.

    Returns
    -------
    tuple of int and Result or None
        How many rows it changed, and what it returns, if it does.

    Raises
    ------
    OperationalError
        It returns more than ``max_rows``; nothing is written then.
    """
    clause = returning(target.query)
    count, result = 0, None
    with _shadow(database, target):
        for each in parameters:
            database.execute(statement, each) if each is not None else database.execute(statement)
            columns = [(column[0], str(column[1])) for column in database.description or []]
            rows = limits.at_most(database, max_rows if clause else None)
            if clause:
                result = rows, columns
            count += rows.num_rows if clause else rows.column(0)[0].as_py()
        changes = _changes(database, target)
    if target.verb == "insert":
        keys = _insert(target, store, changes)
        if clause:
            see_newest()
            result = _inserted(database, target, clause, keys)
    elif changes.num_rows:
        _change(target, store, changes)
    return count, result


@contextmanager
def _shadow(database: duckdb.DuckDBPyConnection, target: Target) -> Iterator[None]:
    """Put a table in the place of a view, and undo everything afterwards."""
    table, lowered = target.table, target.query.lower()
    whole = "*" in lowered or "columns" in lowered
    fields = database.execute(f"SELECT column_name, column_type FROM (DESCRIBE lance_{table})").fetchall()
    columns = ", ".join(
        "metadata::JSON AS metadata"  # so that DuckDB makes JSON of a struct or a map
        if name == "metadata"
        else quoted(name)
        if name not in _LARGE or whole or name in lowered
        else f"NULL::{type_} AS {quoted(name)}"
        for name, type_ in fields
    )
    begun = True
    try:
        try:
            database.begin()
        except duckdb.Error:
            begun = False
            raise
        database.execute(f"DROP VIEW temp.main.{table}")
        rows = "" if target.reads else " LIMIT 0"
        database.execute(f"CREATE TEMP TABLE {table} AS SELECT {columns} FROM lance_{table}{rows}")
        database.execute(f"CREATE TEMP TABLE {_BEFORE} AS FROM {table}")
        yield
    finally:
        if begun:
            with suppress(duckdb.TransactionException):  # an interrupt may have come before it began
                database.rollback()


def _changes(database: duckdb.DuckDBPyConnection, target: Target) -> pa.Table:
    """Return the rows to insert, the keys and new values of those to change, or the keys to delete."""
    table, key = target.table, ", ".join(target.key)
    if target.verb == "insert":
        # A temporary table numbers its rows in the order of insertion.
        new = f"FROM {table} ORDER BY rowid OFFSET (SELECT count(*) FROM {_BEFORE})"
        return database.execute(new).to_arrow_table()
    if target.verb == "delete":
        return database.execute(
            f"SELECT {key} FROM {_BEFORE} ANTI JOIN {table} USING ({key})"
        ).to_arrow_table()
    lost = one_row(database, f"SELECT count(*) FROM {_BEFORE} ANTI JOIN {table} USING ({key})")
    if lost and lost[0]:
        raise ProgrammingError(f"UPDATE {table}: {key} cannot be changed; it is what names the row")
    names = [row[0] for row in database.execute(f"SELECT column_name FROM (DESCRIBE {table})").fetchall()]
    others = [name for name in names if name not in target.key]
    tests = {name: f"a.{quoted(name)} IS DISTINCT FROM b.{quoted(name)}" for name in others}
    joined = f"FROM {table} a JOIN {_BEFORE} b USING ({key})"
    found = one_row(database, f"SELECT {', '.join(f'bool_or({test})' for test in tests.values())} {joined}")
    changed = [name for name, is_changed in zip(others, found or (), strict=True) if is_changed]
    _refuse_unwritable(target, changed)
    chosen = ", ".join(f"a.{quoted(name)}" for name in [*target.key, *changed])
    where = " OR ".join(tests[name] for name in changed) or "false"
    return database.execute(f"SELECT {chosen} {joined} WHERE {where}").to_arrow_table()


def _insert(target: Target, store: Store, rows: pa.Table) -> pa.Table:
    """Insert rows; return their keys in order."""
    given = [name for name in rows.column_names if rows[name].null_count < rows.num_rows]
    _refuse_unwritable(target, given)
    rows = rows.select(given)
    if target.table == memories.TABLE:
        ids = store.remember(rows, entry=SQL) if rows.num_rows else []
        return pa.table({memories.KEY: pa.array(ids, pa.string())})
    if rows.num_rows:
        store.link(rows)
        if "kind" not in given:
            rows = rows.append_column("kind", pa.array(["user"] * rows.num_rows))
    return rows.select([name for name in target.key if name in rows.column_names])


def _change(target: Target, store: Store, rows: pa.Table) -> None:
    ids = rows[memories.KEY].to_pylist() if target.table == memories.TABLE else []
    if target.verb == "update":
        if target.table == memories.TABLE:
            store.update(rows)
        else:
            store.link(rows, exactly=True)
    elif target.table == memories.TABLE:
        store.forget(ids)
    else:
        store.unlink(rows)


def _inserted(database: duckdb.DuckDBPyConnection, target: Target, clause: str, keys: pa.Table) -> Result:
    """Return what a RETURNING clause says of the rows as they are stored."""
    numbered = keys.append_column("place", pa.array(range(keys.num_rows), pa.int64()))
    database.register(_GIVEN, numbered)
    try:
        key = ", ".join(target.key)
        cursor = database.execute(
            f"SELECT {clause} FROM (SELECT s.* FROM {_GIVEN} g JOIN lance_{target.table} s USING ({key}) "
            f"ORDER BY g.place) AS {target.table}"
        )
        columns = [(column[0], str(column[1])) for column in cursor.description or []]
        return cursor.to_arrow_table(), columns
    finally:
        database.unregister(_GIVEN)


def _refuse_unwritable(target: Target, names: Sequence[str]) -> None:
    for name in names:
        if name not in target.writable:
            raise ProgrammingError(
                f"{target.verb.upper()} {target.table}: {name} is filled in by the database; give "
                f"{', '.join(target.writable)}"
            )
