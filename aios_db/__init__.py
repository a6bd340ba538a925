"""An embedded memory database for AI agents, asked in SQL.

>>> import aios_db
>>> con = aios_db.connect(":memory:")                                        # doctest: +SKIP
>>> con.remember("Ada keeps the spare key under the blue pot.", speaker="Ada")  # doctest: +SKIP
>>> con.sql("SELECT text, score FROM recall('where is the key?', k := 3)")      # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any

from aios_db.schema.errors import (
    ConfigError,
    DatabaseError,
    DataError,
    DeviceError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    MissingExtraError,
    ModelNotFoundError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    ReadOnlyError,
    SchemaVersionError,
    ValidationError,
    Warning,
    WeightsError,
)

if TYPE_CHECKING:
    import duckdb

    from aios_db.connection import Connection
    from aios_db.cursor import Cursor
    from aios_db.recollection import Recollection
    from aios_db.schema.config import Config

__version__ = "0.1.0"

apilevel = "2.0"
threadsafety = 2  # threads may share the module and connections
paramstyle = "qmark"

__all__ = [
    "ConfigError",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "DeviceError",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "MissingExtraError",
    "ModelNotFoundError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "ReadOnlyError",
    "Recollection",
    "SchemaVersionError",
    "ValidationError",
    "Warning",
    "WeightsError",
    "apilevel",
    "attach",
    "connect",
    "detach",
    "paramstyle",
    "threadsafety",
]


def connect(
    path: str | PathLike[str] = ":memory:",
    *,
    read_only: bool = False,
    config: Config | str | PathLike[str] | None = None,
) -> Connection:
    """Open a database directory, or make it; see `aios_db.connection.Connection`."""
    from aios_db.connection import Connection

    return Connection(path, read_only=read_only, config=config)


def attach(
    connection: duckdb.DuckDBPyConnection,
    path: str | PathLike[str],
    schema: str = "main",
    *,
    read_only: bool = False,
    config: Config | str | PathLike[str] | None = None,
) -> None:
    """Make aios_db an extension of your own DuckDB connection; see `aios_db.attachment.attach`."""
    from aios_db.attachment import attach

    attach(connection, path, schema, read_only=read_only, config=config)


def detach(connection: duckdb.DuckDBPyConnection) -> None:
    """Take aios_db out of a DuckDB connection again; see `aios_db.attachment.detach`."""
    from aios_db.attachment import detach

    detach(connection)


_LAZY = {"Connection": "connection", "Cursor": "cursor", "Recollection": "recollection"}


def __getattr__(name: str) -> Any:
    """Import the classes that need DuckDB and Arrow when they are first asked for (PEP 562)."""
    if name in _LAZY:
        return getattr(import_module(f"aios_db.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'aios_db' has no attribute {name!r}")
