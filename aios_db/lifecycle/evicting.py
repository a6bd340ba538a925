"""The part of `MemoryStore` that forgets by itself: what is evicted expires, and is erased later."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

import pyarrow as pa

from aios_db.lifecycle.committing import Consolidating
from aios_db.schema.evictions import Eviction
from aios_db.schema.memories import KEY, TIMESTAMP

_ACTIONS = ("evict", "erase")


class Evicting(Consolidating):
    """Evictions."""

    def evict_planned(self, *, dry_run: bool = False) -> list[Eviction]:
        """Carry out what `eviction_plan` names by the configuration, and return it."""
        from aios_db.lifecycle.asking import Asking

        with Asking(self) as asking:  # type: ignore[arg-type]
            rows = asking.table("FROM eviction_plan() WHERE action <> 'grace'").to_pylist()
        planned = [Eviction(**each) for each in rows]
        if not dry_run:
            of = {name: [each.memory_id for each in planned if each.action == name] for name in _ACTIONS}
            self.evict(of["evict"], of["erase"])
        return planned

    def evict(self, hidden: Sequence[str], erased: Sequence[str]) -> None:
        """Let memories expire now, in one change, and erase others, so that no file holds them.

        Raises
        ------
        ProgrammingError
            One of them is no memory.
        IntegrityError, NotSupportedError
            The connection has a source that is trusted less than the memories; see `update` and `erase`.
        """
        self._check_writable()
        if hidden:
            now = pa.scalar(datetime.now(timezone.utc), TIMESTAMP)
            with self.as_one_change("evict"):
                self.update(pa.table({KEY: list(hidden), "expires_at": pa.repeat(now, len(hidden))}))
        if erased:
            self.erase(erased)
