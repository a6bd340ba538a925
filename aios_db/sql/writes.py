"""Carrying out what a statement writes: the calls that it returned, at its end, one commit per function.

In SQL a call of `remember`, `forget`, `erase` or `link` is a struct of its arguments (`udfs/writing.py`),
so a statement that fails has written nothing, and neither have the rows that it did not return. A call
anywhere else than in an output column of its own would be lost with the rows it is counted, filtered or
joined in; such a statement is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from aios_db.schema.errors import NotSupportedError
from aios_db.sql.statements import only_defines, only_explains
from aios_db.sql.trees import nodes, text_of, tree_of
from aios_db.udfs.macros import quoted
from aios_db.udfs.protocols import MemoryWriter
from aios_db.udfs.registry import DEFERRED, FUNCTIONS
from aios_db.udfs.writing import Bound, DeferredWrite, WriteGuard

NOT_IN_A_TRANSACTION = (
    "memories and links are durable as soon as they are written and cannot be rolled back: commit or roll "
    "back the transaction first, then write them"
)
# The result of a statement that wrote, as a relation of its cursor.
WRITTEN = "aios_written"

_DEFERRED = frozenset(each.name for each in DEFERRED)
_WORDS = _DEFERRED | {each.name.removeprefix("aios_") for each in FUNCTIONS if each.writes}
_AT_ONCE = _WORDS - _DEFERRED
_A_WORD = re.compile(rf"\b(?:{'|'.join(sorted(_WORDS))})\b", re.IGNORECASE)
_PREPARED = {duckdb.StatementType.PREPARE, duckdb.StatementType.EXECUTE}


def check(statement: duckdb.Statement, name: str, *, in_transaction: bool) -> None:
    """Raise when a statement that calls a writing function could not carry it out.

    Raises
    ------
    NotSupportedError
        A transaction is open, the statement is prepared, or what the call returns would be lost in it.
    """
    if only_defines(statement) or only_explains(statement):
        return
    select = statement.type == duckdb.StatementType.SELECT
    if in_transaction and not (select and name in _DEFERRED):
        raise NotSupportedError(
            NOT_IN_A_TRANSACTION
        )  # which ends the transaction, as any error while binding does
    if statement.type in _PREPARED:
        raise _prepared(name)
    if not select:
        raise misplaced(name) if name in _DEFERRED else _not_alone(name)


def called(database: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> str | None:
    """Return the writing function that a SELECT calls by name, if any, even where DuckDB does not look."""
    if statement.type != duckdb.StatementType.SELECT or not _A_WORD.search(statement.query):
        return None  # to parse a SELECT takes milliseconds
    for node in nodes(tree_of(database, statement.query)):
        name = str(node.get("function_name")).lower()
        if node.get("class") == "FUNCTION" and name in _WORDS and not node.get("catalog"):
            return name
    return None


def refuse_lost(statement: duckdb.Statement, bound: Bound) -> None:
    """Raise when DuckDB has run a statement without a call in it that writes at once."""
    name = bound.lost(_AT_ONCE)
    if name and not only_defines(statement) and not only_explains(statement):
        raise NotSupportedError(
            f"{name}: DuckDB left the call out, since the statement needs none of its rows (WHERE false, "
            f"LIMIT 0, …); nothing was written. Let FROM {name}(…) be a statement of its own"
        )


def writes_at_once(bound: Bound) -> bool:
    """Tell whether a SELECT that has been tried calls a function that writes when it is called.

    Raises
    ------
    NotSupportedError
        Something else in it writes, too: one could fail when the other has written.
    """
    names = [name for name in bound if name in _AT_ONCE]
    if len(set(bound)) > 1 or bound.calls > 1:
        raise NotSupportedError(
            f"{', '.join(sorted(set(bound)))}: a statement writes in one commit, so that it writes all or "
            "nothing; nothing was written. Make two statements of it"
        )
    return bool(names)


def refuse_prepared(description: Sequence[Sequence[Any]]) -> None:
    """Raise when a prepared statement returned a call, which nobody saw being bound."""
    for column in description:
        for write in DEFERRED:
            if str(column[1]).startswith(f'STRUCT("{write.tag}" '):
                raise _prepared(write.name)


def misplaced(name: str) -> NotSupportedError:
    """Return the error for a call whose effect would be lost."""
    where = "an output column of the outermost SELECT, alone, and nothing is computed from it"
    return NotSupportedError(
        f"{name}: a statement writes what it returns, so the call has to be {where}; nothing was written. "
        "Make it one, or give a list to remember_all, update_all, forget_all, erase_all or link_all"
    )


def _not_alone(name: str) -> NotSupportedError:
    return NotSupportedError(
        f"{name}: its list is written by a SELECT, which is tried before it writes; nothing was written. Let "
        f"FROM {name}(…) be a statement of its own"
    )


def _prepared(name: str) -> NotSupportedError:
    return NotSupportedError(
        f"{name} in a prepared statement: give the parameters to execute(sql, parameters) instead"
    )


def columns_of(table: pa.Table) -> list[tuple[int, DeferredWrite]]:
    """Return the places of the columns that hold calls, and the function of each."""
    return [
        (place, write)
        for place, field in enumerate(table.schema)
        for write in DEFERRED
        if write.is_type(field.type)
    ]


def refuse_misplaced(  # noqa: PLR0917 - a statement is its text and its parameters
    database: duckdb.DuckDBPyConnection,
    guard: WriteGuard,
    query: str,
    parameters: Any,
    result: pa.Table,
    bound: Sequence[str],
) -> None:
    """Raise unless every deferred call among those ``bound`` in a SELECT is an output column of it.

    DuckDB's parser gives the statement as a tree; there each call among the output columns is exchanged for
    the row of its arguments, and DuckDB binds what is left. If that still calls one, it is misplaced.

    Raises
    ------
    NotSupportedError
        A call is elsewhere.
    """
    name = next((each for each in bound if each in _DEFERRED), None)
    if name is None:
        return
    places = [place for place, _ in columns_of(result)]
    tree = tree_of(database, query)
    select = tree["statements"][0]["node"] if tree and len(tree["statements"]) == 1 else {}
    if not places or select.get("type") != "SELECT_NODE":
        raise misplaced(name)
    items = _items(select["select_list"], result.num_columns)
    for place in places:
        if place not in items or items[place]["class"] != "FUNCTION":
            raise misplaced(result.column_names[place])
        _into_row(items[place])
    text = text_of(database, tree)
    with guard.watching(lambda _: None) as left:
        try:
            database.execute(f"EXPLAIN {text}", parameters).fetchall()
        except duckdb.Error as error:
            raise misplaced(result.column_names[places[0]]) from error
    for each in left:
        if each in _DEFERRED:
            raise misplaced(each)


def carry_out(
    store: MemoryWriter, result: pa.Table, columns: Sequence[tuple[str, str]]
) -> tuple[pa.Table, str]:
    """Write what the calls of a result ask for.

    Parameters
    ----------
    columns
        Name and SQL type of each column of the result.

    Returns
    -------
    tuple of pa.Table and str
        The result with what each call returned in its place, columns named by number; and the query that
        reads it as `WRITTEN`, with the names and types that the statement has.
    """
    types = [type_ for _, type_ in columns]
    values = [column.combine_chunks() for column in result.columns]
    for write in DEFERRED:
        places = [place for place, each in columns_of(result) if each is write]
        for place in places:
            types[place] = write.returns
        if places:
            arguments = [_array(pc.struct_field(values[place], 0)) for place in places]
            returned = write.apply(store, pa.concat_arrays(arguments)) if result.num_rows else None
            for number, place in enumerate(places):
                start = number * result.num_rows
                values[place] = pa.nulls(0) if returned is None else returned.slice(start, result.num_rows)
    names = [name for name, _ in columns]
    return readable(values, list(zip(names, types, strict=True)))


def readable(
    values: Sequence[pa.Array | pa.ChunkedArray], columns: Sequence[tuple[str, str]]
) -> tuple[pa.Table, str]:
    """Return columns named by number, and the query that reads them as `WRITTEN`, named and typed so."""
    names = [f"c{number}" for number in range(len(values))]
    read = (
        f"{name} AS {quoted(column)}" if type_ == '"NULL"' else f"{name}::{type_} AS {quoted(column)}"
        for name, (column, type_) in zip(names, columns, strict=True)
    )
    query = f"SELECT {', '.join(read)} FROM {WRITTEN}"  # noqa: S608 - names and types of DuckDB's own
    return pa.table(list(values), names=names), query


def _array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _items(select_list: list[dict[str, Any]], columns: int) -> dict[int, dict[str, Any]]:
    """Return the items of a SELECT by their output column; those between two stars are not known."""
    items: dict[int, dict[str, Any]] = {}
    stars = [place for place, item in enumerate(select_list) if item["class"] == "STAR" or _has_star(item)]
    first, last = (stars[0], stars[-1]) if stars else (len(select_list), -1)
    for place, item in enumerate(select_list):
        if place < first:
            items[place] = item
        elif place > last:
            items[columns - len(select_list) + place] = item
    return items


def _has_star(item: dict[str, Any]) -> bool:
    return any(node.get("class") == "STAR" for node in nodes(item))


def _into_row(call: dict[str, Any]) -> None:
    """Make ``row(arguments)`` of a call; DuckDB 1.5 has them as children, 2.0 as arguments with names."""
    named = call.get("arguments", [])
    given = call.get("children", [each["expression"] for each in named])
    for each in named:
        each["name"] = ""
    for each in given:
        each["alias"] = ""
    call["function_name"] = "row" if given else "pi"
    call["schema"] = call["catalog"] = ""
    if "qualified_name" in call:
        call["qualified_name"] = {"path": [call["function_name"]]}
