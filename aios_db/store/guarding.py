"""The part of `MemoryStore` that keeps a source from changing what is trusted more than it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.provenance.authority import Trusts, authority, over_others, refuse_beyond
from aios_db.provenance.taking import Repeated, inheriting
from aios_db.search.ranking import digest64
from aios_db.store.deferring import Deferring


class Guarding(Deferring):
    """Who may replace, change, delete and link what."""

    def _repeated(self, distinct: pa.Table, known: NDArray[np.int64], entry: str) -> Repeated:
        """Return what becomes of the memories that are ``known``."""
        found = Repeated(np.zeros(len(known), np.bool_), np.zeros(len(known), np.bool_))
        old = np.flatnonzero(known >= 0)
        if not len(old):
            return found
        rows, again = known[old], inheriting(distinct.take(pa.array(old)), self.index)
        shares = self._authority_over(rows, authority(again, entry, self.trust))
        first = shares
        if self.trust.active:
            first = authority(self.memories._take_rows(rows.tolist(), columns=["source"]), "", self.trust)
        among = Repeated.between(again, shares, first, self.index.trust(rows), is_named(again))
        found.outdone[old], found.kept[old] = among.outdone, among.kept
        return found

    def _keep_from_takeovers(self, distinct: pa.Table, known: NDArray[np.int64], entry: str) -> None:
        """Refuse rows that would replace what is trusted more than their source.

        One that only has the content of such a memory, and a name of its own, is another: it is not known.
        """
        shares = self._authority_over(known, authority(distinct, entry, self.trust))
        places = np.flatnonzero((known >= 0) & is_named(distinct))
        places = places[shares[places] < self.index.trust(known[places])]
        if not len(places):
            return
        names = self.memories._take_rows(known[places].tolist(), columns=["external_id"])["external_id"]
        own = places[names.is_valid().to_numpy()]
        if len(own):
            place = int(own[0])
            source, name = (distinct[column][place].as_py() for column in ("source", "external_id"))
            told = f"the memory with the external_id {name!r}"
            trust = self.index.trust(known[own[:1]])
            refuse_beyond(source or entry, shares[own[:1]], trust, "replace", lambda _: told)
        known[places] = -1

    def _authority_over(self, rows: NDArray[np.int64], shares: Trusts) -> Trusts:
        """Return the authority over memories, given the trust in who would change them."""
        if self.source is None:
            return shares
        return over_others(shares, self.index.owners(rows, "source") == np.uint64(digest64(self.source)))

    def _refuse_beyond(self, rows: NDArray[np.int64], doing: str) -> None:
        """Raise where all that this store writes has one source, and that may not change a memory."""
        if self.source is not None and len(rows):
            shares = np.full(len(rows), self.trust.of(self.source), np.float32)
            refuse_beyond(
                self.source,
                self._authority_over(rows, shares),
                self.index.trust(rows),
                doing,
                lambda place: str(self.index.memory_ids(rows[[place]])[0]),
            )

    def _refuse_links_beyond(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        """Raise where a link would join two memories of which both are trusted more than the store's source.

        What one end of a link says goes only to what is trusted as much or less.
        """
        if self.source is not None:
            trust = [self.index.trust(self.index.find_ids(list(ends))) for ends in (sources, targets)]
            refuse_beyond(
                self.source,
                np.full(len(sources), self.trust.of(self.source), np.float32),
                np.minimum(*trust),
                "change the link of",
                lambda place: f"{sources[place]} and {targets[place]}",
            )


def is_named(rows: pa.Table) -> NDArray[np.bool_]:
    """Tell which rows bring a name of the user's: they replace the memory that has it."""
    found: NDArray[np.bool_] = rows["external_id"].is_valid().to_numpy()
    return found
