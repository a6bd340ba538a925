"""What can wait is written later: counts, links of what was recalled, a column of links."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aios_db.disk.failures import operational
from aios_db.schema.errors import OperationalError
from aios_db.schema.metrics import SEARCH
from aios_db.search.levels import FULLY
from aios_db.store.apart import apart
from aios_db.store.opened import OpenDatabase
from aios_db.store.pending import write_column, write_pairs
from aios_db.store.recalls import Pair
from aios_db.store.transaction import Transaction, Transactions

logger = logging.getLogger("aios_db.store")

_MOST_PAIRS = 4_096  # wait to become links


class Deferring:
    """Recalls, and the derived column of links.

    Parameters
    ----------
    database
        What was recalled, and is written.
    transactions
        How it is written.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._database, self._transactions = transactions.database, transactions

    def touch(self, memory_ids: Sequence[str]) -> None:
        """Note that these memories, best first, were recalled together.

        Their ``access_count`` and ``last_access_at`` count at once in this process and a moment later in
        others; links between them are written after `storage.link_recalled_s`. No table changes for a count.
        Does nothing when the store is read-only.
        """
        database = self._database
        database.check_open()
        if memory_ids and not database.read_only and database.config.links.reinforce_recalled:
            index = database.snapshot.index
            if index.has_below(FULLY):  # what is trusted less takes no place among the best
                classes = index.classes(index.find_ids(list(memory_ids)))
                memory_ids = [memory_ids[place] for place in np.argsort(classes, kind="stable").tolist()]
            ceiling = None if database.source is None else database.trust.of(database.source)
            database.recalls.add(memory_ids, apart(index, memory_ids, database.scope, ceiling))
            self._transactions.maintain_soon()

    def asked(self, text: str, where: str, found: Sequence[str]) -> None:
        """Note that a question, with a filter as JSON, found these memories, best first."""
        database = self._database
        database.check_open()
        database.queries.add(text, where, found, database.scope.values)
        if database.queries.unwritten:
            self._transactions.maintain_soon()

    def searched(self, called: float, items: int, text: str) -> None:
        """Record a search, which began with its statement, or else when its function was ``called``."""
        searched(self._database, called, items, text)

    def flush(self) -> None:
        """Write recall counts and the derived link column now, and not a moment later."""
        self._database.check_open()
        if not self._database.read_only:
            self.write_pending()

    def flush_if_possible(self) -> None:
        """`flush` before the database is read, which a full disk must not keep from being done."""
        try:
            self.flush()
        except OperationalError as error:
            logger.warning("reading without what could not be written: %s", error)

    @property
    def is_due(self) -> bool:
        """Whether anything is to be written."""
        database = self._database
        return bool(database.pending or database.recalls.unwritten or database.queries.unwritten)

    def write_pending(self, *, everything: bool = False) -> None:
        """Write recall counts, reinforced links and the derived link column; on failure they stay pending.

        Links wait for more of their kind, unless ``everything`` is to be written.
        """
        database = self._database
        recalls, due_s = database.recalls, database.config.storage.link_recalled_s
        with operational(f"writing recall counts of {database.path}"):
            recalls.flush(self._is_there)
            database.queries.flush()
        if recalls.pairs and (everything or recalls.waiting_s >= due_s or recalls.pairs >= _MOST_PAIRS):
            self._link_recalled()
        if database.pending.is_owed:
            with self._transactions.writing("writing links into memories of") as transaction:
                self._write_column(transaction)

    def _write_column(self, transaction: Transaction) -> None:
        """Bring the column of links up to date, whoever wrote these."""
        pending, now = self._database.pending, transaction.snapshot
        relinked = pending.take(now.links)
        try:
            if relinked is None or relinked:
                transaction.publish(memories=write_column(now.memories, now.links, now.index, relinked))
            pending.shown()
        except BaseException:
            pending.back(relinked)
            raise

    def _is_there(self, digests: NDArray[np.bytes_]) -> NDArray[np.bool_]:
        if self._database.scope:  # of those of others, nobody here can tell
            return np.ones(len(digests), np.bool_)
        return self._database.snapshot.index.find_digests(digests) >= 0

    def _own_pairs(self, pairs: Counter[Pair]) -> Counter[Pair]:
        """Return the pairs of known memories; give the others back, which another process may know."""
        digests = np.array(sorted({each for pair in pairs for each in pair}), "S16")
        known = set(digests[self._database.snapshot.index.find_digests(digests) >= 0].tolist())
        own = Counter({pair: times for pair, times in pairs.items() if known.issuperset(pair)})
        self._database.recalls.back(pairs - own)
        return own

    def _link_recalled(self) -> None:
        database = self._database
        with self._transactions.writing("linking what was recalled together in") as transaction:
            pairs = database.recalls.take_pairs()
            if database.scope:
                pairs = self._own_pairs(pairs)
            now = transaction.snapshot
            database.pending.begin(now.links.version)
            try:
                links, relinked = write_pairs(now.links, now.index, pairs)
            except BaseException:
                database.recalls.back(pairs)
                raise
            transaction.publish(links=links)
            database.pending.relinked(relinked)


def searched(database: OpenDatabase, called: float, items: int, text: str) -> None:
    """Record a search, which began with its statement, or else when its function was ``called``."""
    database.metrics.observe(SEARCH, database.origins.searched(called), items, text=text)
