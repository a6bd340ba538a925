"""Running the statements of a cursor: by DuckDB, by the store, or by one after the other."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import duckdb

from aios_db.schema import deadlines
from aios_db.schema.metrics import SEARCH
from aios_db.security import limits, loopholes
from aios_db.sql import dml, own_objects, writes
from aios_db.sql.fetching import distinct_names
from aios_db.sql.parameters import Parameters
from aios_db.sql.result import NO_ROWS, Result
from aios_db.sql.statements import returns_count, selects_from
from aios_db.store.steady import again_if_removed

if TYPE_CHECKING:
    from aios_db.memory_store import MemoryStore
    from aios_db.pinned import SeenTables
    from aios_db.session import Session
    from aios_db.sql.plans import Plans
    from aios_db.sql.transaction import Transaction
    from aios_db.udfs.on_demand import OnDemand
    from aios_db.udfs.writing import Bound

_SEARCHES = "recall"


class Execution:
    """Executes statements on a connection of DuckDB's, those that write memories by the store.

    Parameters
    ----------
    session
        Whose store, guard and restrictions hold.
    database
        DuckDB's connection of the cursor.
    objects
        The views and macros that its statements may name.
    plans
        Those of the cursor.
    transaction, result
        Of the cursor; each statement changes them.
    seen
        The tables, as the cursor sees them.
    """

    def __init__(  # noqa: PLR0917 - what a cursor is made of
        self,
        session: Session,
        database: duckdb.DuckDBPyConnection,
        objects: OnDemand,
        plans: Plans,
        transaction: Transaction,
        result: Result,
        seen: SeenTables,
    ) -> None:
        self._session, self._database, self._objects = session, database, objects
        self._plans, self._transaction, self._result = plans, transaction, result
        self._seen = seen

    def run(self, statement: duckdb.Statement, parameters: Parameters | None) -> None:
        """Execute a statement; what it returns is then the result."""
        self._result.forget()
        with _observed(self._session.store, statement):
            self._define(statement)
            try:
                self._run(statement, parameters)
            except duckdb.CatalogException:  # there is none of a name: it may be out of sight, in a text, say
                if not self._objects.all():
                    raise
                self._run(statement, parameters)

    def _run(self, statement: duckdb.Statement, parameters: Parameters | None) -> None:
        deadline = deadlines.current()
        deadline.next_statement()
        deadline.check()  # DuckDB forgets an interrupt that comes before it begins
        self._session.store.origins.begin(statement.query)
        self._refuse(statement)
        if statement.type == duckdb.StatementType.TRANSACTION:
            self._transaction.statement(statement.query)
            self._result.set_empty()
            return
        target = dml.target_of(statement)
        if target is not None:
            self._change(target, statement, [parameters])
            return
        if self._session.restrictions.max_rows is None:
            self._run_in_duckdb(statement, parameters, lambda: None)
            return
        whole = limits.undone_if_refused(self._database, statement, in_transaction=self._transaction.is_open)
        with whole as keep:
            self._run_in_duckdb(statement, parameters, keep)

    def change_many(self, statements: Sequence[duckdb.Statement], sets: Sequence[Parameters]) -> int | None:
        """Change a table of the database in one commit for all sets of parameters; return how many rows.

        None, and nothing done, without a set, and where it is not one statement that changes one of those
        tables.
        """
        target = dml.target_of(statements[0]) if len(statements) == 1 and sets else None
        if target is None:
            return None
        (statement,) = statements
        self._result.forget()
        with _observed(self._session.store, statement):
            self._define(statement)
            self._session.store.origins.begin(statement.query)
            self._seen.see_newest()
            self._change(target, statement, sets)
        return self._result.rowcount

    def relation(self, statement: duckdb.Statement, parameters: Parameters | None) -> duckdb.DuckDBPyRelation:
        """Return a lazy relation of a query, or one of the result of a statement that has to run at once."""
        self._result.forget()
        self._objects.all()  # what is made of the relation may name others
        self._refuse(statement)
        if statement.type == duckdb.StatementType.TRANSACTION:
            self._transaction.statement(statement.query)
            return self._database.sql(NO_ROWS)
        limited = self._session.restrictions.runs_at_once
        if dml.target_of(statement) is not None or (limited and limits.may_change(statement)):
            self.run(statement, parameters)
            return self._of_result() if self._result.is_there else self._database.sql(NO_ROWS)
        called = self._called(statement)
        with self._plans.around(self._database, statement), self._watching(statement) as bound:
            relation = self._database.sql(statement, params=parameters)
        if bound and statement.type == duckdb.StatementType.CREATE:
            writes.refuse_lost(statement, bound)
        if not (bound or called or limited) or statement.type != duckdb.StatementType.SELECT:
            return relation
        del relation  # a relation runs when it is read, and again when it is read again
        self.run(statement, parameters)
        return self._of_result()

    def _run_in_duckdb(
        self, statement: duckdb.Statement, parameters: Parameters | None, keep: Callable[[], None]
    ) -> None:
        called = self._called(statement)
        bound = self._bound(statement, parameters)
        if returns_count(statement, self._database.description):
            rows = self._database.fetchall()
            keep()
            writes.refuse_lost(statement, bound)
            if rows:
                self._result.set_count(int(rows[0][0]))
            else:
                self._result.set_empty()
        elif duckdb.ExpectedResultType.QUERY_RESULT in statement.expected_result_type:
            if called and not bound:
                raise writes.misplaced(called)
            if bound and statement.type == duckdb.StatementType.SELECT:
                self._plans.writes(statement)
                self._transaction.refuse_writing()
                self._carry_out(statement, parameters, bound)
            elif self._session.restrictions.max_rows is not None:
                self._limit(keep)
            self._result.set_query()
            if statement.type == duckdb.StatementType.EXECUTE:
                writes.refuse_prepared(self._result.description or [])
        else:
            self._result.set_empty()

    def _bound(self, statement: duckdb.Statement, parameters: Parameters | None) -> Bound:
        """Execute a statement, which writes no memories yet; return the calls that do."""
        attempts = itertools.count()

        def execute() -> Bound:
            if next(attempts):
                self._seen.see_newest()
            with self._watching(statement) as bound:
                self._plans.execute(self._database, statement, parameters)
            return bound

        if statement.type != duckdb.StatementType.SELECT or self._transaction.is_open:
            return execute()
        return again_if_removed(execute, self._seen.sound)

    def _carry_out(self, statement: duckdb.Statement, parameters: Parameters | None, bound: Bound) -> None:
        """Write what a SELECT that has run asks for; the result is then what the calls returned."""
        columns = self._columns()
        guard = self._session.guard
        result = limits.at_most(self._database, self._session.restrictions.max_rows)
        writes.refuse_lost(statement, bound)
        writes.refuse_misplaced(self._database, guard, statement.query, parameters, result, bound)
        at_once = writes.writes_at_once(bound)
        for write in bound.postponed:
            write()
        if at_once and not bound.postponed:
            # It has succeeded without having written; now it is to write.
            with self._watching(statement, trying=False) as made:
                self._plans.execute(self._database, statement, parameters)
                result = limits.at_most(self._database, self._session.restrictions.max_rows, written=True)
            writes.refuse_lost(statement, made)
        self._result.read_back(*writes.carry_out(self._session.store, result, columns))

    def _change(
        self, target: dml.Target, statement: duckdb.Statement, sets: Sequence[Parameters | None]
    ) -> None:
        """Insert into, update or delete from a table of the database."""
        self._transaction.refuse_writing()
        with self._watching(statement) as bound:
            count, returned = dml.run(
                self._database,
                target,
                statement,
                sets,
                self._session.store,
                self._seen.see_newest,
                self._session.restrictions.max_rows,
            )
        writes.refuse_lost(statement, bound)
        if returned is None:
            self._result.set_count(count)
        else:
            rows, columns = returned
            self._result.read_back(*writes.readable(rows.columns, columns))
            self._result.set_query()

    def _limit(self, keep: Callable[[], None]) -> None:
        """Read the result that a statement has, as far as it may go, and keep what it changed."""
        columns = self._columns()
        rows = limits.at_most(self._database, self._session.restrictions.max_rows)
        keep()
        self._result.read_back(*writes.readable(rows.columns, columns))

    def _columns(self) -> list[tuple[str, str]]:
        return [(column[0], str(column[1])) for column in self._database.description or []]

    def _of_result(self) -> duckdb.DuckDBPyRelation:
        """Return the result as a relation that can be read many times."""
        table = self._result.rows().to_arrow_table()
        return self._database.from_arrow(table.rename_columns(distinct_names(table.column_names)))

    def _define(self, statement: duckdb.Statement) -> None:
        """Make the views and macros that a statement names, itself or in what users have defined."""
        self._session.definitions.make(self._objects, statement)

    def _refuse(self, statement: duckdb.Statement) -> None:
        own_objects.refuse_change(statement)
        if not self._session.restrictions.external_access:
            loopholes.refuse(statement)

    def _called(self, statement: duckdb.Statement) -> str | None:
        """Return the writing function that a SELECT calls by its name, if any; not in a transaction."""
        called = writes.called(self._database, statement)
        if called:
            self._transaction.refuse_writing()
        return called

    @contextmanager
    def _watching(self, statement: duckdb.Statement, *, trying: bool = True) -> Iterator[Bound]:
        """Refuse, while a statement is bound, the calls of writing functions that it could not carry out.

        While ``trying``, those that write at once write nothing yet.
        """
        check = partial(writes.check, statement, in_transaction=self._transaction.is_open)
        with self._session.guard.watching(check, trying=trying) as bound:
            yield bound


@contextmanager
def _observed(store: MemoryStore, statement: duckdb.Statement) -> Iterator[None]:
    """Record a statement, and the search in it that has found nothing, or failed.

    A search that found something has said so itself.
    """
    began = time.perf_counter()
    error: str | None = None
    try:
        yield
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        searched = store.origins.unanswered()
        if searched is not None and selects_from(statement, _SEARCHES):
            store.metrics.observe(SEARCH, searched, error=error)
        store.metrics.observe_statement(statement.type.name, began, error, statement.query)
