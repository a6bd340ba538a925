"""An embedded memory database for AI agents, asked in SQL.

>>> import aios_db
>>> con = aios_db.connect(":memory:")                                        # doctest: +SKIP
>>> con.remember("Ada keeps the spare key under the blue pot.", speaker="Ada")  # doctest: +SKIP
>>> con.sql("SELECT text, score FROM recall('where is the key?', k := 3)")      # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Sequence
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
from aios_db.version import __version__ as __version__

if TYPE_CHECKING:
    import duckdb

    from aios_db.backup import RestoreReport
    from aios_db.checking import CheckReport
    from aios_db.config import GivenConfig
    from aios_db.connection import Connection
    from aios_db.cursor import Cursor
    from aios_db.engine.encoders.plugged import MediaEncoder
    from aios_db.joint.fitting import FusionReport
    from aios_db.loop import CognitiveLoop
    from aios_db.memory import Memory
    from aios_db.mending import Repaired
    from aios_db.methods.provenance import Quarantined
    from aios_db.provenance.audit import Audit
    from aios_db.provenance.rollback import RollbackReport
    from aios_db.recollection import Recollection
    from aios_db.salvaging import SalvageReport
    from aios_db.store.turns import Turns

# Read once, when torch loads: OpenMP's threads sleep while they wait for each other. By default they spin,
# and beside other work the one that is waited for gets no processor while the others burn theirs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # GNU OpenMP
os.environ.setdefault("KMP_BLOCKTIME", "0")  # Intel's and LLVM's

apilevel = "2.0"
threadsafety = 2  # threads may share the module and connections
paramstyle = "qmark"

__all__ = [
    "Audit",
    "CognitiveLoop",
    "ConfigError",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "DeviceError",
    "Error",
    "FusionReport",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "MediaEncoder",
    "Memory",
    "MissingExtraError",
    "ModelNotFoundError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Quarantined",
    "ReadOnlyError",
    "Recollection",
    "RollbackReport",
    "SchemaVersionError",
    "Turns",
    "ValidationError",
    "Warning",
    "WeightsError",
    "apilevel",
    "attach",
    "check",
    "connect",
    "detach",
    "paramstyle",
    "repair",
    "restore",
    "salvage",
    "threadsafety",
]


def connect(
    path: str | PathLike[str] = ":memory:",
    *,
    read_only: bool = False,
    config: GivenConfig = None,
    warm: bool = False,
    user_id: str | None = None,
    agent_id: str | None = None,
    source: str | None = None,
    restricted: bool = False,
    external_access: bool | None = None,
    allowed_directories: Sequence[str | PathLike[str]] = (),
    memory_limit: str | None = None,
    timeout_s: float | None = None,
    max_rows: int | None = None,
) -> Connection:
    """Open a database directory, or make it; see `aios_db.connection.Connection`.

    Parameters
    ----------
    path
        The database directory, made when absent; ``":memory:"`` is a temporary one.
    read_only
        Refuse every write of memories and links. SQL reaches no files either, see ``external_access``.
    config
        The configuration; values by section and key, over what is configured; or a YAML file.
    warm
        Load the text model, and choose what runs it, before this returns, so that no later call waits for
        that: tens of seconds the first time on a machine, then about one.
    user_id, agent_id
        See and change only memories of this user, of this agent, and those that have none: everything is as
        if there were no others. What is remembered gets these values.
    source
        What is written through this connection comes from there, whatever it says itself: a tool, a web site,
        somebody's files. The configuration's ``trust`` says what that is worth.
    restricted
        For SQL that somebody else wrote, an agent say: no external access, and limits where none are given
        (1 GB, 30 s, 100,000 rows). It may still write memories; add ``read_only`` to refuse that.
    external_access
        Whether SQL may read and write files, load extensions, attach databases and change DuckDB's settings;
        by default it may unless the connection is restricted or read-only.
    allowed_directories
        Where SQL may read and write files although it has no external access.
    memory_limit
        Most memory for DuckDB, such as ``"1GB"``; what does not fit is an error.
    timeout_s
        Seconds after which a statement is stopped.
    max_rows
        Most rows of a result; a statement that returns more fails.

    Raises
    ------
    ProgrammingError
        Arguments contradict each other or make no sense.
    """
    from aios_db.connection import Connection
    from aios_db.schema.sources import check_source
    from aios_db.security.restrictions import Restrictions
    from aios_db.security.scope import Scope

    restrictions = Restrictions.given(
        read_only=read_only,
        restricted=restricted,
        external_access=external_access,
        allowed_directories=allowed_directories,
        memory_limit=memory_limit,
        timeout_s=timeout_s,
        max_rows=max_rows,
    )
    scope = Scope.given(user_id, agent_id)
    check_source(source, "connect")
    connection = Connection(
        path, read_only=read_only, config=config, scope=scope, restrictions=restrictions, source=source
    )
    if warm:
        try:
            connection.warm()
        except BaseException:
            connection.close()
            raise
    return connection


def attach(
    connection: duckdb.DuckDBPyConnection,
    path: str | PathLike[str],
    schema: str = "main",
    *,
    read_only: bool = False,
    config: GivenConfig = None,
    source: str | None = None,
) -> None:
    """Make aios_db an extension of your own DuckDB connection; see `aios_db.attaching.attach`."""
    from aios_db.attaching import attach

    attach(connection, path, schema, read_only=read_only, config=config, source=source)


def detach(connection: duckdb.DuckDBPyConnection, schema: str | None = None) -> None:
    """Take aios_db out of a DuckDB connection again; see `aios_db.attaching.detach`."""
    from aios_db.attaching import detach

    detach(connection, schema)


def check(path: str | PathLike[str], *, config: GivenConfig = None) -> CheckReport:
    """Read all of a database and compare what can be compared; see `aios_db.checking.checking.check`."""
    from aios_db.checking import check
    from aios_db.config import given_config

    return check(path, config=given_config(config, path))


def repair(
    path: str | PathLike[str],
    *,
    recreate: Sequence[str] = (),
    config: GivenConfig = None,
) -> Repaired:
    """Mend a database as far as nothing can be lost; see `aios_db.mending.repairing.repair`."""
    from aios_db.config import given_config
    from aios_db.mending import repair

    return repair(path, recreate=recreate, config=given_config(config, path))


def restore(
    backup: str | PathLike[str],
    path: str | PathLike[str],
    *,
    backup_id: str | None = None,
    config: GivenConfig = None,
) -> RestoreReport:
    """Make a database at ``path`` of a backup; see `aios_db.backup.restoring.restore`."""
    from aios_db.backup.restoring import restore
    from aios_db.config import given_config

    return restore(backup, path, backup_id=backup_id, config=given_config(config))


def salvage(path: str | PathLike[str], out: str | PathLike[str]) -> SalvageReport:
    """Write what can be read of a damaged database as an export; see `aios_db.salvaging.writing.salvage`."""
    from aios_db.salvaging import salvage

    return salvage(path, out)


_LAZY = {
    "CognitiveLoop": "loop",
    "Connection": "connection",
    "Cursor": "cursor",
    "FusionReport": "joint.fitting",
    "MediaEncoder": "engine.encoders.plugged",
    "Memory": "memory",
    "Audit": "provenance.audit",
    "Quarantined": "methods.provenance",
    "RollbackReport": "provenance.rollback",
    "Recollection": "recollection",
    "Turns": "store.turns",
}


def __getattr__(name: str) -> Any:
    """Import the classes that need DuckDB and Arrow when they are first asked for (PEP 562)."""
    if name in _LAZY:
        return getattr(import_module(f"aios_db.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'aios_db' has no attribute {name!r}")
