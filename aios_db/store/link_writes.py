"""Links are inserted, strengthened and deleted."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from aios_db.observing.recorder import measured
from aios_db.schema import association_links
from aios_db.schema.errors import ProgrammingError
from aios_db.search.index import SearchIndex
from aios_db.store import links as links_
from aios_db.store.guarding import Guarding
from aios_db.store.reading import Reading
from aios_db.store.transaction import Transactions


class LinkWrites:
    """Links by their ends and kind.

    Parameters
    ----------
    transactions
        How all is written.
    guarding
        Who may link what.
    reading
        Says which links are seen.
    """

    def __init__(self, transactions: Transactions, guarding: Guarding, reading: Reading) -> None:
        self._database, self._transactions = transactions.database, transactions
        self._guarding, self._reading = guarding, reading
        self.metrics = self._database.metrics

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
        self._database.check_writable()
        given = links_.normalise(links)
        if not len(given):
            return 0
        sources, targets = (given[name].to_pylist() for name in ("source_id", "target_id"))
        with self._transactions.changing("link", "writing links to") as transaction:
            now, draft = transaction.snapshot, transaction.draft
            _refuse_ends(now.index, sources, targets)
            self._guarding.refuse_links_beyond(sources, targets)
            written, draft.links = links_.upsert(now.links, given, exactly=exactly)
            transaction.publish(links=written)
            self._database.pending.relinked(sources)
        self._transactions.maintain_soon()
        return draft.links

    @measured("unlink")
    def unlink(self, links: pa.Table) -> int:
        """Delete links; return how many there were.

        Parameters
        ----------
        links
            Columns ``source_id``, ``target_id`` and ``kind``.
        """
        self._database.check_writable()
        ends = (links[name].to_pylist() for name in ("source_id", "target_id"))
        with self._transactions.changing("unlink", "deleting links of") as transaction:
            now, draft = transaction.snapshot, transaction.draft
            self._guarding.refuse_links_beyond(*ends)
            written, sources, draft.links = links_.delete_named(now.links, self._visible_links(links))
            if draft.links:
                transaction.publish(links=written)
            self._database.pending.relinked(sources)
        self._transactions.maintain_soon()
        return draft.links

    def _visible_links(self, keys: pa.Table) -> pa.Table:
        wall = self._reading.wall(association_links.TABLE)
        if wall is None or not len(keys):
            return keys
        return pa.Table.from_batches([wall.visible(batch) for batch in keys.to_batches()], keys.schema)


def _refuse_ends(index: SearchIndex, sources: list[str], targets: list[str]) -> None:
    """Raise where a link would have no end, or lead from one user to another."""
    names = sources + targets
    rows = index.find_ids(names)
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        told = ", ".join(sorted({names[each] for each in missing})[:5])
        raise ProgrammingError(f"cannot link: no memory {told}")
    first, second = np.split(index.users(rows), 2)
    across = np.flatnonzero((first != second) & (first != 0) & (second != 0))
    if len(across):
        raise ProgrammingError(
            f"cannot link {sources[across[0]]} and {targets[across[0]]}: they are of different users"
        )
