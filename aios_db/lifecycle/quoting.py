"""The part of `MemoryStore` that has principles follow what they quote, as that is forgotten or changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import compress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.lifecycle.principles import KIND
from aios_db.schema.memories import CODE_FIELD
from aios_db.schema.sources import CONSOLIDATION
from aios_db.store import links as links_
from aios_db.store.change_log import Draft
from aios_db.store.changes import Change
from aios_db.store.commit import commit, merged
from aios_db.store.erasing import Erasing
from aios_db.store.forgetting import Changed
from aios_db.store.selection import Selection

ARCHIVED, SHORT = "archived", "short"
ENDS = ("valid_until", "expires_at")
"""What a principle has of the source of which it comes first."""
_VECTOR = ("text_embedding", "text_weight_version")


class Quoting(Erasing):
    """Principles are made of their sources.

    What is forgotten, erased or reworded takes the principles that quote it along, and what else they were
    made of is short-term again, in the same commit. A principle holds until the first of its sources does no
    longer, and expires with it.
    """

    def _forget(self, chosen: Selection, draft: Draft, *, confirm: bool) -> None:
        if chosen.memory_ids and self.source is None and replace(chosen, memory_ids=None) == Selection():
            there = self.index.find_ids(list(chosen.memory_ids)) >= 0
            deleted = [
                each for each, known in zip(chosen.memory_ids, there.tolist(), strict=True) if not known
            ]
            quoting = self._principles_of(deleted)  # whose sources a consolidation deleted
            chosen = Selection(memory_ids=[*chosen.memory_ids, *quoting])
        super()._forget(chosen, draft, confirm=confirm)

    def _delete(
        self,
        row_ids: NDArray[np.int64],
        draft: Draft,
        *,
        confirm: bool,
        besides: Callable[[], Changed] | None = None,
    ) -> None:
        quoting = self._principles_of(self.index.memory_ids(row_ids).to_pylist())
        gone = np.union1d(row_ids, self.index.find_ids(list(quoting)))
        quoted = sorted({name for sources in quoting.values() for name in sources})
        if quoted:
            besides = partial(self._quoted_by_none_short_again, quoted, gone)
        super()._delete(gone, draft, confirm=confirm, besides=besides)

    def _write_change(self, new: pa.Table | None, change: Change, draft: Draft) -> None:
        reworded = self._principles_of(self._named(change, "title", "text"), but=change.row_ids)
        ended = self._principles_of(self._named(change, *ENDS), but=change.row_ids)
        ended = {name: sources for name, sources in ended.items() if name not in reworded}
        if not reworded and not ended:
            super()._write_change(new, change, draft)
            return
        gone = self.index.find_ids(list(reworded))
        changed = self._with_ends(change, ended)
        quoted = sorted({name for sources in reworded.values() for name in sources})
        back = self._quoted_by_none_short_again(quoted, gone)
        rows, columns = merged(self.memories, back, changed)
        self._written(memories_=commit(self.memories, new, rows, columns, gone=gone))
        draft.updated, draft.deleted = (
            draft.updated + len(rows) - len(change.row_ids),
            draft.deleted + len(gone),
        )
        self._unlink_gone(list(reworded), draft)

    def _named(self, change: Change, *columns: str) -> list[str]:
        """Return the memories of which one of some columns changes."""
        differing = [change.changed[each] for each in columns if each in change.changed]
        if not differing:
            return []
        names: list[str] = self.index.memory_ids(change.row_ids[np.logical_or.reduce(differing)]).to_pylist()
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
        rows, sources = self.index.made_of(memory_ids)
        quoting = self.index.has(rows, "kind", KIND) & self.index.has(rows, "source", CONSOLIDATION)
        if but is not None:
            quoting &= ~np.isin(rows, but)
        names = self.index.memory_ids(rows[quoting]).to_pylist()
        return dict(zip(names, compress(sources, quoting), strict=True))

    def _with_ends(
        self, change: Change, principles: dict[str, list[str]]
    ) -> tuple[NDArray[np.int64], dict[str, pa.Array]]:
        """Return a change, with the least `ENDS` of their sources for principles."""
        if not principles:
            return change.row_ids, dict(change.columns)
        sources = sorted({name for each in principles.values() for name in each})
        found = self.index.find_ids(sources)
        stored = self.memories._take_rows(found[found >= 0].tolist(), columns=["memory_id", *ENDS])
        rows, names = self.index.find_ids(list(principles)), stored["memory_id"].to_pylist()
        changed = self.index.memory_ids(change.row_ids).to_pylist()
        columns = {}
        for column in ENDS:
            if column not in change.columns:
                continue
            given = change.columns[column]
            ends = dict(zip(names, stored[column].to_pylist(), strict=True))
            ends |= dict(zip(changed, given.to_pylist(), strict=True))
            known = [[end for name in each if (end := ends.get(name))] for each in principles.values()]
            columns[column] = pa.array([min(each, default=None) for each in known], given.type)
        return merged(self.memories, (change.row_ids, dict(change.columns)), (rows, columns))

    def _quoted_by_none_short_again(self, memory_ids: Sequence[str], gone: NDArray[np.int64]) -> Changed:
        """Return what changes as those of some memories are short-term again that no other principle quotes.

        Parameters
        ----------
        gone
            Rows of principles and memories that go; they neither quote nor come back.
        """
        quoting = self._principles_of(memory_ids, but=gone)
        quoted = {name for sources in quoting.values() for name in sources}
        return self._short_again([each for each in memory_ids if each not in quoted], but=gone)

    def _short_again(self, memory_ids: Sequence[str], but: NDArray[np.int64]) -> Changed:
        """Return which of some memories are archived, and what changes as they come into the short tier.

        What was compressed is embedded again, as by any way out of that tier.

        Parameters
        ----------
        but
            Rows that stay as they are.
        """
        found = self.index.find_ids(list(memory_ids))
        found = found[~np.isin(found, but)]
        columns = ["memory_id", "tier", "title", "text", *_VECTOR, CODE_FIELD.name]
        stored = self.memories._take_rows(found[found >= 0].tolist(), columns=columns).combine_chunks()
        archived = pc.equal(stored["tier"], ARCHIVED).combine_chunks()
        stored, rows = stored.filter(archived), found[found >= 0][archived.to_numpy(zero_copy_only=False)]
        back = {"tier": pa.array([SHORT] * len(rows), pa.string())}
        compressed = stored[CODE_FIELD.name].is_valid().to_numpy().astype(bool)
        if compressed.any():
            stored = self._texts.complete(stored, compressed)
            back |= {name: stored[name].combine_chunks() for name in _VECTOR}
            self._pending.relinked(stored["memory_id"].filter(pa.array(compressed)).to_pylist())
        return rows, back

    def _unlink_gone(self, memory_ids: Sequence[str], draft: Draft) -> None:
        links, found = links_.delete_at(self.links, pa.array(memory_ids, pa.string()))
        self._written(links=links)
        draft.links += len(found)
        self._pending.relinked(found.unique().to_pylist())
