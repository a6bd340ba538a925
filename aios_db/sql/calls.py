"""Which functions a SELECT calls, behind whatever macros of the user's."""

from __future__ import annotations

from collections.abc import Iterator, Set

import duckdb

from aios_db.sql.trees import nodes, tree_of

_MACROS = """
SELECT macro_definition FROM duckdb_functions()
WHERE lower(function_name) = ? AND function_type IN ('macro', 'table_macro') AND NOT internal
"""


def calls_any(database: duckdb.DuckDBPyConnection, query: str, wanted: Set[str]) -> bool:
    """Tell whether a SELECT calls one of these functions, itself or in a macro that it calls."""
    seen: set[str] = set()
    waiting = [query]
    while waiting:
        for name in set(_called(database, waiting.pop())) - seen:
            if name in wanted:
                return True
            seen.add(name)
            waiting += [row[0] for row in database.execute(_MACROS, [name]).fetchall() if row[0]]
    return False


def _called(database: duckdb.DuckDBPyConnection, text: str) -> Iterator[str]:
    """Yield the functions in the text of a SELECT, or of an expression."""
    for node in nodes(tree_of(database, text) or tree_of(database, f"SELECT {text}")):
        if node.get("class") == "FUNCTION":
            yield str(node.get("function_name")).lower()
