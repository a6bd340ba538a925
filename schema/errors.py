"""Every exception aios_db raises: the PEP 249 tree and the project's own types under it.

A message says what was wrong, where, and what to do about it. The tree lives in the lowest layer so that the
engine, the migrations and the SQL functions raise the classes a caller of ``aios_db`` catches.
"""

from __future__ import annotations

import builtins


class Warning(builtins.Warning):
    """An important notice that is not an error (PEP 249)."""


class Error(Exception):
    """Base of every error of this package (PEP 249)."""


class InterfaceError(Error):
    """The interface was misused: a closed connection, a thread's cursor gone (PEP 249)."""


class DatabaseError(Error):
    """The database could not do what was asked (PEP 249)."""


class DataError(DatabaseError):
    """A value is wrong: NaN in a vector, a length that does not fit, an unreadable row (PEP 249)."""


class OperationalError(DatabaseError):
    """The world around the database failed: disk full, read-only directory, file missing (PEP 249)."""


class IntegrityError(DatabaseError):
    """Stored data would contradict itself (PEP 249)."""


class InternalError(DatabaseError):
    """The database is in a state it should never be in (PEP 249)."""


class ProgrammingError(DatabaseError):
    """The caller asked for something that does not exist or makes no sense (PEP 249)."""


class NotSupportedError(DatabaseError):
    """Something this version, platform or installation cannot do (PEP 249)."""


class ConfigError(ProgrammingError):
    """A named configuration is not there, or a value given by a program is invalid; if ``strict``, any is."""


class WeightsError(DataError):
    """A weights file is truncated, foreign or inconsistent; names the file and the layer."""


class ModelNotFoundError(OperationalError):
    """No model of that name is installed; says how to install one."""


class MissingExtraError(NotSupportedError):
    """An optional package is absent; the message holds the exact pip command."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package!r}: pip install 'aios_db[{extra}]'")
        self._given = package, extra, purpose

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str, str]]:
        """Be made again of what it was made of, when it comes from another process."""
        return type(self), self._given


class DeviceError(OperationalError):
    """A device is absent or failed, and falling back is switched off."""


class SchemaVersionError(NotSupportedError):
    """The database or file was written by a newer version of aios_db."""


class ReadOnlyError(OperationalError):
    """A write was asked of a database opened read-only."""


class ValidationError(DataError):
    """A model version failed the precision validator and cannot be used."""
