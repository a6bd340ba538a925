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

from aios_db.lifecycle.log import Consolidation, ConsolidationLog
from aios_db.lifecycle.principles import Principle, Source, rows_of
from aios_db.lifecycle.quoting import ARCHIVED, SHORT, Quoting
from aios_db.observing.recorder import measured
from aios_db.schema.changes import UndoReport
from aios_db.schema.consolidation_log import TABLE
from aios_db.schema.consolidations import Report, Supersession
from aios_db.schema.errors import ProgrammingError
from aios_db.search.index import SearchIndex
from aios_db.store.change_log import Draft
from aios_db.store.commit import commit
from aios_db.store.embedding import embed_missing
from aios_db.store.rows import check_lengths, complete, normalise
from aios_db.store.turns import Turns, content_identities

logger = logging.getLogger("aios_db.lifecycle")


_PLANNED = ("derived_from", "valid_until", "expires_at")
"""What `consolidation_plan` wants to be NULL."""


class Consolidating(Quoting):
    """Consolidations: each is one commit of memories, one of links, and a row in their log."""

    @property
    def consolidations(self) -> ConsolidationLog:
        """The log of consolidations."""
        return ConsolidationLog(self)  # type: ignore[arg-type]

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
        rows = embed_missing(rows, np.ones(len(rows), np.bool_), lambda: self.encoder)
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

    def undo_consolidation(self, consolidation_id: str, *, confirm: bool = False) -> UndoReport:
        """Take a consolidation back: its principles go, and its sources are in the short tier again.

        Sources that were deleted come back as they were, as long as the versions from before are kept; those
        that were archived need none. A source that has another tier by now keeps it.

        Raises
        ------
        ProgrammingError
            There is no such consolidation, it is undone already or wrote nothing, or a principle was changed
            since by hand.
        """
        self._check_writable()
        self._refuse_of_source("undo_consolidation")
        self.refresh()
        with self._writing("reading the consolidations of"):
            self._settle()
        entry = self.consolidations.get(consolidation_id)
        if entry.state != "committed":
            raise ProgrammingError(
                f"consolidation {consolidation_id} is {entry.state}: there is nothing to take back"
            )
        if entry.policy == "delete":
            if entry.change_id is None:
                raise ProgrammingError(
                    f"consolidation {consolidation_id} deleted its sources, and storage.keep_changes is 0"
                )
            return self.undo(entry.change_id, confirm=confirm)
        with self._changing("undo_consolidation", "taking back a consolidation of") as draft:
            self._take_back_archived(entry, draft)
            self.consolidations.write([replace(entry, state="undone")])
        self._maintenance.notify()
        return UndoReport(draft.change_id or None, 0, draft.updated, draft.deleted, draft.links)

    def undo(self, change_id: int, *, dry_run: bool = False, confirm: bool = False) -> UndoReport:
        """As `Undoing.undo`; the log of consolidations says what became of them by it."""
        before = self._with_principles() if not dry_run else {}
        report = super().undo(change_id, dry_run=dry_run, confirm=confirm)
        if not dry_run and TABLE not in self.damaged:
            with self._writing("writing the log of consolidations of"):
                after = self._with_principles()
                self.consolidations.write(
                    [
                        replace(each, state="committed" if after[each.consolidation_id] else "undone")
                        for each in self.consolidations.rows()
                        if each.state in ("committed", "undone")
                        and before.get(each.consolidation_id) != after[each.consolidation_id]
                    ]
                )
        return report

    def _with_principles(self) -> dict[str, bool]:
        """Tell of which consolidations principles are there."""
        if TABLE in self.damaged:
            return {}
        self.refresh()
        return {
            each.consolidation_id: bool((self.index.find_ids(each.principles) >= 0).any())
            for each in self.consolidations.rows()
        }

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
        return consolidate(self, options, dry_run=dry_run, trigger=trigger)  # type: ignore[arg-type]

    def supersede(self, *, dry_run: bool = False) -> list[Supersession]:
        """Note, in one commit, of what no longer holds what holds instead; see `superseding`.

        It is undone as any change is, by its number in the log of changes.
        """
        from aios_db.lifecycle.superseding import superseded

        if not dry_run:
            self._check_writable()
            self._refuse_of_source("supersede")
        self.refresh()
        found = superseded(self)  # type: ignore[arg-type]
        if found and not dry_run:
            with self.as_one_change("supersede"):
                self.update(
                    pa.table(
                        {
                            "memory_id": [each.memory_id for each in found],
                            "valid_until": [each.valid_until for each in found],
                            "superseded_by": [each.superseded_by for each in found],
                        }
                    )
                )
        return found

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

    def refuse_consolidation(self, entry: Consolidation) -> Consolidation:
        """Note in the log that a consolidation was not committed."""
        with self._writing("writing the log of consolidations of"):
            self.consolidations.write([entry])
        return entry

    def new_index(self) -> SearchIndex:
        """Return a search index of what is saved of the store's own, to be brought up to date."""
        return self._new_index()

    # Inside

    def _principle_rows(self, principles: Sequence[Principle], consolidation_id: str) -> pa.Table:
        rows = normalise(rows_of(principles, consolidation_id), self.dimension)
        check_lengths(dict(zip(rows.column_names, rows.columns, strict=True)), self._most_bytes)
        contents = content_identities(rows, Turns(), append=False, fold=False)
        at = rows.schema.get_field_index("content_hash")
        return rows.set_column(at, "content_hash", pa.array(contents, pa.string()))

    def _with_current_vectors(self, rows: pa.Table) -> pa.Table:
        if self._encoder is not None:
            self._following.follow(self.memories, self._encoder)
            rows = self._following.without_stale(rows)
        rows = embed_missing(rows, np.ones(len(rows), np.bool_), lambda: self.encoder)
        if rows["text_weight_version"].null_count < len(rows):
            self._following.record(self._encoder)
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

    def _take_back_archived(self, entry: Consolidation, draft: Draft) -> None:
        found = self.index.find_ids(entry.principles)
        principles = found[found >= 0]
        self._refuse_changed(principles, entry.consolidation_id)
        rows, back = self._short_again(entry.sources)
        self._written(memories_=commit(self.memories, None, rows, back, gone=principles))
        draft.updated, draft.deleted = len(rows), len(principles)
        self._unlink_gone(entry.principles, draft)

    def _refuse_changed(self, principles: NDArray[np.int64], consolidation_id: str) -> None:
        stored = self.memories._take_rows(principles.tolist(), columns=["memory_id", "metadata"]).to_pylist()
        for each in stored:
            if consolidation_id not in (each["metadata"] or ""):
                raise ProgrammingError(
                    f"the principle {each['memory_id']} was changed by hand since consolidation "
                    f"{consolidation_id}: forget it, or put its metadata back, and undo again"
                )

    def _settle(self) -> None:
        """Say in the log what became of consolidations whose process was ended; under the write lock."""
        begun = [each for each in self.consolidations.rows() if each.state == "begun"]
        ended = []
        for each in begun:
            is_there = bool((self.index.find_ids(each.principles) >= 0).any())
            ended.append(replace(each, state="committed" if is_there else "broken_off"))
            logger.warning(
                "consolidation %s was broken off by the end of its process: %s", each.consolidation_id,
                "it was committed" if is_there else "nothing of it was written",
                extra={"event": "consolidation_settled", "consolidation_id": each.consolidation_id},
            )  # fmt: skip
        self.consolidations.write(ended)
