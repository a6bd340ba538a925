"""What forgets by itself: what is evicted expires, and is erased later."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

import pyarrow as pa

from aios_db.schema.evictions import Eviction
from aios_db.schema.memories import KEY, TIMESTAMP
from aios_db.store.erasing import Erasing
from aios_db.store.snapshot import Level
from aios_db.store.transaction import Transactions
from aios_db.store.writes import Writes

_ACTIONS = ("evict", "erase")


class Evicting:
    """Evictions.

    Parameters
    ----------
    transactions
        How all is written.
    writes
        Lets memories expire.
    erasing
        Erases them.
    """

    def __init__(self, transactions: Transactions, writes: Writes, erasing: Erasing) -> None:
        self._database, self._transactions = transactions.database, transactions
        self._writes, self._erasing = writes, erasing

    def evict_planned(self, *, dry_run: bool = False) -> list[Eviction]:
        """Carry out what `eviction_plan` names by the configuration, and return it."""
        planned = self._database.read(self._planned)
        if not dry_run:
            of = {name: [each.memory_id for each in planned if each.action == name] for name in _ACTIONS}
            self.evict(of["evict"], of["erase"])
        return planned

    def _planned(self, now: Level) -> list[Eviction]:
        from aios_db.lifecycle.asking import Asking

        with Asking(self._database, now) as asking:
            rows = asking.table("FROM eviction_plan() WHERE action <> 'grace'").to_pylist()
        return [Eviction(**each) for each in rows]

    def evict(self, hidden: Sequence[str], erased: Sequence[str]) -> None:
        """Let memories expire now, in one change, and erase others, so that no file holds them.

        Raises
        ------
        ProgrammingError
            One of them is no memory.
        IntegrityError, NotSupportedError
            The connection has a source that is trusted less than the memories; see `update` and `erase`.
        """
        self._database.check_writable()
        if hidden:
            now = pa.scalar(datetime.now(timezone.utc), TIMESTAMP)
            with self._transactions.as_one_change("evict"):
                self._writes.update(pa.table({KEY: list(hidden), "expires_at": pa.repeat(now, len(hidden))}))
        if erased:
            self._erasing.erase(erased)
