"""What consolidates: principles are stored and their sources archived in one commit."""

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
from aios_db.lifecycle.taking_back import TakingBack
from aios_db.observing.recorder import measured
from aios_db.schema.consolidation_log import TABLE
from aios_db.schema.consolidations import Report
from aios_db.store.commit import commit
from aios_db.store.guarding import Guarding
from aios_db.store.relinking import Relinking
from aios_db.store.rows import check_lengths, complete, normalise
from aios_db.store.snapshot import Snapshot
from aios_db.store.transaction import LoggedTransaction, Transactions
from aios_db.store.turns import Turns, content_identities

logger = logging.getLogger("aios_db.lifecycle")


_PLANNED = ("derived_from", "valid_until", "expires_at")
"""What `consolidation_plan` wants to be NULL."""


class Consolidating:
    """Consolidations: each is one commit of memories, one of links, and a row in their log.

    Parameters
    ----------
    transactions
        How all is written.
    guarding
        Who may consolidate.
    relinking
        Writes the links of principles.
    renewal
        Notes first what no longer holds.
    taking_back
        Has the log of consolidations.
    """

    def __init__(
        self, transactions: Transactions, guarding: Guarding, relinking: Relinking, renewal: Renewal,
        taking_back: TakingBack,
    ) -> None:  # fmt: skip
        self.database, self._transactions, self._guarding = transactions.database, transactions, guarding
        self._relinking, self._renewal, self._taking_back = relinking, renewal, taking_back
        self.metrics = self.database.metrics
        self.log, self.refuse = taking_back.log, taking_back.refuse

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
        self.database.check_writable()
        self._guarding.refuse_of_source("consolidate")
        self.database.require(TABLE)
        rows = self._principle_rows(principles, entry.consolidation_id)
        rows = self.database.texts.complete(rows, np.ones(len(rows), np.bool_))
        with self._transactions.changing("consolidate", "consolidating memories of") as transaction:
            now, draft = transaction.snapshot, transaction.draft
            self._taking_back.settle()
            kept = _still_as_planned(now, principles, rows)
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
            self.log.write([entry])
            new = complete(rows, ids, np.zeros(len(ids), np.int64), now.memories.schema)
            self._commit_principles(transaction, new, entry)
            entry = replace(entry, state="committed")
            self.log.write([entry])
        self._transactions.maintain_soon()
        return entry

    @measured("consolidate")
    def consolidate(
        self, options: Mapping[str, Any], *, dry_run: bool = False, trigger: str = "manual"
    ) -> list[Report]:
        """Make principles of what `consolidation_plan` names; see `aios_db.lifecycle.consolidate`."""
        from aios_db.lifecycle.consolidate import consolidate

        if not dry_run:
            self.database.check_writable()
            self._guarding.refuse_of_source("consolidate")
            if self.database.config.consolidation.supersede:
                self._renewal.supersede()
            if self.database.config.consolidation.fold_from:
                self._renewal.fold()
        return consolidate(self, options, dry_run=dry_run, trigger=trigger)

    def summarize(self, texts: Sequence[str], count: int) -> str:
        """Return the sentences that say most of what some texts say."""
        from aios_db.lifecycle.extractive import summary

        return summary(texts, count, self.database.texts.encoder)

    def principle_rows(self, principles: Sequence[Principle]) -> pa.Table:
        """Return principles as rows of `memories` with their vectors, and ids that are not stored."""
        now = self.database.refresh()
        rows = self._with_current_vectors(self._principle_rows(principles, ""))
        ids = [str(uuid_utils.uuid7()) for _ in range(len(rows))]
        return complete(rows, ids, np.zeros(len(ids), np.int64), now.memories.schema)

    # Inside

    def _principle_rows(self, principles: Sequence[Principle], consolidation_id: str) -> pa.Table:
        rows = normalise(rows_of(principles, consolidation_id), self.database.dimension)
        most_bytes = self.database.config.storage.max_text_bytes
        check_lengths(dict(zip(rows.column_names, rows.columns, strict=True)), most_bytes)
        contents = content_identities(rows, Turns(), append=False, fold=False)
        at = rows.schema.get_field_index("content_hash")
        return rows.set_column(at, "content_hash", pa.array(contents, pa.string()))

    def _with_current_vectors(self, rows: pa.Table) -> pa.Table:
        texts = self.database.texts
        rows = texts.complete(texts.in_use(rows), np.ones(len(rows), np.bool_))
        if rows["text_weight_version"].null_count < len(rows):
            texts.record()
        return rows

    def _commit_principles(self, transaction: LoggedTransaction, new: pa.Table, entry: Consolidation) -> None:
        now, draft = transaction.snapshot, transaction.draft
        rows = now.index.find_ids(entry.sources)
        if entry.policy == "delete":
            written = commit(now.memories, new, gone=rows)
            draft.deleted = len(rows)
        else:
            tiers = {"tier": pa.array([ARCHIVED] * len(rows), pa.string())}
            written = commit(now.memories, new, rows, tiers)
            draft.updated = len(rows)
        transaction.publish(memories=written)
        draft.added = len(new)
        transaction.note_first(new)
        self._relinking.link(transaction, new)
        if entry.policy == "delete":
            self._relinking.unlink_gone(transaction, pa.array(entry.sources, pa.string()))


def _still_as_planned(now: Snapshot, principles: Sequence[Principle], rows: pa.Table) -> NDArray[np.bool_]:
    """Tell of which principles all sources are what they were, and that none says the same already."""
    same = _unchanged(now, [each for every in principles for each in every.cluster.sources])
    new = now.index.find_content(rows["content_hash"].to_pylist()) < 0
    seen: set[str] = set()
    kept = np.zeros(len(principles), np.bool_)
    for number, each in enumerate(principles):
        ids = {source.memory_id for source in each.cluster.sources}
        kept[number] = new[number] and ids <= same and ids.isdisjoint(seen)
        seen |= ids if kept[number] else set()
    return kept


def _unchanged(now: Snapshot, sources: Sequence[Source]) -> set[str]:
    """Return which memories are what they were when they were read, and may be consolidated still."""
    found = now.index.find_ids([each.memory_id for each in sources])
    there = found[found >= 0]
    columns = [*_PLANNED, "content_hash", "tier", "pinned"]
    rows = now.memories._take_rows(there.tolist(), columns=["memory_id", *columns]).to_pylist()
    here = {
        row["memory_id"]: (row["content_hash"], share)
        for row, share in zip(rows, now.index.trust(there).tolist(), strict=True)
        if row["tier"] == SHORT and not row["pinned"] and all(row[name] is None for name in _PLANNED)
    }
    held = now.index.held()
    return {
        each.memory_id
        for each in sources
        if here.get(each.memory_id) == (each.content_hash, each.trust) and each.memory_id not in held
    }
