"""The part of `MemoryStore` that writes later what can wait: counts, links of what was recalled, a column."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.errors import OperationalError
from aios_db.schema.metrics import SEARCH
from aios_db.search.levels import FULLY
from aios_db.store.apart import apart
from aios_db.store.facade import Facade
from aios_db.store.failures import operational
from aios_db.store.pending import write_column, write_pairs
from aios_db.store.recalls import Pair

logger = logging.getLogger("aios_db.store")

_MOST_PAIRS = 4_096  # wait to become links


class Deferring(Facade):
    """Recalls, and the derived column of links."""

    def touch(self, memory_ids: Sequence[str]) -> None:
        """Note that these memories, best first, were recalled together.

        Their ``access_count`` and ``last_access_at`` count at once in this process and a moment later in
        others; links between them are written after `storage.link_recalled_s`. No table changes for a count.
        Does nothing when the store is read-only.
        """
        self._check_open()
        if memory_ids and not self.read_only and self.config.links.reinforce_recalled:
            if self.index.has_below(FULLY):  # what is trusted less takes no place among the best
                classes = self.index.classes(self.index.find_ids(list(memory_ids)))
                memory_ids = [memory_ids[place] for place in np.argsort(classes, kind="stable").tolist()]
            ceiling = None if self.source is None else self.trust.of(self.source)
            self.recalls.add(memory_ids, apart(self.index, memory_ids, self.scope, ceiling))
            self._maintenance.notify()

    def asked(self, text: str, where: str, found: Sequence[str]) -> None:
        """Note that a question, with a filter as JSON, found these memories, best first."""
        self._check_open()
        self.queries.add(text, where, found, self.scope.values)
        if self.queries.unwritten:
            self._maintenance.notify()

    def searched(self, called: float, items: int, text: str) -> None:
        """Record a search, which began with its statement, or else when its function was ``called``."""
        self.metrics.observe(SEARCH, self.origins.began(called), items, text=text)

    def flush(self) -> None:
        """Write recall counts and the derived link column now, and not a moment later."""
        self._check_open()
        if not self.read_only:
            self._write_pending()

    def flush_if_possible(self) -> None:
        """`flush` before the database is read, which a full disk must not keep from being done."""
        try:
            self.flush()
        except OperationalError as error:
            logger.warning("reading without what could not be written: %s", error)

    def _write_pending(self, *, everything: bool = False) -> None:
        """Write recall counts, reinforced links and the derived link column; on failure they stay pending.

        Links wait for more of their kind, unless ``everything`` is to be written.
        """
        recalls, due_s = self.recalls, self.config.storage.link_recalled_s
        with operational(f"writing recall counts of {self.path}"):
            recalls.flush(self._is_there)
            self.queries.flush()
        if recalls.pairs and (everything or recalls.waiting_s >= due_s or recalls.pairs >= _MOST_PAIRS):
            self._link_recalled()
        relinked = self._pending.drain()
        if not relinked:
            return
        try:
            with self._writing("writing links into memories of"):
                self._written(write_column(self.memories, self.links, self.index, relinked))
        except BaseException:
            self._pending.relinked(relinked)
            raise

    def _is_there(self, digests: NDArray[np.bytes_]) -> NDArray[np.bool_]:
        if self.scope:  # of those of others, nobody here can tell
            return np.ones(len(digests), np.bool_)
        return self.index.find_digests(digests) >= 0

    def _own_pairs(self, pairs: Counter[Pair]) -> Counter[Pair]:
        """Return the pairs of known memories; give the others back, which another process may know."""
        digests = np.array(sorted({each for pair in pairs for each in pair}), "S16")
        known = set(digests[self.index.find_digests(digests) >= 0].tolist())
        own = Counter({pair: times for pair, times in pairs.items() if known.issuperset(pair)})
        self.recalls.back(pairs - own)
        return own

    def _link_recalled(self) -> None:
        with self._writing("linking what was recalled together in"):
            pairs = self.recalls.take_pairs()
            if self.scope:
                pairs = self._own_pairs(pairs)
            try:
                links, relinked = write_pairs(self.links, self.index, pairs)
            except BaseException:
                self.recalls.back(pairs)
                raise
            self._written(links=links)
            self._pending.relinked(relinked)
