"""What SQL on a connection may reach and use: files, extensions, memory, time, rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from aios_db.schema.errors import OperationalError, ProgrammingError
from aios_db.schema.homes import expanded

if TYPE_CHECKING:
    import duckdb

MEMORY_LIMIT = "1GB"
TIMEOUT_S = 30.0
MAX_ROWS = 100_000


@dataclass(frozen=True)
class Restrictions:
    """What a connection's SQL may reach and use.

    Attributes
    ----------
    external_access
        Whether it may read and write files, load extensions, attach databases and change DuckDB's settings.
    allowed_directories
        Where it may do the first two all the same.
    memory_limit
        Most memory that DuckDB takes, as its setting says it: ``"1GB"``. None is DuckDB's own limit.
    timeout_s
        Seconds after which a statement is stopped; None is no limit.
    max_rows
        Most rows of a result; a statement with more fails. None is no limit.
    """

    external_access: bool = True
    allowed_directories: tuple[Path, ...] = ()
    memory_limit: str | None = None
    timeout_s: float | None = None
    max_rows: int | None = None

    @classmethod
    def given(
        cls,
        *,
        read_only: bool = False,
        restricted: bool = False,
        external_access: bool | None = None,
        allowed_directories: Sequence[str | PathLike[str]] = (),
        memory_limit: str | None = None,
        timeout_s: float | None = None,
        max_rows: int | None = None,
    ) -> Restrictions:
        """Return what the arguments of `aios_db.connect` say.

        Raises
        ------
        ProgrammingError
            They contradict each other, or make no sense.
        """
        closed = restricted or read_only
        if external_access and restricted:
            raise ProgrammingError(
                "connect: restricted=True has no external access; leave one of the two out"
            )
        if isinstance(allowed_directories, str | bytes | PathLike):
            raise ProgrammingError("connect: allowed_directories is a list of paths, not one path")
        reaches = not closed if external_access is None else bool(external_access)
        if allowed_directories and reaches:
            raise ProgrammingError(
                "connect: allowed_directories restricts nothing here; add restricted=True, read_only=True or "
                "external_access=False"
            )
        for name, value in (("timeout_s", timeout_s), ("max_rows", max_rows)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ProgrammingError(f"connect: {name} is {value}; give a positive number")
        if restricted:
            memory_limit = memory_limit or MEMORY_LIMIT
            timeout_s = TIMEOUT_S if timeout_s is None else timeout_s
            max_rows = MAX_ROWS if max_rows is None else max_rows
        return cls(
            reaches,
            tuple(_directory(each) for each in allowed_directories),
            memory_limit,
            timeout_s,
            max_rows,
        )

    @property
    def runs_at_once(self) -> bool:
        """Whether a query is run where it is asked, and not when its relation is read."""
        return self.timeout_s is not None or self.max_rows is not None

    def keep_out_of(self, database: Path) -> None:
        """Refuse allowed directories in which SQL could overwrite the database's own files.

        Raises
        ------
        ProgrammingError
            One contains the database, or is in it.
        """
        database = database.resolve()
        for each in self.allowed_directories:
            if each == database or each in database.parents or database in each.parents:
                raise ProgrammingError(
                    f"connect: the allowed directory {each} and the database {database} are not apart; SQL "
                    "could overwrite the database's files"
                )

    def apply(self, database: duckdb.DuckDBPyConnection) -> None:
        """Set them on a DuckDB instance, for all its connections and for good.

        Raises
        ------
        ProgrammingError
            DuckDB does not take the memory limit.
        """
        import duckdb

        if self.memory_limit is not None:
            try:
                database.execute(f"SET GLOBAL memory_limit = {_text(self.memory_limit)}")
            except duckdb.Error as error:
                raise ProgrammingError(
                    f"connect: memory_limit is {self.memory_limit!r}; give a size such as '1GB'"
                ) from error
            # What does not fit is an error, and does not fill the disk.
            database.execute("SET GLOBAL temp_directory = ''")
        if self.external_access:
            return
        for setting in _CLOSED:
            database.execute(f"SET GLOBAL {setting}")
        if self.allowed_directories:
            allowed = ", ".join(_text(str(each)) for each in self.allowed_directories)
            database.execute(f"SET GLOBAL allowed_directories = [{allowed}]")
        database.execute("SET GLOBAL enable_external_access = false")
        database.execute("SET GLOBAL lock_configuration = true")

    def check_path(self, path: Path, *, others: Sequence[Path] = ()) -> None:
        """Refuse a path that a function of ours is to read, unless it lies where SQL may reach.

        Parameters
        ----------
        path
            The path; links in it are followed first.
        others
            Directories besides those that are allowed.

        Raises
        ------
        OperationalError
            It lies elsewhere.
        """
        if self.external_access:
            return
        real = path.resolve()
        for each in (*self.allowed_directories, *others):
            root = each.resolve()
            if root == real or root in real.parents:
                return
        raise OperationalError(f"{path} is outside of what SQL may read on this connection")


OPEN = Restrictions()
"""Nothing is restricted."""

_CLOSED = (
    "allow_persistent_secrets = false",  # they are files in the home directory
    "autoinstall_known_extensions = false",
    "autoload_known_extensions = false",
    "python_enable_replacements = false",  # a table that is not there is not a variable of the program
)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _directory(path: str | PathLike[str]) -> Path:
    found = expanded(path).resolve()
    if not found.is_dir():
        raise ProgrammingError(f"connect: the allowed directory {path} is none")
    return found
