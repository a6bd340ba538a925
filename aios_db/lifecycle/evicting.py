"""The part of `MemoryStore` that forgets by itself: what is evicted expires, and is erased later."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

import pyarrow as pa

from aios_db.lifecycle.committing import Consolidating
from aios_db.schema.memories import KEY, TIMESTAMP


class Evicting(Consolidating):
    """Evictions."""

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
