"""Plans of retrieval queries, kept from one execution to the next.

To plan `recall` takes DuckDB longer than to run it. A cursor prepares such a query when it sees it again
and from then on executes the plan; a change of a table or of a parameter's type makes DuckDB plan anew.
"""

from __future__ import annotations

import itertools
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from aios_db.udfs.macros import quoted

if TYPE_CHECKING:
    from aios_db.cursor import Parameters

_RETRIEVAL = re.compile(
    r"\b(?:recall|vector_search|keyword_search|score_memories|spread|neighbors|memories_by_id)\s*\(",
    re.IGNORECASE,
)
CAPACITY = 64
# A setting (the time zone, a variable), another database, a view or a macro may change what the same text
# means, also for the other connections of the DuckDB instance, and DuckDB does not look.
_CHANGES_MEANING = {
    duckdb.StatementType.CREATE,
    duckdb.StatementType.DROP,
    duckdb.StatementType.ALTER,
    duckdb.StatementType.COPY_DATABASE,
    duckdb.StatementType.SET,
    duckdb.StatementType.VARIABLE_SET,
    duckdb.StatementType.PRAGMA,
    duckdb.StatementType.ATTACH,
    duckdb.StatementType.DETACH,
    duckdb.StatementType.LOAD,
}
_VALUES = "aios_parameters"


@dataclass
class Surroundings:
    """How often what a query means beside its text has changed in a DuckDB instance."""

    changes: int = 0


class Texts:
    """The texts that running calls of prepared queries are given; DuckDB asks for them by number."""

    FUNCTION = "aios_parameter"

    def __init__(self, database: duckdb.DuckDBPyConnection) -> None:
        """Register the function in the instance of ``database``."""
        self._texts: dict[int, str] = {}
        self._numbers = itertools.count()

        def text(number: int) -> str:
            return self._texts[number]

        create_function: Any = database.create_function  # its annotations know no type written as text
        create_function(self.FUNCTION, text, ["BIGINT"], "VARCHAR", side_effects=True)

    @contextmanager
    def kept(self) -> Iterator[Callable[[str], int]]:
        """Yield a function that keeps a text, until the end of the block, and returns its number."""
        mine: list[int] = []

        def keep(text: str) -> int:
            mine.append(next(self._numbers))
            self._texts[mine[-1]] = text
            return mine[-1]

        try:
            yield keep
        finally:
            for number in mine:
                del self._texts[number]


class Plans:
    """The prepared retrieval queries of one DuckDB connection, the least recently used dropped first."""

    def __init__(self, surroundings: Surroundings, texts: Texts) -> None:
        self._surroundings, self._texts = surroundings, texts
        self._changes = surroundings.changes  # when these plans were made
        self._changing = False  # whether this connection made one in the transaction that is open
        self._names: OrderedDict[str, str | None] = OrderedDict()  # None: seen once
        self._parsed: dict[str, list[duckdb.Statement]] = {}
        self._numbers = itertools.count()

    def statements(self, database: duckdb.DuckDBPyConnection, text: str) -> list[duckdb.Statement]:
        """Return the statements of a text; that of a prepared query is parsed once."""
        parsed = self._parsed.get(text)
        if parsed is None:
            parsed = database.extract_statements(text)
            if len(parsed) == 1 and self._names.get(parsed[0].query) is not None:
                self._parsed[text] = parsed
        return parsed

    def execute(
        self, database: duckdb.DuckDBPyConnection, statement: duckdb.Statement, parameters: Parameters | None
    ) -> None:
        """Execute a statement, from its plan where there is one."""
        with self.around(database, statement):
            query = statement.query
            if statement.type == duckdb.StatementType.SELECT and _RETRIEVAL.search(query):
                name = self._prepared(database, query)
                if name is not None:
                    _call(database, name, parameters, self._texts)
                    return
            if parameters is None:
                database.execute(statement)
            else:
                database.execute(statement, parameters)

    @contextmanager
    def around(self, database: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> Iterator[None]:
        """Drop plans that have lost their meaning; note when the statement to run takes it from others."""
        if self._changes != self._surroundings.changes:
            self._changes = self._surroundings.changes
            for name in filter(None, self._names.values()):
                database.execute(f"DEALLOCATE {name}")
            self._names.clear()
            self._parsed.clear()
        yield
        if statement.type in _CHANGES_MEANING:
            self.meaning_changed()

    def meaning_changed(self) -> None:
        """Note that the same text may mean something else from here on."""
        self._surroundings.changes += 1
        self._changing = True

    def transaction_ended(self) -> None:
        """Note that what the transaction changed is now seen by the others, or is undone."""
        if self._changing:
            self._surroundings.changes += 1
            self._changing = False

    def _prepared(self, database: duckdb.DuckDBPyConnection, query: str) -> str | None:
        """Return the name of the prepared query; None the first time, and when it cannot be prepared."""
        if query not in self._names:
            self._names[query] = None
            if len(self._names) > CAPACITY:
                _, dropped = self._names.popitem(last=False)
                if dropped is not None:
                    database.execute(f"DEALLOCATE {dropped}")
                    self._parsed.clear()
            return None
        self._names.move_to_end(query)
        name = self._names[query]
        if name is None:
            name = f"aios_plan_{next(self._numbers)}"
            try:
                database.execute(f"PREPARE {name} AS {query}")
            except duckdb.Error:
                return None  # the query itself will say what is wrong, in its own words
            self._names[query] = name
        return name


def _call(
    database: duckdb.DuckDBPyConnection, name: str, parameters: Parameters | None, texts: Texts
) -> None:
    """Run a prepared query. EXECUTE takes no parameters: they are named, or set as a variable."""
    values: list[Any] = list(parameters.values() if isinstance(parameters, Mapping) else parameters or ())
    with texts.kept() as keep:
        given = [_named(value, keep) for value in values]
        others = [value for value, name_ in zip(values, given, strict=True) if name_ is None]
        if others:
            # A quarter of a millisecond more than what is named.
            database.execute(f"SET VARIABLE {_VALUES} = row({', '.join('?' * len(others))})", others)
        places = itertools.count(1)
        called = [each or f"getvariable('{_VALUES}')[{next(places)}]" for each in given]
        if isinstance(parameters, Mapping):
            called = [f"{quoted(key)} := {value}" for key, value in zip(parameters, called, strict=True)]
        database.execute(f"EXECUTE {name}({', '.join(called)})" if called else f"EXECUTE {name}")


def _named(value: Any, keep: Callable[[str], int]) -> str | None:
    """Return SQL that stands for a value and is made of digits and words of our own; None where none is."""
    if type(value) is str:
        return f"{Texts.FUNCTION}({keep(value)})"
    if type(value) is bool or (type(value) is int and abs(value) < 1 << 63):
        return str(value)
    return "NULL" if value is None else None
