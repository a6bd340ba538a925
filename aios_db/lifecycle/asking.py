"""A DuckDB of its own over a store, or over what a store would be: for queries that no connection makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from aios_db.schema.association_links import TABLE as LINKS
from aios_db.schema.memories import TABLE as MEMORIES
from aios_db.sql.closing import close_duckdb
from aios_db.sql.duckdb_errors import translated
from aios_db.sql.interrupts import stops_at_ctrl_c
from aios_db.sql.parameters import Texts
from aios_db.sql.plans import PlanEpoch, Plans
from aios_db.store.deferring import searched
from aios_db.store.reading import Reading
from aios_db.udfs import functions, registry, writing
from aios_db.udfs.live import LiveDataset
from aios_db.udfs.on_demand import OnDemand, relation, temporary

if TYPE_CHECKING:
    from aios_db.models.encoding import Encoder
    from aios_db.search.answers import Answers
    from aios_db.store.opened import OpenDatabase
    from aios_db.store.snapshot import Level


class Supposed:
    """What functions that read ask of a store, as it would be with another index; no recall is counted."""

    def __init__(self, database: OpenDatabase, index: Answers) -> None:
        self._database, self.index = database, index
        self.source_share = database.config.trust.source_share

    @property
    def encoder(self) -> Encoder:
        """The text encoder, at the weight version that made the vectors of the snapshot."""
        return self._database.texts.encoder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def touch(self, memory_ids: Sequence[str]) -> None:
        """Count nothing."""

    def asked(self, text: str, where: str, found: Sequence[str]) -> None:
        """Note nothing."""

    def searched(self, called: float, items: int, text: str) -> None:
        """Record a search, see `Deferring.searched`."""
        searched(self._database, called, items, text)


class Asking:
    """Runs SQL with the functions and views of a database, on one thread; nothing is counted as recalled.

    Parameters
    ----------
    database
        What is asked.
    now
        Its memories and links, with their index or another one.
    """

    def __init__(self, database: OpenDatabase, now: Level) -> None:
        self._database, self._errors = database, functions.ErrorBook()
        self._guard = writing.WriteGuard(self._errors, {})
        self._duckdb = duckdb.connect(config={"threads": 1})
        with stops_at_ctrl_c(self._duckdb), translated(self._errors):
            self._duckdb.execute("SET GLOBAL TimeZone = 'UTC'")
            supposed = Supposed(database, now.index)
            self._calls = self._install(supposed)
            self._objects = self._temporary(database.trust.active and supposed.source_share < 1, now)
            self._plans = Plans(PlanEpoch(), Texts(self._duckdb))

    def table(self, query: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Return the rows of a SELECT, which is planned once, however often it is asked."""
        with (
            stops_at_ctrl_c(self._duckdb),
            translated(self._errors),
            self._guard.watching(lambda _: None),
        ):
            self._objects.for_text(query)
            (statement,) = self._plans.statements(self._duckdb, query)
            self._plans.execute(self._duckdb, statement, list(parameters))
            return self._duckdb.to_arrow_table()

    def _install(self, supposed: Supposed) -> list[Callable[..., Any]]:
        """Make the functions; return what DuckDB calls, which is to be kept."""
        database, guard = self._database, self._guard
        calls = functions.install(
            self._duckdb, registry.FUNCTIONS, lambda: supposed, database.dimension, self._errors,
            called=guard.called, postpone=guard.postpone,
        )  # fmt: skip
        create_function: Any = self._duckdb.create_function
        for name, function in ((writing.MARK, guard.bind), (writing.SITE, guard.site)):
            create_function(name, function, ["VARCHAR"], "VARCHAR", side_effects=False)
        return calls

    def _temporary(self, by_source: bool, now: Level) -> OnDemand:
        """Return the views and macros."""
        database, reading, items = self._database, Reading(self._database), []
        for table in registry.TABLES:
            counts = (lambda: database.recalls) if table == MEMORIES else None
            reader = partial(_table, database, now, table)
            dataset = LiveDataset(reader, counts, reading.wall(table), self._errors.record)
            items.append(relation(self._duckdb, f"lance_{table}", dataset))
        objects = registry.sql_objects(database.config, by_source=by_source)
        return OnDemand([*items, *(temporary(self._duckdb, each, self._guard) for each in objects)])

    def __enter__(self) -> Asking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close_duckdb(self._duckdb)


def _table(database: OpenDatabase, now: Level, table: str) -> Any:
    """Return the dataset of a table, the memories and links as they were taken."""
    if table == LINKS:
        return now.links
    return now.memories if table == MEMORIES else database.dataset(table)
