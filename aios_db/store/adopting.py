"""Taking in memories and links of another database as they are: ids, times and counts included."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import uuid_utils
from numpy.typing import NDArray

from aios_db.schema.amounts import amount
from aios_db.schema.errors import ModelNotFoundError
from aios_db.schema.memories import DERIVED
from aios_db.search.index import SearchIndex
from aios_db.search.source import Appended
from aios_db.store.adoptable import adoptable, check_links
from aios_db.store.attribution import of_source
from aios_db.store.commit import commit
from aios_db.store.derivation import missing_origins, renamed, trust_of
from aios_db.store.known import Stored
from aios_db.store.links import between
from aios_db.store.snapshot import Snapshot
from aios_db.store.transaction import Transactions
from aios_db.store.turns import external_keys

logger = logging.getLogger("aios_db.store")

_KEY = ("source_id", "target_id", "kind")


@dataclass(frozen=True)
class Adopted:
    """What `Adopting.adopt` did with rows."""

    stored: int
    """Memories that are new here."""
    merged: int
    """Memories that were here: by their id, or by what they are under another id. They stay as they were."""
    ids: Mapping[str, str]
    """For those of another id here, from the id given to the one here."""


class Adopting:
    """What another database exported is taken in.

    Parameters
    ----------
    transactions
        How all is written.
    release
        Called with new memories, and ``released_text`` and ``released_at`` of each: lets those out of
        quarantine that were out of it where they come from.
    """

    def __init__(self, transactions: Transactions, release: Callable[[pa.Table, pa.Table], None]) -> None:
        self._database, self._transactions = transactions.database, transactions
        self._texts, self._joint = self._database.texts, self._database.joint
        self._release = release

    def adopt(
        self, given: pa.Table, released: pa.Table | None = None, missing: Mapping[str, float] | None = None
    ) -> Adopted:
        """Store memories as they are; one that is here already stays as it is.

        One does not become what memories here were made of that are trusted more: it gets another id. Vectors
        stay when the weights that made them are those of this database and their content is what it
        was; otherwise, and where there are none, texts are embedded here.

        Parameters
        ----------
        given
            All columns of `memories_schema` that are not derived, in their types.
        released
            ``released_text`` and ``released_at`` of each that was let out of quarantine. New memories are out
            of it with the same text, unless all that this store writes has one source: that is not to judge.
        missing
            `missing_origins` as it was before the first of several calls; by default, as it is.

        Raises
        ------
        DataError
            A value that no memory has, with its row's number; nothing is stored.
        """
        database = self._database
        database.check_writable()
        database.scope.refuse("importing an export")  # an id in it may be of somebody else here
        rows = of_source(adoptable(given), database.source)
        stale = rows["text_embedding"].null_count - given["text_embedding"].null_count
        if stale:
            logger.warning("changed after the export, and embedded anew: %s", amount(stale, "memory"))
        now = database.refresh()
        missing = self.missing_origins() if missing is None else missing
        ids, fresh = self._known(now, rows, missing)
        rows = self._joint.memories.own(self._without_foreign_vectors(now, rows))
        rows = self._texts.complete(rows, fresh)
        rows = self._joint.complete(rows, fresh)
        with self._transactions.changing("import", "writing memories to") as transaction:
            now = transaction.snapshot
            ids, fresh = self._known(now, rows, missing)
            rows = self._texts.complete(self._texts.in_use(rows), fresh)
            rows = self._joint.complete(rows, fresh)
            moved = {
                old: mine for old, mine in zip(rows["memory_id"].to_pylist(), ids, strict=True) if old != mine
            }
            new = renamed(rows, {"memory_id": ids}, moved).filter(pa.array(fresh))
            if new["text_weight_version"].null_count < len(new):
                self._texts.record()
            schema = now.memories.schema
            columns = [
                pa.nulls(len(new), each.type) if each.name in DERIVED else new[each.name] for each in schema
            ]
            new = pa.table(columns, schema=schema)
            transaction.draft.added = len(new)
            transaction.publish(memories=commit(now.memories, new), appended=Appended(memories=new))
            transaction.note_first(new)
            if released is not None and database.source is None:
                self._release(new, released.filter(pa.array(fresh)))
        self._transactions.maintain_soon()
        return Adopted(len(new), len(rows) - len(new), moved)

    def missing_origins(self) -> dict[str, float]:
        """Return what memories were made of that is not here, with the most trust in one of these."""
        now = self._database.snapshot
        return missing_origins(now.memories, now.index)

    def adopt_links(self, links: pa.Table) -> int:
        """Store links as they are and return how many are new: not those that exist or lack an end here."""
        self._database.check_writable()
        check_links(links)
        with self._transactions.changing("import", "writing links to") as transaction:
            now = transaction.snapshot
            ends = [now.index.find_ids(links[name].combine_chunks()) >= 0 for name in _KEY[:2]]
            loops = pc.equal(links["source_id"], links["target_id"]).to_numpy(zero_copy_only=False)
            links = links.filter(pa.array(ends[0] & ends[1] & ~loops.astype(bool)))
            links = links.filter(pa.array(_within_users(now.index, links) & self._may_link(now.index, links)))
            rows = links.select(list(_KEY)).to_pylist()
            stored = between(now.links, {row["source_id"] for row in rows})
            seen = {tuple(row[name] for name in _KEY) for row in stored}
            chosen = []
            for row in rows:
                key = tuple(row.values())
                chosen.append(key not in seen)
                seen.add(key)
            new = links.filter(pa.array(chosen, pa.bool_())).combine_chunks()
            transaction.draft.links = len(new)
            transaction.publish(links=commit(now.links, new))
            self._database.pending.relinked(new["source_id"].unique().to_pylist())
        self._transactions.maintain_soon()
        return len(new)

    def _may_link(self, index: SearchIndex, links: pa.Table) -> NDArray[np.bool_]:
        """Tell which links the one source may make: not those of two memories that are trusted more."""
        source = self._database.source
        if source is None:
            return np.ones(len(links), np.bool_)
        ends = [index.find_ids(links[name].combine_chunks()) for name in _KEY[:2]]
        trust = np.minimum(*(index.trust(rows) for rows in ends))
        may: NDArray[np.bool_] = trust <= np.float32(self._database.trust.of(source))
        return may

    def _known(
        self, now: Snapshot, rows: pa.Table, missing: Mapping[str, float]
    ) -> tuple[list[str], NDArray[np.bool_]]:
        """Return the id that each memory has here, and which are not here yet."""
        trust = trust_of(rows, self._database.trust, now.index) if missing else {}
        ids, hashes = rows["memory_id"].to_pylist(), rows["content_hash"].to_pylist()
        by_id = now.index.find_ids(ids)
        by_content = Stored(now.memories, now.index).exactly(external_keys(rows), hashes)
        others = np.flatnonzero((by_id < 0) & (by_content >= 0))
        stored = now.memories._take_rows(by_content[others].tolist(), columns=["memory_id"])
        same = dict(zip(others.tolist(), stored["memory_id"].to_pylist(), strict=True))
        here: dict[str, str] = {}  # of this call, by content
        fresh = np.zeros(len(ids), np.bool_)
        taken = set()
        for place, (name, content) in enumerate(zip(ids, hashes, strict=True)):
            if by_id[place] >= 0 or name in taken:
                continue
            if place in same:
                ids[place] = same[place]
            elif content in here:
                ids[place] = here[content]
            else:
                taken.add(name)
                fresh[place] = True
                if trust.get(name, 1.0) < missing.get(name, 0.0):
                    ids[place] = str(uuid_utils.uuid7())
                here[content] = ids[place]
        return ids, fresh

    def _without_foreign_vectors(self, now: Snapshot, rows: pa.Table) -> pa.Table:
        """Return the rows without vectors that other weights made, or that have another length than here."""
        wanted = now.memories.schema.field("text_embedding").type
        column = rows["text_embedding"]
        made_by = rows["text_weight_version"]
        if column.type != wanted:
            foreign = pa.chunked_array([pa.repeat(True, len(rows))])
        elif self._texts.given is None or made_by.null_count == len(rows):
            return rows
        else:
            try:
                version = self._texts.encoder.version
            except ModelNotFoundError:  # what made them will be looked for when something is asked
                return rows
            foreign = pc.fill_null(pc.not_equal(made_by, version), False)
        count = pc.sum(pc.and_(foreign, column.is_valid())).as_py() or 0
        if count:
            logger.warning("made by other weights: %s; the texts are embedded anew", amount(count, "vector"))
        kept = pc.invert(foreign)
        vectors = pa.nulls(len(rows), wanted) if column.type != wanted else _where(kept, column)
        for name, values in (("text_embedding", vectors), ("text_weight_version", _where(kept, made_by))):
            rows = rows.set_column(rows.schema.get_field_index(name), name, values)
        return rows


def _within_users(index: SearchIndex, links: pa.Table) -> NDArray[np.bool_]:
    first, second = (index.users(index.find_ids(links[name].combine_chunks())) for name in _KEY[:2])
    within: NDArray[np.bool_] = (first == second) | (first == 0) | (second == 0)
    return within


def _where(kept: pa.ChunkedArray, column: pa.ChunkedArray) -> pa.Array:
    values = column.combine_chunks()
    return pc.if_else(kept.combine_chunks(), values, pa.scalar(None, values.type))
