"""The part of `MemoryStore` that keeps it in order: compaction, clean-up, repair, exchanged vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import lance
import pyarrow as pa

from aios_db.engine.weights.pressure import give_back_freed
from aios_db.joint.reembedding import complete_vectors
from aios_db.lifecycle.compression.packing import Packed, pack
from aios_db.lifecycle.compression.texts import Compressing
from aios_db.observing.recorder import measured
from aios_db.schema import memories
from aios_db.schema.changes import REEMBED
from aios_db.store.compaction import clean_up, compact, compact_if_due, index_new_rows, shed_lookups
from aios_db.store.failures import operational
from aios_db.store.linking import link_missing
from aios_db.store.repair import RepairReport, repair
from aios_db.store.snapshot import handle


class Upkeep(Compressing):
    """What maintenance does, and what can be asked for."""

    @measured("maintain")
    def maintain(self) -> None:
        """Write what is pending, compact what has become fragmented and save the index when it has grown."""
        self._finish_broken_off()
        self._write_pending()
        with operational(f"compacting {self.path}"):
            self.refresh()
            tables = self.memories, self.links
            compacted = compact_if_due(tables, self.lock, self.path, self.config.storage, self._cleaned)
            self.refresh()
            if compacted:
                self._pack()
            late = self._loading() and not self._closing
            saves = self.index.needs_save and not late
            if saves:
                self.index.save()
            if compacted or saves:
                give_back_freed()  # hundreds of commits, and a copy of the index, leave the heap in pieces
        if late:
            self._maintenance.notify()
        elif not self._closing:
            complete_vectors(self)

    def maintain_soon(self) -> None:
        """Let the maintenance thread look, a moment from now, whether there is work."""
        self._maintenance.notify()

    @measured("optimize")
    def optimize(self) -> None:
        """Compact both tables whole, drop old versions, and bring look-ups and search index up to date.

        Memories are put into the joint space that could not be when they were written.
        """
        self._check_writable()
        complete_vectors(self)
        self._optimize(lambda written: index_new_rows(written, self.lock, 0))

    def _optimize(self, look_up: Callable[[lance.LanceDataset], lance.LanceDataset]) -> None:
        self._check_writable()
        self._write_pending(everything=True)
        with self._compacting(), operational(f"compacting {self.path}"):
            self.refresh()
            for dataset in (self.memories, self.links):
                written = compact(dataset, self.lock, everything=True)
                clean_up(look_up(written), self.config.storage)
            self.refresh()
            self.index.save()
            give_back_freed()

    def compress(self) -> Packed:
        """Compress memories of the tiers that `compression` names, and `optimize`.

        Tables that are scanned in milliseconds do without look-ups.
        """
        self._check_writable()
        self.scope.refuse("compress")
        self._write_pending()
        packed = self._pack()
        self._optimize(lambda written: shed_lookups(written, self.lock))
        return packed

    def _pack(self) -> Packed:
        with self._writing("compressing memories of"):
            memories_, packed = pack(self.memories, self.config.compression)
            self._written(memories_=memories_)
        return packed

    @measured("repair")
    def repair(self) -> RepairReport:
        """Rebuild what is derived and remove what points nowhere; see `RepairReport`."""
        self._check_writable()
        self.scope.refuse("repair")
        self._write_pending()
        with self._changing("repair", "repairing") as draft:
            memories_, links, report = repair(self.memories, self.links)
            self._begun[-1].publish_anew(memories_, links)
            links, made = link_missing(self.memories, self.links, self.index, self.config.links)
            self._written(links=links)
            self._pending.relinked(made["source_id"].unique().to_pylist())
            draft.links = report.dangling_links + report.repeated_links + len(made)
            self.index.save()
        self._write_pending()
        return replace(report, missing_links=len(made))

    @measured("reembed")
    def replace_vectors(
        self,
        replacement: Callable[[lance.LanceDataset], pa.Table],
        then: Callable[[], None] = lambda: None,
    ) -> int:
        """Exchange text vectors in one commit; return how many.

        Parameters
        ----------
        replacement
            Called with the newest memories, under the write lock; returns ``memory_id``, ``text_embedding``,
            ``text_weight_version`` and ``text_code`` of those to change.
        then
            Called before the write lock is given back: no writer comes between the two.
        """
        self._check_writable()
        with self._changing(REEMBED, "exchanging the vectors of") as draft:
            vectors = replacement(self.memories)
            draft.updated = len(vectors)
            if len(vectors):
                written = handle(self.memories)
                written.merge_insert(memories.KEY).when_matched_update_all().execute(vectors)
                self._written(memories_=written)
                self._texts.outdated()
            then()
        return len(vectors)

    @contextmanager
    def held(self) -> Iterator[tuple[lance.LanceDataset, lance.LanceDataset]]:
        """Yield the newest memories and links, level with each other, which are not cleaned up meanwhile."""
        self.flush_if_possible()
        if self.read_only:
            self.refresh()
            yield self.memories, self.links
            return
        with self._compacting():
            with self._writing("reading"):
                found = self.memories, self.links
            yield found
