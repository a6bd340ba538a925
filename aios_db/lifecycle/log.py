"""The log of consolidations: the one path by which `consolidation_log` is read and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import lance
import pyarrow as pa

from aios_db.federation.upkeep import keep_small
from aios_db.schema.consolidation_log import KEY, SCHEMA, TABLE
from aios_db.schema.consolidations import Outcome
from aios_db.schema.database import table_path
from aios_db.schema.errors import ProgrammingError
from aios_db.store.durable import DurableTable
from aios_db.store.failures import operational

if TYPE_CHECKING:
    from aios_db.store.store import MemoryStore


@dataclass(frozen=True)
class Consolidation(Outcome):
    """A row of `consolidation_log`; `schema/consolidation_log.py` says what each column means."""

    consolidation_id: str
    trigger: str
    policy: str
    sources: list[str]
    principles: list[str]
    change_id: int | None
    started_at: datetime


class ConsolidationLog:
    """The log of one store, as far as its scope sees it; whoever writes holds the write lock."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def rows(self) -> list[Consolidation]:
        """Return the consolidations, the oldest first."""
        table = self._store.scope.seen(self._store.dataset(TABLE).to_table())
        return [Consolidation(**row) for row in table.sort_by(KEY).to_pylist()]

    def get(self, consolidation_id: str) -> Consolidation:
        """Return one consolidation.

        Raises
        ------
        ProgrammingError
            There is none.
        """
        found = next((each for each in self.rows() if each.consolidation_id == consolidation_id), None)
        if found is None:
            raise ProgrammingError(
                f"there is no consolidation {consolidation_id!r}; FROM consolidation_log lists them"
            )
        return found

    def write(self, rows: Sequence[Consolidation]) -> None:
        """Add consolidations, or bring them up to date, in one commit, on the disk if that is promised."""
        if not rows:
            return
        store = self._store
        with operational(f"writing {TABLE} of {store.path}"):
            written = lance.dataset(store.dataset(TABLE).uri)
            merge = written.merge_insert(KEY).when_matched_update_all().when_not_matched_insert_all()
            merge.execute(pa.Table.from_pylist([asdict(each) for each in rows], schema=SCHEMA))
            if store.config.storage.durability == "full":
                DurableTable(table_path(store.path, TABLE)).force(written)
        keep_small(store, written)
