"""Types of SQL functions, declared as Arrow has them and written as DuckDB does."""

from __future__ import annotations

from functools import cache

import pyarrow as pa

from aios_db.schema.memories import TIMESTAMP

BOOLEAN, INTEGER, BIGINT = pa.bool_(), pa.int32(), pa.int64()
FLOAT, DOUBLE = pa.float32(), pa.float64()
VARCHAR, BLOB = pa.string(), pa.binary()
INTEGERS, BIGINTS = pa.list_(INTEGER), pa.list_(BIGINT)
FLOATS, DOUBLES = pa.list_(FLOAT), pa.list_(DOUBLE)
VARCHARS = pa.list_(VARCHAR)
TEXT_VECTOR = pa.list_(FLOAT, 0)
"""A vector as long as a database's text vectors are."""

_SQL = {
    BOOLEAN: "BOOLEAN",
    INTEGER: "INTEGER",
    BIGINT: "BIGINT",
    FLOAT: "FLOAT",
    DOUBLE: "DOUBLE",
    VARCHAR: "VARCHAR",
    BLOB: "BLOB",
    TIMESTAMP: "TIMESTAMPTZ",
}


@cache
def sql_type(declared: pa.DataType, dimension: int) -> str:
    """Return a type in SQL; ``dimension`` is the length of a `TEXT_VECTOR`."""
    if declared == TEXT_VECTOR:
        return f"FLOAT[{dimension}]"
    if pa.types.is_list(declared):
        return f"{sql_type(declared.value_type, dimension)}[]"
    if pa.types.is_struct(declared):
        fields = (f"{field.name} {sql_type(field.type, dimension)}" for field in declared)
        return f"STRUCT({', '.join(fields)})"
    return _SQL[declared]
