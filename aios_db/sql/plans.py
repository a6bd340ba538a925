"""Plans of retrieval queries, kept from one execution to the next.

To plan `recall` takes DuckDB longer than to run it. A cursor prepares such a query when it sees it again
and from then on executes the plan, one for each combination of the types of its parameters; a change of a
table makes DuckDB plan anew.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb

from aios_db.schema.errors import ProgrammingError
from aios_db.schema.text import is_unicode
from aios_db.sql.calls import calls_any
from aios_db.sql.parameters import Given, Parameters, Texts, given, typed
from aios_db.udfs import registry

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
_Key = tuple[str, tuple[str, ...] | None, tuple[str, ...]]  # a query, names and types of its parameters


def check_text(text: object) -> None:
    """Raise a `ProgrammingError` for what cannot be SQL: no text, or one with half a letter."""
    if not isinstance(text, str):
        raise ProgrammingError(f"no SQL, which is text: {text!r}")
    if not is_unicode(text):
        raise ProgrammingError(f"no SQL, since it has half a letter (a lone surrogate): {text[:200]!r}")


@dataclass
class PlanEpoch:
    """How often what a query means beside its text has changed in a DuckDB instance."""

    changes: int = 0


class Plans:
    """The prepared retrieval queries of one DuckDB connection, the least recently used dropped first."""

    def __init__(self, epoch: PlanEpoch, texts: Texts) -> None:
        self._epoch, self._texts = epoch, texts
        self._changes = epoch.changes  # when these plans were made
        self._changing = False  # whether this connection made one in the transaction that is open
        self._names: OrderedDict[_Key, str] = OrderedDict()
        self._retrieving: dict[str, bool | None] = {}  # by query; None: seen once
        self._parsed: dict[str, list[duckdb.Statement]] = {}
        self._numbers = itertools.count()

    def statements(self, database: duckdb.DuckDBPyConnection, text: str) -> list[duckdb.Statement]:
        """Return the statements of a text; that of a prepared query is parsed once."""
        parsed = self._parsed.get(text) if isinstance(text, str) else None
        if parsed is None:
            check_text(text)
            parsed = database.extract_statements(text)
            if len(parsed) == 1 and self._retrieving.get(parsed[0].query):
                self._parsed[text] = parsed
        return parsed

    def execute(
        self, database: duckdb.DuckDBPyConnection, statement: duckdb.Statement, parameters: Parameters | None
    ) -> None:
        """Execute a statement, from its plan where there is one."""
        with self.around(database, statement):
            if statement.type == duckdb.StatementType.SELECT and self._retrieves(database, statement.query):
                with given(database, parameters, self._texts) as called:
                    name = self._prepared(database, statement.query, called)
                    if name is not None:
                        database.execute(f"EXECUTE {name}{called.arguments}")
                        return
            if parameters is None:
                database.execute(statement)
            else:
                database.execute(statement, parameters)

    @contextmanager
    def around(self, database: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> Iterator[None]:
        """Drop plans that have lost their meaning; note when the statement to run takes it from others."""
        if self._changes != self._epoch.changes:
            self._changes = self._epoch.changes
            for name in self._names.values():
                database.execute(f"DEALLOCATE {name}")
            self._names.clear()
            self._retrieving.clear()
            self._parsed.clear()
        yield
        if statement.type in _CHANGES_MEANING:
            self.meaning_changed()

    def writes(self, statement: duckdb.Statement) -> None:
        """Keep no plan of a statement that calls a writing function: running a plan binds no call anew."""
        self._retrieving[statement.query] = False

    def meaning_changed(self) -> None:
        """Note that the same text may mean something else from here on."""
        self._epoch.changes += 1
        self._changing = True

    def transaction_ended(self) -> None:
        """Note that what the transaction changed is now seen by the others, or is undone."""
        if self._changing:
            self._epoch.changes += 1
            self._changing = False

    def _retrieves(self, database: duckdb.DuckDBPyConnection, query: str) -> bool:
        """Tell whether a query that was seen before is worth a plan; one more that is seen is not."""
        if query not in self._retrieving:
            if len(self._retrieving) >= 4 * CAPACITY:
                del self._retrieving[next(iter(self._retrieving))]
            self._retrieving[query] = None
            return False
        if self._retrieving[query] is None:
            self._retrieving[query] = calls_any(database, query, registry.retrieval_macros())
        return bool(self._retrieving[query])

    def _prepared(self, database: duckdb.DuckDBPyConnection, query: str, parameters: Given) -> str | None:
        """Return the name of the query prepared for parameters of these types; None when it cannot be."""
        key = query, parameters.names, parameters.types
        if key in self._names:
            self._names.move_to_end(key)
            return self._names[key]
        name = f"aios_plan_{next(self._numbers)}"
        for text in dict.fromkeys((typed(database, query, parameters), query)):
            try:
                database.execute(f"PREPARE {name} AS {text}")
            except duckdb.Error:
                continue  # the query itself will say what is wrong, in its own words
            self._names[key] = name
            if len(self._names) > CAPACITY:
                _, dropped = self._names.popitem(last=False)
                database.execute(f"DEALLOCATE {dropped}")
            return name
        return None
