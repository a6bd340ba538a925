"""Keeping a view up with the tables: what was deleted and what was put since its version."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.retrieval import RowIds
from aios_db.search import source
from aios_db.search.attributes import attributes
from aios_db.search.changes import Changes
from aios_db.search.contents import other_keys
from aios_db.search.graph import flow_code
from aios_db.search.labels import memory_labels
from aios_db.search.linkrun import Links
from aios_db.search.marks import marks
from aios_db.search.part import ATTRIBUTES
from aios_db.search.phrases import phrases
from aios_db.search.segment import Version
from aios_db.search.view import View
from aios_db.security.scope import Scope

if TYPE_CHECKING:
    from lance import LanceDataset


class Writer:
    """Makes the next view of one.

    Parameters
    ----------
    view
        The one before, which stays as it is.
    scope
        Memories outside of it are left out.

    Attributes
    ----------
    changes
        What was done so far.
    """

    def __init__(self, view: View, scope: Scope) -> None:
        self._view, self._scope = view, scope
        self._phrases: dict[int, list[str]] = {}
        self.changes = Changes()

    def catch_up(self, memories: LanceDataset, links: LanceDataset, appended: source.Appended) -> View:
        """Read what changed in both tables, but for rows just ``appended``; return the view of it."""
        version, own = Version(memories.version, links.version), self._view.version
        if version.memories != own.memories:
            self._begin()
            self._sync_memories(memories, appended.memories)
        elif version.links != own.links:
            self._view = self._view.with_other_links()
        if version.links != own.links:
            self._sync_links(links, appended.links)
        return replace(self._view, version=version)

    def suppose(self, rows: Iterable[pa.RecordBatch], gone: RowIds) -> View:
        """Put rows, with `source.MEMORY_COLUMNS` and ``_rowid``, take others out; return the view of it."""
        self._begin()
        self._kill(gone)
        for batch in rows:
            self._put(batch)
        return self._view

    def suppose_links(self, links: Links) -> View:
        """Put links; return the view of it."""
        self._view = self._view.with_other_links()
        self._view.graph.put(links)
        return self._view

    def _begin(self) -> None:
        self._phrases = {}
        self._view = replace(self._view.with_other_memories(), phrases=self._phrases)

    def _put(self, batch: pa.RecordBatch) -> None:
        """Add memories; of those that are known with the same content only the attributes change.

        Parameters
        ----------
        batch
            `source.MEMORY_COLUMNS` and ``_rowid``.
        """
        view = self._view
        columns = attributes(batch)
        fresh = self._update_same(columns)
        rows = columns["rows"][fresh]
        before = self._labels_of(rows[view.documents.has_known(rows)])
        view.stored.put(batch)
        view.joint.put(batch)
        self.changes.put.append(columns["rows"])
        if len(fresh) == 0:
            return
        self._kill(rows)
        batch = batch.take(pa.array(fresh)) if len(fresh) < len(batch) else batch
        self._analyze(batch, {name: column[fresh] for name, column in columns.items()})
        self._label(batch, rows, before)
        view.ids.add(batch["memory_id"], rows.tolist())
        view.hashes.add(batch["content_hash"], rows.tolist())
        for keys, of_key in other_keys(batch, rows):
            view.others.add(keys, of_key.tolist())

    def _kill(self, rows: RowIds) -> None:
        """Take memories out."""
        for part, at, _ in self._view.documents.living_in_parts(rows):
            part.kill(at)
            self.changes.killed.append((part, at))
            self._view.totals.add(part, at, -1)

    def _sync_memories(self, memories: LanceDataset, new: pa.Table | None) -> None:
        since, rows = self._view.version.memories, self._view.documents.all_rows
        deleted, changed = source.delta(
            memories, since, source.MEMORY_COLUMNS, rows, new, self._scope.condition
        )
        self._kill(deleted)
        for batch in changed:
            self._put(self._seen(batch) if self._scope else batch)

    def _sync_links(self, links: LanceDataset, new: pa.Table | None) -> None:
        graph, since = self._view.graph, self._view.version.links
        deleted, changed = source.delta(links, since, source.LINK_COLUMNS, lambda: graph.links().rows, new)
        graph.delete(deleted.tolist())
        for batch in changed:
            sources, targets = (self._row_of_each(batch[name]) for name in ("source_id", "target_id"))
            known = (sources >= 0) & (targets >= 0)
            rows = batch["_rowid"].to_numpy().astype(np.int64)
            named = batch["kind"].dictionary_encode()
            codes = np.array([flow_code(kind) for kind in named.dictionary.to_pylist()], np.uint8)
            kinds = codes[named.indices.to_numpy()]
            weights = batch["weight"].to_numpy()
            graph.put(Links(rows[known], sources[known], targets[known], weights[known], kinds[known]))

    def _row_of_each(self, column: pa.StringArray) -> RowIds:
        """Return `View.find_ids` of a column in which most ids are repeated."""
        encoded = column.dictionary_encode()
        rows: RowIds = self._view.find_ids(encoded.dictionary)[encoded.indices.to_numpy()]
        return rows

    def _seen(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows in the scope; others may have been in it before."""
        seen = self._scope.sees(batch)
        self._kill(batch.filter(pc.invert(seen))["_rowid"].to_numpy().astype(np.int64))
        return batch.filter(seen)

    def _update_same(self, columns: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
        """Update the attributes of memories whose content is known; return the places of the others."""
        fresh = np.ones(len(columns["rows"]), np.bool_)
        for part, at, inside in self._view.documents.living_in_parts(columns["rows"]):
            same = part.columns["contents"][at] == columns["contents"][inside]
            places = inside[same]
            part.update(at[same], {name: columns[name][places] for name in ATTRIBUTES})
            fresh[places] = False
        return np.flatnonzero(fresh)

    def _analyze(self, batch: pa.RecordBatch, values: dict[str, NDArray[Any]]) -> None:
        """Add memories to the growing segment, with the words of their titles and texts."""
        growing = self._view.documents.growing
        titles, texts = batch["title"].to_pylist(), batch["text"].to_pylist()
        analyzed = self._view.analyzer.terms(
            [f"{title} {text}" if title else text for title, text in zip(titles, texts, strict=True)]
        )
        values |= {"lengths": analyzed.lengths, "languages": analyzed.languages}
        first = len(growing)
        growing.extend(values, analyzed.terms, analyzed.counts, marks(batch))
        self._view.totals.add(growing, np.arange(first, len(growing)))
        self._view.graph.name(values["rows"], values["names"])

    def _label(self, batch: pa.RecordBatch, rows: RowIds, before: dict[int, dict[int, int]]) -> None:
        """Give memories the labels that links are found by, in the place of those they had before."""
        named = ("title", "text", "user_id", "agent_id", "session_id")
        columns = (batch[name].to_pylist() for name in named)
        for row, title, text, *scope in zip(rows.tolist(), *columns, strict=True):
            self._phrases[row] = names = phrases(text)
            self._view.labels.add(row, memory_labels(title, names, *scope), before.get(row))

    def _labels_of(self, rows: RowIds) -> dict[int, dict[int, int]]:
        """Return the labels of living memories, as they were when these were put."""
        columns = self._view.stored.take(rows)
        names = (columns[name].to_pylist() for name in ("title", "text", "user_id", "agent_id", "session_id"))
        return {
            row: memory_labels(title, phrases(text), *scope)
            for row, title, text, *scope in zip(rows.tolist(), *names, strict=True)
        }
