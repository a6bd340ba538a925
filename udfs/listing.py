"""`memory_functions()`: the functions that SQL has here, from their declarations."""

from __future__ import annotations

from collections.abc import Iterable

from aios_db.udfs.macros import SqlObject
from aios_db.udfs.writing import MARK

NAME = "memory_functions"
_COMMENT = (
    "The functions of the database: name, type (scalar or table), arguments, whether it writes, what it does."
)
_WRITES = f"{MARK}("  # in the body of a macro that does


def listing(objects: Iterable[SqlObject]) -> SqlObject:
    """Return the macro that lists these macros and itself."""
    itself = SqlObject("MACRO", NAME, "", is_table=True, comment=_COMMENT, calls=False)
    rows = ", ".join(_row(each) for each in (*objects, itself) if each.kind == "MACRO")
    columns = "name, type, arguments, writes, description"
    statement = f"CREATE MACRO {NAME}() AS TABLE FROM (VALUES {rows}) t({columns}) ORDER BY name"
    return SqlObject("MACRO", NAME, statement, is_table=True, comment=_COMMENT, calls=False)


def _row(item: SqlObject) -> str:
    kind = "table" if item.is_table else "scalar"
    texts = ", ".join("'" + each.replace("'", "''") + "'" for each in (item.name, kind, item.arguments))
    described = item.comment.replace("'", "''")
    return f"({texts}, {_WRITES in item.statement}, '{described}')"
