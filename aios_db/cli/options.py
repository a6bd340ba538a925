"""What commands share: the database and configuration they work on, `--json`, and the columns of a memory."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aios_db.cli.ending import Ending
from aios_db.schema.errors import OperationalError
from aios_db.schema.homes import expanded
from aios_db.schema.sources import SHELL

if TYPE_CHECKING:
    from aios_db.connection import Connection
    from aios_db.memory_store import MemoryStore
    from aios_db.models.making import OpenStore
    from aios_db.schema.config import Config

DEFAULT_DATABASE = "agent.aios"
DATABASE_VARIABLE = "AIOS_DB"

EXIT_FAILED, EXIT_SET_ASIDE, EXIT_INTERRUPTED = 1, 3, 130  # 2 is click's own, for usage
EXIT_BY_SIGNAL = 128  # and the signal's number, as shells say it

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclasses.dataclass
class Session:
    """One run of the command line: its global options, and whether a signal is ending it."""

    database: str | None = None
    config_file: str | None = None
    verbose: bool = False
    opened: list[Connection] = dataclasses.field(default_factory=list)
    ending: Ending = dataclasses.field(default_factory=Ending)

    @property
    def path(self) -> Path:
        """The database directory: ``--db``, else ``$AIOS_DB``, else ``agent.aios`` here."""
        return expanded(self.database or os.environ.get(DATABASE_VARIABLE) or DEFAULT_DATABASE)

    def config(self) -> Config:
        """Read the configuration and set up logging by it."""
        from aios_db.config import load_config
        from aios_db.logs import configure_logging
        from aios_db.schema.config import LoggingConfig

        configure_logging(LoggingConfig())  # for what is wrong with the configuration itself
        config = load_config(self.config_file, database=self.path)
        if self.verbose and config.logging.level not in {"DEBUG", "INFO"}:
            config = dataclasses.replace(config, logging=dataclasses.replace(config.logging, level="INFO"))
        configure_logging(config.logging)
        return config

    def connect(
        self,
        *,
        create: bool = False,
        read_only: bool = False,
        restricted: bool = False,
        source: str | None = None,
    ) -> Connection:
        """Open the database; with a ``source``, all that is written comes from there.

        Raises
        ------
        OperationalError
            There is none, and ``create`` is not set.
        """
        import aios_db

        config = self.config()
        if not create:
            self.require()
        connection = aios_db.connect(
            self.path, read_only=read_only, config=config, restricted=restricted, source=source
        )
        connection.entry = SHELL
        self.opened.append(connection)
        return connection

    @property
    def unlinked(self) -> int:
        """How many memories that it has written are without their links."""
        return sum(sum(each.store.database.change_log.unlinked.values()) for each in self.opened)

    def open_store(self) -> OpenStore | None:
        """Return what opens the database's store for a moment; None where there is no database."""
        if not self.path.exists():
            return None

        @contextmanager
        def opened(read_only: bool) -> Iterator[MemoryStore]:
            with self.connect(read_only=read_only) as con:
                yield con.store

        return opened

    def require(self) -> None:
        """Raise an `OperationalError` where there is no database."""
        if not self.path.exists():
            raise OperationalError(
                f"no database at {self.path}: make one with 'aios init', or name one with --db"
            )


def _set_database(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.ensure_object(Session).database = value


def with_database(command: Command) -> Command:
    """Add ``--db``, which may stand before or after the command's name."""
    return click.option(
        "--db",
        expose_value=False,
        callback=_set_database,
        metavar="PATH",
        help=f"The database directory; default ${DATABASE_VARIABLE} or ./{DEFAULT_DATABASE}.",
    )(command)


def with_json(command: Command) -> Command:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


_COLUMNS = (
    click.option("--kind", help="message, document, observation or a word of your own."),
    click.option("--session-id", help="The conversation it belongs to; its memories are linked in order."),
    click.option("--agent-id", help="The agent whose memory it is."),
    click.option("--user-id", help="The user it is about."),
    click.option("--speaker", help="Who said it."),
    click.option("--occurred-at", help="When it happened, such as 2024-05-01T10:00; UTC without a zone."),
    click.option("--tier", help="short, long or archived."),
    click.option("--importance", type=float, help="0 to 1."),
    click.option("--trust", type=float, help="0 to 1."),
    click.option("--source", help="Where it comes from."),
    click.option("--metadata", help="A JSON object."),
    click.option("--external-id", help="Your own name for it: remembered again, it replaces the memory."),
    click.option("--valid-until", help="Since when it is no longer so, such as 2024-05-01."),
    click.option("--superseded-by", help="The memory_id of what is so instead."),
    click.option("--expires-at", help="From when on it is not recalled."),
    click.option("--pinned/--not-pinned", default=None, help="Never evict it."),
)


def with_columns(command: Command) -> Command:
    """Add an option for each column of a memory besides its title and text."""
    for option in reversed(_COLUMNS):
        command = option(command)
    return command
