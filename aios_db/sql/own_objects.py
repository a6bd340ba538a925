"""The views and macros of the database on its own connections, which no statement may replace or drop."""

from __future__ import annotations

from functools import cache

import duckdb

from aios_db.schema.errors import NotSupportedError
from aios_db.sql.statements import dotted_name, words
from aios_db.udfs import registry

HERE: tuple[list[str], ...] = ([], ["main"], ["temp"], ["temp", "main"])
"""How the names of the views and macros may be qualified."""

_CREATE, _EXPLAIN = duckdb.StatementType.CREATE, duckdb.StatementType.EXPLAIN
# EXPLAIN ANALYZE runs what it explains.
_DEFINES = {_CREATE, duckdb.StatementType.DROP, duckdb.StatementType.ALTER, _EXPLAIN}
_BEFORE_KIND = {
    "explain", "analyze", "analyse", "create", "drop", "alter", "or", "replace", "temp", "temporary",
    "persistent", "local", "global", "recursive", "unlogged",
}  # fmt: skip
_BEFORE_NAME = {"table", "if", "not", "exists"}
_RELATIONS, _MACROS = {"table", "view"}, {"macro", "function"}


def refuse_change(statement: duckdb.Statement) -> None:
    """Raise when a statement defines, alters or drops what has the name of one of the database's objects.

    So it is with a macro by the name of a function of DuckDB's, in whatever schema, since those of the
    database call these by their bare names.

    Raises
    ------
    NotSupportedError
        It does; nothing was run.
    """
    if statement.type not in _DEFINES:
        return
    rest = [word for word, depth in words(statement.query) if depth == 0]
    while rest and rest[0] in _BEFORE_KIND:
        del rest[0]
    kind = rest.pop(0) if rest else ""
    if kind not in _RELATIONS | _MACROS:
        return
    while rest and rest[0] in _BEFORE_NAME:
        del rest[0]
    *place, name = dotted_name(rest)
    if place in HERE and (is_relation(name) if kind in _RELATIONS else _is_macro(name)):
        raise NotSupportedError(
            f"{name} is a {kind} of the database, and is neither replaced nor dropped; choose another name, "
            "or a schema of your own. To delete all memories, delete the rows"
        )
    if kind in _MACROS and (name.startswith("aios_") or name in _functions()):
        raise NotSupportedError(
            f"{name} is a function that recall and other macros of the database call, and it is not "
            "replaced; choose another name"
        )


def is_relation(name: str) -> bool:
    """Tell whether a table or view of the database has this name, in lower case."""
    hidden = {f"lance_{table}" for table in registry.TABLES}
    return name in {*registry.TABLES, *registry.VIEWS, *hidden}


def _is_macro(name: str) -> bool:
    return name.startswith("aios_") or name in _macros()


@cache
def _functions() -> frozenset[str]:
    """Return the names of the functions of DuckDB itself."""
    with duckdb.connect() as plain:
        rows = plain.execute("SELECT DISTINCT lower(function_name) FROM duckdb_functions()").fetchall()
    return frozenset(name for (name,) in rows)


@cache
def _macros() -> frozenset[str]:
    return frozenset(item.name for item in registry.sql_objects() if item.kind == "MACRO")
