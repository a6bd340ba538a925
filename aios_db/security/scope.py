"""What one user, or one agent, sees of a database: what is theirs, and what is shared."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from aios_db.schema.errors import NotSupportedError, ProgrammingError
from aios_db.schema.text import is_unicode

AXES = ("user_id", "agent_id")
_REJECTED = ".rejected.jsonl"
_Rows = TypeVar("_Rows", pa.Table, pa.RecordBatch)


@dataclass(frozen=True)
class Scope:
    """Memories of one user, of one agent, or of one agent of one user.

    A memory is in the scope when each column that is given has this value in it, or none: a memory without a
    user is shared by all users.

    Attributes
    ----------
    user_id, agent_id
        None does not restrict.
    """

    user_id: str | None = None
    agent_id: str | None = None

    @classmethod
    def given(cls, user_id: object = None, agent_id: object = None) -> Scope:
        """Return the scope of the arguments of `aios_db.connect`.

        Raises
        ------
        ProgrammingError
            One names nobody, and must not mean everybody: it is blank, or no text of Unicode.
        """
        found = {}
        for name, value in zip(AXES, (user_id, agent_id), strict=True):
            text = None if value is None else str(value)
            named = text is None or (text.strip() and is_unicode(text))
            if isinstance(value, bytes | bytearray) or not named:
                raise ProgrammingError(f"connect: {name} is {value!r}; give a text that names somebody")
            found[name] = text
        return cls(**found)

    def __bool__(self) -> bool:
        return bool(self.values)

    @property
    def values(self) -> Mapping[str, str]:
        """The values by column, of those that restrict."""
        return {name: value for name in AXES if (value := getattr(self, name)) is not None}

    @property
    def directory(self) -> str:
        """A name for files of this scope; the same in every process."""
        told = repr(sorted(self.values.items())).encode("utf-8", "surrogatepass")
        return "scope-" + hashlib.sha256(told).hexdigest()[:32]

    def rejected(self, database: Path) -> Path:
        """Return where imports of this scope set records aside that are none: a file beside the database."""
        own = f".{self.directory}" if self else ""
        return database.with_name(f"{database.name}{own}{_REJECTED}")

    def all_rejected(self, database: Path) -> list[Path]:
        """Return the files of set aside records that this scope may change: of everything, all of them."""
        each = database.parent.glob(f"{glob.escape(database.name)}.scope-*{_REJECTED}")
        return [self.rejected(database), *(() if self else sorted(each))]

    @property
    def condition(self) -> pc.Expression | None:
        """The same as a filter of a scan; None where everything is seen."""
        each = [pc.field(name).is_null() | (pc.field(name) == value) for name, value in self.values.items()]
        return reduce(and_, each) if each else None

    def sees(self, rows: pa.Table | pa.RecordBatch) -> pa.BooleanArray:
        """Tell which rows are in the scope; they have its columns."""
        seen = pa.repeat(True, len(rows))
        for name, value in self.values.items():
            column = rows[name].combine_chunks() if isinstance(rows, pa.Table) else rows[name]
            seen = pc.and_(seen, pc.fill_null(pc.equal(column, value), True))
        return seen

    def seen(self, rows: _Rows) -> _Rows:
        """Return the rows that are in the scope."""
        return rows.filter(self.sees(rows)) if self else rows

    def own(self, rows: pa.Table) -> pa.Table:
        """Return rows to remember with the scope's values in them.

        Raises
        ------
        ProgrammingError
            A row is for somebody else.
        """
        for name, value in self.values.items():
            place = rows.schema.get_field_index(name)
            for number, given in enumerate(rows[name].to_pylist() if place >= 0 else ()):
                if given is not None and str(given) != value:
                    raise ProgrammingError(
                        f"row {number}: {name} is {given!r}; the connection is that of {value!r}"
                    )
            column = pa.array([value] * len(rows), pa.string())
            rows = rows.append_column(name, column) if place < 0 else rows.set_column(place, name, column)
        return rows

    def refuse_moves(self, stored: pa.Table, changed: pa.Table) -> None:
        """Refuse to give a memory to somebody else, or to share it.

        Raises
        ------
        ProgrammingError
            A row of ``changed`` has another value than that of ``stored`` has.
        """
        for name, value in self.values.items():
            if stored[name].to_pylist() != changed[name].to_pylist():
                raise ProgrammingError(
                    f"update: {name} stays as it is on a connection of {value!r}; use one without a scope"
                )

    def refuse(self, what: str) -> None:
        """Refuse what works on the whole database.

        Raises
        ------
        NotSupportedError
            The scope is not everything.
        """
        if self:
            told = ", ".join(f"{name}={value!r}" for name, value in self.values.items())
            raise NotSupportedError(f"{what} is for the whole database, and this connection has {told}")


EVERYTHING = Scope()
"""No restriction."""


def defaults_in(scope: Scope, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return values of columns with the scope's own where none are given."""
    return {**scope.values, **{name: value for name, value in (given or {}).items() if value is not None}}
