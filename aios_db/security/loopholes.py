"""What DuckDB itself lets through although its configuration is locked."""

from __future__ import annotations

import itertools

import duckdb

from aios_db.schema.errors import NotSupportedError

# DuckDB 1.5 looks at no lock in enable_logging: with storage='file' it then fails each later statement of the
# instance, and ends the process. The other two run SQL that is in a value, in which it could hide.
_REFUSED = frozenset({"enable_logging", "disable_logging", "query", "json_execute_serialized_sql"})
_AFFECTED = duckdb.__version__.startswith("1.")


def refuse(statement: duckdb.Statement) -> None:
    """Refuse, on a connection without external access, calls that would get around it.

    Raises
    ------
    NotSupportedError
        The statement makes such a call; nothing was run.
    """
    name = _called(statement.query) if _AFFECTED else None
    if name is not None:
        raise NotSupportedError(
            f"{name} is refused on a connection without external access, since DuckDB {duckdb.__version__} "
            "could be made to log to a file through it; with DuckDB 2 it is not needed to"
        )


def _called(query: str) -> str | None:
    text = query.encode()
    starts = [start for start, kind in duckdb.tokenize(query) if kind != duckdb.token_type.comment]
    tokens = [
        text[start:end].decode("utf-8", "replace") for start, end in itertools.pairwise([*starts, len(text)])
    ]
    for token, following in itertools.pairwise([*tokens, ""]):
        name = token.split("--")[0].split("/*")[0].strip().strip('"').lower()
        if name in _REFUSED and following.startswith("("):
            return name
        if name in {"json_execute_serialized_sql", "enable_logging"}:
            return name
    return None
