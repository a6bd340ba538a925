"""A source is kept from changing what is trusted more than it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.errors import NotSupportedError
from aios_db.search.answers import Answers
from aios_db.search.ranking import digest64
from aios_db.store.attribution import Repeated, inheriting
from aios_db.store.opened import OpenDatabase
from aios_db.store.snapshot import Level
from aios_db.trust.authority import Trusts, authority, over_others, refuse_beyond


class Guarding:
    """Who may replace, change, delete and link what.

    Parameters
    ----------
    database
        Has the memories, and the source of all that is written.
    """

    def __init__(self, database: OpenDatabase) -> None:
        self._database = database

    def refuse_of_source(self, what: str) -> None:
        """Raise a `NotSupportedError` where all that is written has one source."""
        source = self._database.source
        if source is not None:
            raise NotSupportedError(
                f"{what} is for whoever judges sources, and this connection writes as {source!r}; "
                "use one without source"
            )

    def repeated(self, now: Level, distinct: pa.Table, known: NDArray[np.int64], entry: str) -> Repeated:
        """Return what becomes of the memories that are ``known``."""
        trust = self._database.trust
        found = Repeated(np.zeros(len(known), np.bool_), np.zeros(len(known), np.bool_))
        old = np.flatnonzero(known >= 0)
        if not len(old):
            return found
        rows, again = known[old], inheriting(distinct.take(pa.array(old)), now.index)
        shares = self._authority_over(now.index, rows, authority(again, entry, trust))
        first = shares
        if trust.active:
            first = authority(now.memories._take_rows(rows.tolist(), columns=["source"]), "", trust)
        among = Repeated.between(again, shares, first, now.index.trust(rows), is_named(again))
        found.outdone[old], found.kept[old] = among.outdone, among.kept
        return found

    def keep_from_takeovers(
        self, now: Level, distinct: pa.Table, known: NDArray[np.int64], entry: str
    ) -> None:
        """Refuse rows that would replace what is trusted more than their source.

        One that only has the content of such a memory, and a name of its own, is another: it is not known.
        """
        shares = self._authority_over(now.index, known, authority(distinct, entry, self._database.trust))
        places = np.flatnonzero((known >= 0) & is_named(distinct))
        places = places[shares[places] < now.index.trust(known[places])]
        if not len(places):
            return
        names = now.memories._take_rows(known[places].tolist(), columns=["external_id"])["external_id"]
        own = places[names.is_valid().to_numpy()]
        if len(own):
            place = int(own[0])
            source, name = (distinct[column][place].as_py() for column in ("source", "external_id"))
            told = f"the memory with the external_id {name!r}"
            trust = now.index.trust(known[own[:1]])
            refuse_beyond(source or entry, shares[own[:1]], trust, "replace", lambda _: told)
        known[places] = -1

    def _authority_over(self, index: Answers, rows: NDArray[np.int64], shares: Trusts) -> Trusts:
        """Return the authority over memories, given the trust in who would change them."""
        source = self._database.source
        if source is None:
            return shares
        owners = index.owners(rows, "source")
        return over_others(shares, owners == np.uint64(digest64(source)))

    def refuse_beyond(self, rows: NDArray[np.int64], doing: str) -> None:
        """Raise where all that is written has one source, and that may not change a memory."""
        source, index = self._database.source, self._database.snapshot.index
        if source is not None and len(rows):
            shares = np.full(len(rows), self._database.trust.of(source), np.float32)
            refuse_beyond(
                source,
                self._authority_over(index, rows, shares),
                index.trust(rows),
                doing,
                lambda place: str(index.memory_ids(rows[[place]])[0]),
            )

    def refuse_links_beyond(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        """Raise where a link would join two memories of which both are trusted more than the one source.

        What one end of a link says goes only to what is trusted as much or less.
        """
        source, index = self._database.source, self._database.snapshot.index
        if source is not None:
            trust = [index.trust(index.find_ids(list(ends))) for ends in (sources, targets)]
            refuse_beyond(
                source,
                np.full(len(sources), self._database.trust.of(source), np.float32),
                np.minimum(*trust),
                "change the link of",
                lambda place: f"{sources[place]} and {targets[place]}",
            )


def is_named(rows: pa.Table) -> NDArray[np.bool_]:
    """Tell which rows bring a name of the user's: they replace the memory that has it."""
    found: NDArray[np.bool_] = rows["external_id"].is_valid().to_numpy()
    return found
