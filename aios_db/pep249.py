"""PEP 249's optional extension: the exceptions as attributes of a connection."""

from __future__ import annotations

from aios_db.schema import errors


class Pep249Errors:
    """What is raised, for programs that know a connection and not its module."""

    Warning = errors.Warning
    Error = errors.Error
    InterfaceError = errors.InterfaceError
    DatabaseError = errors.DatabaseError
    DataError = errors.DataError
    OperationalError = errors.OperationalError
    IntegrityError = errors.IntegrityError
    InternalError = errors.InternalError
    ProgrammingError = errors.ProgrammingError
    NotSupportedError = errors.NotSupportedError
