"""The views and macros of one connection, each made when a statement first names it.

DuckDB binds a macro when it is told to keep it, and all of them together take some 60 ms; a statement names
few.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial

import duckdb

from aios_db.udfs import macros
from aios_db.udfs.writing import WriteGuard

_WORD = re.compile(r"\w+")
# Statements that list what there is.
_LISTS = re.compile(
    r"\b(?:show|describe|summarize|information_schema|sql_auto_complete|(?:duckdb|pg|sqlite)_\w+)\b"
)
_LONG = 100_000  # letters; to look for names in a longer text takes about as long as to make all
_DEFINING = {duckdb.StatementType.CREATE, duckdb.StatementType.ALTER}
# IMPORT DATABASE is a pragma, too.
_HIDING = {duckdb.StatementType.ATTACH, duckdb.StatementType.COPY_DATABASE, duckdb.StatementType.PRAGMA}


@dataclass(frozen=True)
class Item:
    """A view or macro that can be made.

    Attributes
    ----------
    name
        In lower case.
    text
        Its definition, as far as that is SQL; the other items that it names are made first.
    make
        Makes it; a second time does no harm.
    """

    name: str
    text: str
    make: Callable[[], object]


def relation(connection: duckdb.DuckDBPyConnection, name: str, rows: object) -> Item:
    """Return rows that DuckDB reads, as a view of one connection."""
    return Item(name, "", partial(connection.register, name, rows))


def temporary(
    connection: duckdb.DuckDBPyConnection, item: macros.SqlObject, guard: WriteGuard, suffix: str = ""
) -> Item:
    """Return a view or macro of one connection; ``suffix``: see `macros.create`."""

    def make() -> None:
        with guard.watching(lambda _: None):  # DuckDB binds what it is to keep
            macros.create(connection, (item,), None, suffix)

    return Item(item.name, item.statement, make)


class OnDemand:
    """Makes views and macros that are not there yet.

    Parameters
    ----------
    items
        Each behind those that it names.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._waiting = {item.name: item for item in items}
        self._names = set(self._waiting)

    def add(self, item: Item) -> None:
        """Let statements name one more, which names none that was added later."""
        self._waiting[item.name] = item
        self._names.add(item.name)

    def named(self, sql: str) -> set[str]:
        """Return which of ours a statement names, made or not; all, where it lists what there is."""
        lowered = sql.lower()
        if len(lowered) > _LONG or _LISTS.search(lowered):
            return set(self._names)
        return self._names.intersection(_WORD.findall(lowered))

    def for_text(self, sql: str) -> None:
        """Make what a statement names."""
        if self._waiting:
            self.make(self.named(sql))

    def all(self) -> bool:
        """Make what is not there yet; tell whether that was anything."""
        return self.make(self._waiting)

    def make(self, names: Iterable[str]) -> bool:
        """Make ``names`` and what they name, as far as not there yet; tell whether that was anything."""
        wanted: set[str] = set()
        left = list(names)
        while left:
            name = left.pop()
            if name in self._waiting and name not in wanted:
                wanted.add(name)
                left += _words(self._waiting[name].text)
        # Of a copy: another thread may add one.
        for item in [item for item in list(self._waiting.values()) if item.name in wanted]:
            item.make()
            del self._waiting[item.name]
        return bool(wanted)


class Definitions:
    """What the users of a DuckDB instance have defined: it may name ours, on any of its connections."""

    def __init__(self) -> None:
        self._named: set[str] = set()
        self._is_hidden = False  # whether it has definitions that no statement showed

    def make(self, objects: OnDemand, statement: duckdb.Statement) -> None:
        """Make what a statement names, itself or in what it or others before it have defined."""
        self._is_hidden = self._is_hidden or statement.type in _HIDING
        if self._is_hidden:
            objects.all()
            return
        if statement.type in _DEFINING:
            self._named |= objects.named(statement.query)
        objects.for_text(statement.query)
        objects.make(self._named)


@cache
def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))
