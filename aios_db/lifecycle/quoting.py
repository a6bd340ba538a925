"""Principles follow what they quote, as that is forgotten or changes, and what was folded goes along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import compress

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.lifecycle.folded import folded_into
from aios_db.lifecycle.principles import KIND
from aios_db.schema.memories import CODE_FIELD
from aios_db.schema.sources import CONSOLIDATION
from aios_db.search.index import SearchIndex
from aios_db.store.changes import Change
from aios_db.store.commit import merged
from aios_db.store.ends import ends
from aios_db.store.forgetting import Besides, Changed
from aios_db.store.opened import OpenDatabase
from aios_db.store.selection import Selection
from aios_db.store.writes import Along

ARCHIVED, SHORT = "archived", "short"
ENDS = ("valid_until", "expires_at")
"""What a principle has of the source of which it comes first."""
_VECTOR = ("text_embedding", "text_weight_version")


class Quoting:
    """Principles are made of their sources.

    What is forgotten, erased or reworded takes the principles that quote it along, and what else they were
    made of is short-term again, in the same commit. What was folded into it is gone with what is forgotten
    or erased. A principle holds until the first of its sources does no longer, and expires with it. All is
    asked under the write lock, of the snapshot.

    Parameters
    ----------
    database
        Has the memories.
    """

    def __init__(self, database: OpenDatabase) -> None:
        self._database = database

    def with_those_of(self, chosen: Selection) -> Selection:
        """Return a selection with the principles of memories that it names and a consolidation deleted."""
        whole = self._database.source is None and replace(chosen, memory_ids=None) == Selection()
        if not chosen.memory_ids or not whole:
            return chosen
        there = self._index.find_ids(list(chosen.memory_ids)) >= 0
        deleted = [each for each, known in zip(chosen.memory_ids, there.tolist(), strict=True) if not known]
        return Selection(memory_ids=[*chosen.memory_ids, *self._principles_of(deleted)])

    def going_along(self, row_ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], Besides | None]:
        """Return rows that go, with what was folded into them and the principles that quote any of these.

        The other value says which sources of these come back.
        """
        row_ids = np.union1d(row_ids, folded_into(self._database.snapshot, row_ids))
        quoting = self._principles_of(self._index.memory_ids(row_ids).to_pylist())
        gone = np.union1d(row_ids, self._index.find_ids(list(quoting)))
        quoted = sorted({name for sources in quoting.values() for name in sources})
        return gone, partial(self.short_again, quoted, gone) if quoted else None

    def following(self, change: Change) -> Along | None:
        """Return what follows a change: principles of what is reworded go, and end with what ends."""
        reworded = self._principles_of(self._named(change, "title", "text"), but=change.row_ids)
        ended = self._principles_of(self._named(change, *ENDS), but=change.row_ids)
        ended = {name: sources for name, sources in ended.items() if name not in reworded}
        if not reworded and not ended:
            return None
        gone = self._index.find_ids(list(reworded))
        changed = self._with_ends(change, ended)
        quoted = sorted({name for sources in reworded.values() for name in sources})
        back = self.short_again(quoted, gone)
        rows, columns = merged(self._memories, back, changed)
        return Along(rows, columns, gone, pa.array(list(reworded), pa.string()))

    def without(self, row_ids: NDArray[np.int64]) -> Changed:
        """Return what changes of the memories that are left, as if some had never been there.

        What these superseded holds again, unless its end is another than they gave it, and ends principles
        no longer; what they were summed up with is short-term again.
        """
        gone = self._index.memory_ids(row_ids)
        changed = self._holding_again(gone, row_ids)
        ended = self._principles_of(self._named(changed, *ENDS), but=row_ids)
        quoting = self._principles_of(gone.to_pylist())
        quoted = sorted({name for sources in quoting.values() for name in sources})
        return merged(self._memories, self.short_again(quoted, row_ids), self._with_ends(changed, ended))

    def _holding_again(self, gone: pa.StringArray, row_ids: NDArray[np.int64]) -> Change:
        """Return what no memory supersedes any more, without the end that followed from it."""
        columns = ["superseded_by", "valid_until"]
        superseded = pc.field("superseded_by").isin(gone)
        stored = self._memories.to_table(columns=columns, filter=superseded, with_row_id=True)
        stored = stored.filter(pa.array(~np.isin(stored["_rowid"].to_numpy(), row_ids))).combine_chunks()
        nothing, end = (pa.nulls(len(stored), stored[each].type) for each in columns)
        by = stored["superseded_by"].combine_chunks()
        followed, _ = ends(by, end, self._memories, self._index)
        given = stored["valid_until"].combine_chunks()
        left = pc.if_else(pc.equal(given, followed).fill_null(False), end, given)
        rows = stored["_rowid"].to_numpy().astype(np.int64)
        return Change.between(rows, stored, {"superseded_by": nothing, "valid_until": left})

    def short_again(self, memory_ids: Sequence[str], gone: NDArray[np.int64]) -> Changed:
        """Return what changes as those of some memories are short-term again that no other principle quotes.

        Parameters
        ----------
        gone
            Rows of principles and memories that go; they neither quote nor come back.
        """
        quoting = self._principles_of(memory_ids, but=gone)
        quoted = {name for sources in quoting.values() for name in sources}
        return self._short_again([each for each in memory_ids if each not in quoted], but=gone)

    @property
    def _memories(self) -> lance.LanceDataset:
        return self._database.snapshot.memories

    @property
    def _index(self) -> SearchIndex:
        return self._database.snapshot.index

    def _named(self, change: Change, *columns: str) -> list[str]:
        """Return the memories of which one of some columns changes."""
        differing = [change.changed[each] for each in columns if each in change.changed]
        if not differing:
            return []
        names: list[str] = self._index.memory_ids(change.row_ids[np.logical_or.reduce(differing)]).to_pylist()
        return names

    def _principles_of(
        self, memory_ids: Sequence[str], but: NDArray[np.int64] | None = None
    ) -> dict[str, list[str]]:
        """Return the principles that consolidations made of some memories, each with all its sources.

        Parameters
        ----------
        but
            Rows that are left out.
        """
        if not memory_ids:
            return {}
        rows, sources = self._index.made_of(memory_ids)
        quoting = self._index.has(rows, "kind", KIND) & self._index.has(rows, "source", CONSOLIDATION)
        if but is not None:
            quoting &= ~np.isin(rows, but)
        names = self._index.memory_ids(rows[quoting]).to_pylist()
        return dict(zip(names, compress(sources, quoting), strict=True))

    def _with_ends(
        self, change: Change, principles: dict[str, list[str]]
    ) -> tuple[NDArray[np.int64], dict[str, pa.Array]]:
        """Return a change, with the least `ENDS` of their sources for principles."""
        if not principles:
            return change.row_ids, dict(change.columns)
        sources = sorted({name for each in principles.values() for name in each})
        found = self._index.find_ids(sources)
        stored = self._memories._take_rows(found[found >= 0].tolist(), columns=["memory_id", *ENDS])
        rows, names = self._index.find_ids(list(principles)), stored["memory_id"].to_pylist()
        changed = self._index.memory_ids(change.row_ids).to_pylist()
        columns = {}
        for column in ENDS:
            if column not in change.columns:
                continue
            given = change.columns[column]
            ends = dict(zip(names, stored[column].to_pylist(), strict=True))
            ends |= dict(zip(changed, given.to_pylist(), strict=True))
            known = [[end for name in each if (end := ends.get(name))] for each in principles.values()]
            columns[column] = pa.array([min(each, default=None) for each in known], given.type)
        return merged(self._memories, (change.row_ids, dict(change.columns)), (rows, columns))

    def _short_again(self, memory_ids: Sequence[str], but: NDArray[np.int64]) -> Changed:
        """Return which of some memories are archived, and what changes as they come into the short tier.

        What was compressed is embedded again, as by any way out of that tier.

        Parameters
        ----------
        but
            Rows that stay as they are.
        """
        found = self._index.find_ids(list(memory_ids))
        found = found[~np.isin(found, but)]
        columns = ["memory_id", "tier", "title", "text", *_VECTOR, CODE_FIELD.name]
        stored = self._memories._take_rows(found[found >= 0].tolist(), columns=columns).combine_chunks()
        archived = pc.equal(stored["tier"], ARCHIVED).combine_chunks()
        stored, rows = stored.filter(archived), found[found >= 0][archived.to_numpy(zero_copy_only=False)]
        back = {"tier": pa.array([SHORT] * len(rows), pa.string())}
        compressed = stored[CODE_FIELD.name].is_valid().to_numpy().astype(bool)
        if compressed.any():
            stored = self._database.texts.complete(stored, compressed)
            back |= {name: stored[name].combine_chunks() for name in _VECTOR}
            self._database.pending.unpacked(stored["memory_id"].filter(pa.array(compressed)).to_pylist())
        return rows, back
