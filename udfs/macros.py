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

from aios_db.udfs import filters

_CREATE = re.compile(r'\bCREATE\s+(?P<kind>MACRO|VIEW)\s+"?(?P<name>\w+)"?', re.IGNORECASE)
_FUNCTION = re.compile(r"\baios_\w+")
# The lines right before a statement, up to what is indented.
_COMMENT = re.compile(r"^-- \S.*\n(?:-- \S.*\n)*(?=(?:--.*\n)*\Z)", re.MULTILINE)
_ARGUMENTS = re.compile(r"\s*\(([^()]*)\)")
_STATEMENT_END = re.compile(r";\n(?=\n|\Z)")


@dataclass(frozen=True)
class SqlObject:
    """One ``CREATE`` statement of a .sql file.

    Attributes
    ----------
    arguments
        Of a macro, as written there: ``/* filters */`` stands as ``…``.
    comment
        The lines before it.
    calls
        Whether its body calls others, which are looked up in the same schema.
    """

    kind: str
    name: str
    statement: str
    is_table: bool
    arguments: str = ""
    comment: str = ""
    calls: bool = True


@cache
def load(topic: str) -> tuple[SqlObject, ...]:
    """Return the statements of ``udfs/sql/<topic>.sql`` in order."""
    text = (resources.files("aios_db.udfs") / "sql" / f"{topic}.sql").read_text(encoding="utf-8")
    objects = []
    for part in _STATEMENT_END.split(text):
        if match := _CREATE.search(part):
            kind, statement = match["kind"].upper(), part[match.start() :].strip()
            is_table = kind == "VIEW" or re.search(r"\bAS\s+TABLE\b", statement, re.IGNORECASE) is not None
            arguments = _ARGUMENTS.match(part, match.end())
            comment = _COMMENT.search(part[: match.start()])
            objects.append(
                SqlObject(
                    kind,
                    match["name"],
                    filters.written_out(statement),
                    is_table,
                    " ".join(arguments[1].replace("/* filters */", "…").split()) if arguments else "",
                    comment[0].replace("-- ", "").replace("\n", " ").strip() if comment else "",
                )
            )
    return tuple(objects)


def with_defaults(item: SqlObject, values: Mapping[str, float]) -> SqlObject:
    """Return a macro whose arguments of these names have other defaults."""
    head, separator, body = item.statement.partition(") AS TABLE")
    arguments = item.arguments
    for name, value in values.items():
        default = re.compile(rf"\b{name} := [^,\s]+")
        head, found = default.subn(f"{name} := {value!r}", head)
        assert found == 1, f"{item.name} has no argument {name} with a default"
        arguments = default.sub(f"{name} := {value!r}", arguments)
    return replace(item, statement=head + separator + body, arguments=arguments)


def create(
    connection: duckdb.DuckDBPyConnection,
    objects: tuple[SqlObject, ...],
    schema: str | None,
    suffix: str = "",
) -> None:
    """Create the objects in ``schema``, or as temporary ones when it is None.

    The Python functions that they call have ``suffix`` behind their names.
    """
    names = {item.name for item in objects}
    for item in objects:
        placed = _placed(item, names, schema)
        connection.execute(_FUNCTION.sub(rf"\g<0>{suffix}", placed) if item.calls else placed)


def drop(connection: duckdb.DuckDBPyConnection, objects: tuple[SqlObject, ...]) -> None:
    """Drop the temporary objects that `create` made."""
    for item in reversed(objects):
        kind = "VIEW" if item.kind == "VIEW" else ("MACRO TABLE" if item.is_table else "MACRO")
        connection.execute(f"DROP {kind} IF EXISTS temp.main.{quoted(item.name)}")


def quoted(name: str) -> str:
    """Return ``name`` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _placed(item: SqlObject, names: set[str], schema: str | None) -> str:
    if schema is None:
        return _CREATE.sub(f"CREATE OR REPLACE TEMP {item.kind} {quoted(item.name)}", item.statement, count=1)
    prefix = quoted(schema) + "."
    head = _CREATE.match(item.statement)
    assert head is not None  # `load` found it there
    body = item.statement[head.end() :]
    if not item.calls:
        return f"CREATE OR REPLACE {item.kind} {prefix}{quoted(item.name)}{body}"
    calls = "|".join(sorted(names, key=len, reverse=True))
    body = re.sub(rf"(?<![\w.\"'])({calls})(?=\s*\()", lambda match: prefix + match[1], body)
    body = re.sub(r"(?<=\bFROM )lance_\w+", lambda match: prefix + match[0], body)
    return f"CREATE OR REPLACE {item.kind} {prefix}{quoted(item.name)}{body}"
