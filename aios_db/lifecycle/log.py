"""The log of consolidations: the one path by which `consolidation_log` is read and written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import lance
import pyarrow as pa

from aios_db.disk.durable import DurableTable
from aios_db.disk.failures import operational
from aios_db.schema.consolidation_log import KEY, SCHEMA, TABLE
from aios_db.schema.consolidations import Outcome
from aios_db.schema.database import table_path
from aios_db.schema.errors import ProgrammingError
from aios_db.store.erasure import rewrite
from aios_db.store.small_tables import keep_small

if TYPE_CHECKING:
    from aios_db.store.opened import OpenDatabase


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
    """The log of one database, as far as its scope sees it; whoever writes holds the write lock."""

    def __init__(self, database: OpenDatabase) -> None:
        self._database = database

    def rows(self, where: str | None = None) -> list[Consolidation]:
        """Return the consolidations of which an SQL expression is true, the oldest first."""
        table = self._database.scope.seen(self._database.dataset(TABLE).to_table(filter=where))
        return [Consolidation(**row) for row in table.sort_by(KEY).to_pylist()]

    def named(self, consolidation_ids: Collection[str]) -> list[Consolidation]:
        """Return those of some consolidations that are there."""
        if not consolidation_ids:
            return []
        names = ", ".join(f"'{each.replace(chr(39), chr(39) * 2)}'" for each in sorted(consolidation_ids))
        return self.rows(f"{KEY} IN ({names})")

    def get(self, consolidation_id: str) -> Consolidation:
        """Return one consolidation.

        Raises
        ------
        ProgrammingError
            There is none.
        """
        found = self.named([consolidation_id])
        if not found:
            raise ProgrammingError(
                f"there is no consolidation {consolidation_id!r}; FROM consolidation_log lists them"
            )
        return found[0]

    def lost(self, user_id: str | None, agent_id: str | None) -> float:
        """Return the share that past queries lost by all consolidations of an owner that stand."""
        losses = (
            each.recall_before - each.recall_after
            for each in self.rows("state = 'committed' AND recall_before > recall_after")
            if each.recall_before is not None and each.recall_after is not None
            if (each.user_id, each.agent_id) == (user_id, agent_id)
        )
        return sum(losses)

    def erase(self, is_there: Callable[[list[str]], list[bool]]) -> None:
        """Take out memories that are gone, consolidations of which none is left, and older versions."""
        database = self._database
        left, gone = [], []
        for each in self.rows():
            names = [*each.sources, *each.principles]
            known = {name for name, there in zip(names, is_there(names), strict=True) if there}
            if names and not known:
                gone.append(each.consolidation_id)
            elif len(known) < len({*names}):
                kept = ([name for name in some if name in known] for some in (each.sources, each.principles))
                sources, principles = kept
                left.append(replace(each, sources=sources, principles=principles))
        self.write(left)
        written = lance.dataset(database.dataset(TABLE).uri)
        with operational(f"erasing of {TABLE} of {database.path}"):
            if gone:
                listed = ", ".join(f"'{each}'" for each in gone)
                written.delete(f"{KEY} IN ({listed})")
            written = rewrite(written, database.config.compression)
            if database.config.storage.durability == "full":
                DurableTable(table_path(database.path, TABLE)).force(written)

    def write(self, rows: Sequence[Consolidation]) -> None:
        """Add consolidations, or bring them up to date, in one commit, on the disk if that is promised."""
        if not rows:
            return
        database = self._database
        with operational(f"writing {TABLE} of {database.path}"):
            written = lance.dataset(database.dataset(TABLE).uri)
            merge = written.merge_insert(KEY).when_matched_update_all().when_not_matched_insert_all()
            merge.execute(pa.Table.from_pylist([asdict(each) for each in rows], schema=SCHEMA))
            if database.config.storage.durability == "full":
                DurableTable(table_path(database.path, TABLE)).force(written)
        keep_small(database, written)
