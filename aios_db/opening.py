"""Opening a database, with what a connection may see, reach and use."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

from aios_db.config import GivenConfig
from aios_db.connection import Connection
from aios_db.schema.shortage import tells_shortage
from aios_db.schema.sources import check_source
from aios_db.security.restrictions import Restrictions
from aios_db.security.scope import Scope


@tells_shortage
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
