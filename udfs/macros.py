"""Loading the macros and views of ``udfs/sql`` into a schema of a DuckDB connection.

A file holds plain ``CREATE MACRO name(...)`` statements that an analyst can read and run. They are created
either as temporary macros, which leave nothing in the user's database file, or inside a named schema; then
the references between our own macros and views are qualified with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

import duckdb

_CREATE = re.compile(r"\bCREATE\s+(?P<kind>MACRO|VIEW)\s+(?P<name>\w+)", re.IGNORECASE)
_STATEMENT_END = re.compile(r";\s*$", re.MULTILINE)


@dataclass(frozen=True)
class SqlObject:
    """One ``CREATE`` statement of a .sql file."""

    kind: str
    name: str
    statement: str
    is_table: bool


@cache
def load(topic: str) -> tuple[SqlObject, ...]:
    """Return the statements of ``udfs/sql/<topic>.sql`` in order."""
    text = (resources.files("aios_db.udfs") / "sql" / f"{topic}.sql").read_text(encoding="utf-8")
    objects = []
    for statement in _STATEMENT_END.split(text):
        match = _CREATE.search(statement)
        if match:
            kind = match["kind"].upper()
            is_table = kind == "VIEW" or re.search(r"\bAS\s+TABLE\b", statement, re.IGNORECASE) is not None
            objects.append(SqlObject(kind, match["name"], statement[match.start() :].strip(), is_table))
    return tuple(objects)


def with_defaults(item: SqlObject, values: Mapping[str, float]) -> SqlObject:
    """Return a macro whose arguments of these names have other defaults."""
    head, separator, body = item.statement.partition(") AS TABLE")
    for name, value in values.items():
        head, found = re.subn(rf"\b{name} := [^,\s]+", f"{name} := {value!r}", head)
        assert found == 1, f"{item.name} has no argument {name} with a default"
    return replace(item, statement=head + separator + body)


def create(connection: duckdb.DuckDBPyConnection, objects: tuple[SqlObject, ...], schema: str | None) -> None:
    """Create the objects in ``schema``, or as temporary ones when it is None."""
    names = {item.name for item in objects}
    for item in objects:
        connection.execute(_placed(item, names, schema))


def drop(connection: duckdb.DuckDBPyConnection, objects: tuple[SqlObject, ...]) -> None:
    """Drop the temporary objects that `create` made."""
    for item in reversed(objects):
        kind = "VIEW" if item.kind == "VIEW" else ("MACRO TABLE" if item.is_table else "MACRO")
        connection.execute(f"DROP {kind} IF EXISTS temp.main.{item.name}")


def quoted(name: str) -> str:
    """Return ``name`` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _placed(item: SqlObject, names: set[str], schema: str | None) -> str:
    if schema is None:
        return _CREATE.sub(f"CREATE OR REPLACE TEMP {item.kind} {item.name}", item.statement, count=1)
    prefix = quoted(schema) + "."
    head = _CREATE.match(item.statement)
    assert head is not None  # `load` found it there
    body = item.statement[head.end() :]
    calls = "|".join(sorted(names, key=len, reverse=True))
    body = re.sub(rf"(?<![\w.\"'])({calls})(?=\s*\()", lambda match: prefix + match[1], body)
    return f"CREATE OR REPLACE {item.kind} {prefix}{item.name}{body}"
