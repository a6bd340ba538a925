"""The part of `MemoryStore` that changes links."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from aios_db.observing.recorder import measured
from aios_db.schema import association_links
from aios_db.schema.errors import ProgrammingError
from aios_db.store import links as links_
from aios_db.store.writes import Writes


class LinkWrites(Writes):
    """Links by their ends and kind."""

    @measured("link")
    def link(self, links: pa.Table, *, exactly: bool = False) -> int:
        """Insert links between memories; one that exists gets the greater weight and one more evidence.

        Parameters
        ----------
        links
            Columns ``source_id``, ``target_id``, ``kind`` (default "user") and ``weight`` (default 1.0).

        Returns
        -------
        int
            How many distinct links were given.

        Raises
        ------
        ProgrammingError
            For an unknown column, or an end that is no memory.
        IntegrityError
            The store's source is trusted less than both ends.
        DataError
            For a NULL, an empty kind, a weight outside (0, 1] or a memory linked to itself.
        """
        self._check_writable()
        given = links_.normalise(links)
        if not len(given):
            return 0
        sources = given["source_id"].to_pylist()
        with self._changing("link", "writing links to") as draft:
            self._refuse_ends(sources, given["target_id"].to_pylist())
            self._refuse_links_beyond(sources, given["target_id"].to_pylist())
            written, draft.links = links_.upsert(self.links, given, exactly=exactly)
            self._written(links=written)
        self._pending.relinked(sources)
        self._maintenance.notify()
        return draft.links

    @measured("unlink")
    def unlink(self, links: pa.Table) -> int:
        """Delete links; return how many there were.

        Parameters
        ----------
        links
            Columns ``source_id``, ``target_id`` and ``kind``.
        """
        self._check_writable()
        with self._changing("unlink", "deleting links of") as draft:
            self._refuse_links_beyond(*(links[name].to_pylist() for name in ("source_id", "target_id")))
            written, sources, draft.links = links_.delete_named(self.links, self._visible_links(links))
            if draft.links:
                self._written(links=written)
        self._pending.relinked(sources)
        self._maintenance.notify()
        return draft.links

    def _refuse_ends(self, sources: list[str], targets: list[str]) -> None:
        """Raise where a link would have no end, or lead from one user to another."""
        names = sources + targets
        rows = self.index.find_ids(names)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            told = ", ".join(sorted({names[each] for each in missing})[:5])
            raise ProgrammingError(f"cannot link: no memory {told}")
        first, second = np.split(self.index.users(rows), 2)
        across = np.flatnonzero((first != second) & (first != 0) & (second != 0))
        if len(across):
            raise ProgrammingError(
                f"cannot link {sources[across[0]]} and {targets[across[0]]}: they are of different users"
            )

    def _visible_links(self, keys: pa.Table) -> pa.Table:
        wall = self.wall(association_links.TABLE)
        if wall is None or not len(keys):
            return keys
        return pa.Table.from_batches([wall.visible(batch) for batch in keys.to_batches()], keys.schema)
