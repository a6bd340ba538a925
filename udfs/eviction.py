"""`evict` in SQL: what `eviction_plan` names is hidden, and erased after its time of grace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from aios_db.schema.errors import ProgrammingError
from aios_db.schema.memories import TIMESTAMP
from aios_db.udfs.functions import ScalarFunction
from aios_db.udfs.types import BIGINT, BOOLEAN, DOUBLE, VARCHAR


class Evicting(Protocol):
    """A store that forgets."""

    def evict(self, hidden: Sequence[str], erased: Sequence[str]) -> None:
        """Let memories expire now, and erase others."""
        ...


def evict(store: Evicting, plans: pa.Array, dry_run: pa.Array) -> pa.Array:
    """Carry a plan out, and return it."""
    found = planned(store, plans, dry_run)
    if not dry_run[0].as_py():
        rows = found[0].as_py() or []
        of = {action: [row["memory_id"] for row in rows if row["action"] == action] for action in _ACTIONS}
        store.evict(of["evict"], of["erase"])
    return found


def planned(_: object, plans: pa.Array, dry_run: pa.Array) -> pa.Array:
    """Return the one plan.

    Raises
    ------
    ProgrammingError
        It is called for several rows.
    """
    if len(plans) != 1:
        raise ProgrammingError(f"evict was called for {len(plans)} rows at once; it takes none: FROM evict()")
    return plans


_ACTIONS = ("evict", "erase")
_PLAN = pa.list_(
    pa.struct(
        [
            *((name, VARCHAR) for name in ("memory_id", "tier", "action", "reason")),
            ("heat", DOUBLE),
            ("used_at", TIMESTAMP),
            ("bytes", BIGINT),
            ("expires_at", TIMESTAMP),
        ]
    )
)

FUNCTIONS = (
    ScalarFunction("aios_evict", [_PLAN, BOOLEAN, VARCHAR], _PLAN, evict, trial=planned, at_end=True),
)
