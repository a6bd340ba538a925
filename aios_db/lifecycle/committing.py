"""The part of `MemoryStore` that consolidates: principles stored and their sources archived in one commit."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import uuid_utils
from numpy.typing import NDArray

from aios_db.lifecycle.log import Consolidation
from aios_db.lifecycle.principles import Principle, Source, rows_of
from aios_db.lifecycle.quoting import ARCHIVED, SHORT
from aios_db.lifecycle.renewal import Renewal
from aios_db.observing.recorder import measured
from aios_db.schema.consolidation_log import TABLE
from aios_db.schema.consolidations import Report
from aios_db.search.index import SearchIndex
from aios_db.store.change_log import Draft
from aios_db.store.commit import commit
from aios_db.store.rows import check_lengths, complete, normalise
from aios_db.store.turns import Turns, content_identities

logger = logging.getLogger("aios_db.lifecycle")


_PLANNED = ("derived_from", "valid_until", "expires_at")
"""What `consolidation_plan` wants to be NULL."""


class Consolidating(Renewal):
    """Consolidations: each is one commit of memories, one of links, and a row in their log."""

    def consolidate_clusters(self, principles: Sequence[Principle], entry: Consolidation) -> Consolidation:
        """Store principles, and archive or delete what they were made of, as far as that is what it was.

        A cluster of which a memory was changed, deleted or consolidated since it was planned is left out.

        Parameters
        ----------
        principles
            Of one owner, to which all their sources belong.
        entry
            What is known by now for the log.

        Returns
        -------
        Consolidation
            The row in the log: ``broken_off`` when nothing was left to do, and then there is none.
        """
        self._check_writable()
        self._refuse_of_source("consolidate")
        self.require(TABLE)
        rows = self._principle_rows(principles, entry.consolidation_id)
        rows = self._texts.complete(rows, np.ones(len(rows), np.bool_))
        with self._changing("consolidate", "consolidating memories of") as draft:
            self._settle()
            kept = self._still_as_planned(principles, rows)
            if not kept.any():
                return replace(entry, state="broken_off", note="all memories of the plan have changed since")
            rows = self._with_current_vectors(rows.filter(pa.array(kept)))
            sources = [
                each.memory_id
                for principle, is_kept in zip(principles, kept, strict=True)
                if is_kept
                for each in principle.cluster.sources
            ]
            ids = [str(uuid_utils.uuid7()) for _ in range(len(rows))]
            entry = replace(
                entry, state="begun", sources=sources, principles=ids, change_id=draft.change_id or None
            )
            self.consolidations.write([entry])
            self._commit_principles(
                complete(rows, ids, np.zeros(len(ids), np.int64), self.memories.schema), entry, draft
            )
            entry = replace(entry, state="committed")
            self.consolidations.write([entry])
        self._maintenance.notify()
        return entry

    @measured("consolidate")
    def consolidate(
        self, options: Mapping[str, Any], *, dry_run: bool = False, trigger: str = "manual"
    ) -> list[Report]:
        """Make principles of what `consolidation_plan` names; see `aios_db.lifecycle.consolidate`."""
        from aios_db.lifecycle.consolidate import consolidate

        if not dry_run:
            self._check_writable()
            self._refuse_of_source("consolidate")
            if self.config.consolidation.supersede:
                self.supersede()
            if self.config.consolidation.fold_from:
                self.fold()
        return consolidate(self, options, dry_run=dry_run, trigger=trigger)  # type: ignore[arg-type]

    def summarize(self, texts: Sequence[str], count: int) -> str:
        """Return the sentences that say most of what some texts say."""
        from aios_db.lifecycle.extractive import summary

        return summary(texts, count, self.encoder)

    def principle_rows(self, principles: Sequence[Principle]) -> pa.Table:
        """Return principles as rows of `memories` with their vectors, and ids that are not stored."""
        self.refresh()
        rows = self._with_current_vectors(self._principle_rows(principles, ""))
        ids = [str(uuid_utils.uuid7()) for _ in range(len(rows))]
        return complete(rows, ids, np.zeros(len(ids), np.int64), self.memories.schema)

    def new_index(self) -> SearchIndex:
        """Return a search index of what is saved of the store's own, to be brought up to date."""
        return self.database.new_index()

    # Inside

    def _principle_rows(self, principles: Sequence[Principle], consolidation_id: str) -> pa.Table:
        rows = normalise(rows_of(principles, consolidation_id), self.dimension)
        check_lengths(dict(zip(rows.column_names, rows.columns, strict=True)), self._most_bytes)
        contents = content_identities(rows, Turns(), append=False, fold=False)
        at = rows.schema.get_field_index("content_hash")
        return rows.set_column(at, "content_hash", pa.array(contents, pa.string()))

    def _with_current_vectors(self, rows: pa.Table) -> pa.Table:
        rows = self._texts.in_use(rows)
        rows = self._texts.complete(rows, np.ones(len(rows), np.bool_))
        if rows["text_weight_version"].null_count < len(rows):
            self._texts.record()
        return rows

    def _still_as_planned(self, principles: Sequence[Principle], rows: pa.Table) -> NDArray[np.bool_]:
        """Tell of which principles all sources are what they were, and that none says the same already."""
        same = self._unchanged([each for every in principles for each in every.cluster.sources])
        new = self.index.find_content(rows["content_hash"].to_pylist()) < 0
        seen: set[str] = set()
        kept = np.zeros(len(principles), np.bool_)
        for number, each in enumerate(principles):
            ids = {source.memory_id for source in each.cluster.sources}
            kept[number] = new[number] and ids <= same and ids.isdisjoint(seen)
            seen |= ids if kept[number] else set()
        return kept

    def _unchanged(self, sources: Sequence[Source]) -> set[str]:
        """Return which memories are what they were when they were read, and may be consolidated still."""
        found = self.index.find_ids([each.memory_id for each in sources])
        there = found[found >= 0]
        columns = [*_PLANNED, "content_hash", "tier", "pinned"]
        rows = self.memories._take_rows(there.tolist(), columns=["memory_id", *columns]).to_pylist()
        now = {
            row["memory_id"]: (row["content_hash"], share)
            for row, share in zip(rows, self.index.trust(there).tolist(), strict=True)
            if row["tier"] == SHORT and not row["pinned"] and all(row[name] is None for name in _PLANNED)
        }
        held = self.index.held()
        return {
            each.memory_id
            for each in sources
            if now.get(each.memory_id) == (each.content_hash, each.trust) and each.memory_id not in held
        }

    def _commit_principles(self, new: pa.Table, entry: Consolidation, draft: Draft) -> None:
        rows = self.index.find_ids(entry.sources)
        if entry.policy == "delete":
            written = commit(self.memories, new, gone=rows)
            draft.deleted = len(rows)
        else:
            tiers = {"tier": pa.array([ARCHIVED] * len(rows), pa.string())}
            written = commit(self.memories, new, rows, tiers)
            draft.updated = len(rows)
        self._written(memories_=written)
        draft.added = len(new)
        self._note_first(draft, new)
        self._link(new, draft)
        if entry.policy == "delete":
            self._unlink_gone(entry.sources, draft)
