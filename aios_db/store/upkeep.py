"""What keeps a database in order: compaction, clean-up, repair, exchanged vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from typing import TypeAlias

import lance
import pyarrow as pa

from aios_db.disk.failures import operational
from aios_db.engine.weights.heaps import cut_short, give_back_freed
from aios_db.joint.reembedding import complete_vectors, remove_left
from aios_db.observing.recorder import measured
from aios_db.schema.changes import REEMBED
from aios_db.schema.compressions import Packed
from aios_db.schema.config import CompressionConfig
from aios_db.schema.database import JOINT_REEMBEDDING, REEMBEDDING
from aios_db.schema.deadlines import Deadline, Deadlines
from aios_db.schema.errors import OperationalError
from aios_db.schema.memories import KEY
from aios_db.schema.tables import RECORDS
from aios_db.store.compaction import clean_up, compact, compact_if_due, index_new_rows, shed_lookups
from aios_db.store.deferring import Deferring
from aios_db.store.erasing import Erasing
from aios_db.store.linking import link_missing
from aios_db.store.repair import RepairReport, repair
from aios_db.store.snapshot import handle
from aios_db.store.transaction import Transactions
from aios_db.store.writes import Writes

Pack: TypeAlias = Callable[
    [lance.LanceDataset, lance.LanceDataset, CompressionConfig],
    tuple[lance.LanceDataset, lance.LanceDataset, Packed],
]
"""As `aios_db.lifecycle.compression.packing.pack` does."""


class Upkeep:
    """What maintenance does, and what can be asked for.

    Parameters
    ----------
    transactions
        How all is written.
    deferring
        Writes what has waited.
    writes
        Says whether memories are being written in bulk.
    erasing
        Finishes an erasure that was broken off.
    pack
        Compresses memories and their links as the configuration says.
    """

    def __init__(
        self,
        transactions: Transactions,
        deferring: Deferring,
        writes: Writes,
        erasing: Erasing,
        pack: Pack,
    ) -> None:
        self._database, self._transactions = transactions.database, transactions
        self._deferring, self._writes, self._erasing = deferring, writes, erasing
        self._pack_tables = pack
        self.metrics = self._database.metrics
        self._cleaned: dict[str, int] = {}
        self._closing = False
        self._completing: Deadline | None = None

    @measured("maintain")
    def maintain(self) -> None:
        """Write what is pending, compact what has become fragmented and save the index when it has grown."""
        database = self._database
        self._transactions.finish_broken_off()
        self._erasing.finish_broken_off()
        self._deferring.write_pending()
        with operational(f"compacting {database.path}"), cut_short():
            tables, storage = database.refresh().tables, database.config.storage
            compacted = compact_if_due(tables, database.lock, database.path, storage, self._cleaned)
            now = database.refresh()
            if compacted:
                self._pack()
            late = self._writes.loading and not self._closing
            saves = now.index.needs_save and not late
            if saves:
                now.index.save()
            if compacted or saves:
                give_back_freed()  # hundreds of commits, and a copy of the index, leave the heap in pieces
        if late:
            self._transactions.maintain_soon()
        else:
            self._complete_vectors()

    def _complete_vectors(self) -> None:
        """Put memories into the joint space, hours where an encoder is slow, until the database is closed."""
        with Deadlines().running(inf) as self._completing:
            if self._closing:
                return
            try:
                complete_vectors(self._database, self.replace_vectors, waiting=False)
            except OperationalError:
                if not self._closing:
                    raise

    def hurry(self) -> None:
        """Leave to other processes, from now on, what takes long and can wait."""
        self._closing = True
        if (completing := self._completing) is not None:
            completing.interrupt()

    def close(self) -> None:
        """Do what is due for the last time, before the database is closed."""
        self.hurry()
        database = self._database
        if not database.read_only and (self._deferring.is_due or database.snapshot.index.needs_save):
            self.maintain()

    @measured("optimize")
    def optimize(self) -> None:
        """Compact all tables whole, drop old versions, and bring look-ups and search index up to date.

        Memories are put into the joint space that could not be when they were written.
        """
        self._database.check_writable()
        complete_vectors(self._database, self.replace_vectors)
        remove_left(self._database.path, JOINT_REEMBEDDING)
        self._optimize(lambda written: index_new_rows(written, self._database.lock, 0))

    def _optimize(self, look_up: Callable[[lance.LanceDataset], lance.LanceDataset]) -> None:
        database = self._database
        database.check_writable()
        self._transactions.finish_broken_off()
        self._deferring.write_pending(everything=True)
        with database.compacting(), operational(f"compacting {database.path}"), cut_short():
            storage, lock = database.config.storage, database.lock
            clean_up(
                [look_up(compact(each, lock, everything=True)) for each in database.refresh().tables], storage
            )
            for table in RECORDS:
                clean_up([compact(database.dataset(table), lock, everything=True)], storage)
            database.refresh().index.save()
            give_back_freed()

    def compress(self) -> Packed:
        """Compress memories of the tiers that `compression` names, and `optimize`.

        Tables that are scanned in milliseconds do without look-ups.
        """
        self._database.check_writable()
        self._database.scope.refuse("compress")
        self._deferring.write_pending()
        packed = self._pack()
        self._optimize(lambda written: shed_lookups(written, self._database.lock))
        return packed

    def _pack(self) -> Packed:
        with self._transactions.writing("compressing memories of") as transaction:
            memories, links, packed = self._pack_tables(
                *transaction.snapshot.tables, self._database.config.compression
            )
            transaction.publish(memories=memories, links=links)
        return packed

    @measured("repair")
    def repair(self) -> RepairReport:
        """Rebuild what is derived and remove what points nowhere; see `RepairReport`."""
        database = self._database
        database.check_writable()
        database.scope.refuse("repair")
        for work in (REEMBEDDING, JOINT_REEMBEDDING):
            remove_left(database.path, work)
        self._deferring.write_pending()
        with self._transactions.changing("repair", "repairing") as transaction:
            memories, links, report = repair(*transaction.snapshot.tables)
            now = transaction.publish_anew(memories, links)
            links, made = link_missing(now.memories, now.links, now.index, database.config.links)
            transaction.publish(links=links)
            database.pending.relinked(made["source_id"].unique().to_pylist())
            transaction.draft.links = report.dangling_links + report.repeated_links + len(made)
            now.index.save()
        self._deferring.write_pending()
        return replace(report, missing_links=len(made))

    @measured("reembed")
    def replace_vectors(
        self,
        replacement: Callable[[lance.LanceDataset], pa.Table],
        then: Callable[[], object] = lambda: None,
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
        self._database.check_writable()
        with self._transactions.changing(REEMBED, "exchanging the vectors of") as transaction:
            now = transaction.snapshot
            vectors = replacement(now.memories)
            transaction.draft.updated = len(vectors)
            if len(vectors):
                written = handle(now.memories)
                written.merge_insert(KEY).when_matched_update_all().execute(vectors)
                transaction.publish(memories=written)
                self._database.texts.outdated()
            then()
        return len(vectors)

    @contextmanager
    def held(self) -> Iterator[tuple[lance.LanceDataset, lance.LanceDataset]]:
        """Yield the newest memories and links, level with each other, which are not cleaned up meanwhile."""
        self._deferring.flush_if_possible()
        if self._database.read_only:
            yield self._database.refresh().tables
            return
        with self._database.compacting():
            with self._transactions.writing("reading") as transaction:
                found = transaction.snapshot.tables
            yield found
