"""What writes memories: remember and update, each under the write lock and in one commit of rows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Protocol

import numpy as np
import pyarrow as pa
import uuid_utils
from numpy.typing import NDArray

from aios_db.joint.media import Reach
from aios_db.observing.recorder import measured
from aios_db.schema.metrics import UPDATE, UPSERT
from aios_db.schema.sources import PYTHON
from aios_db.search.index import SearchIndex
from aios_db.search.source import Appended
from aios_db.store.attribution import Repeated, of_source, with_source
from aios_db.store.changes import NO_CHANGE, Change
from aios_db.store.commit import commit
from aios_db.store.ends import ends
from aios_db.store.groups import grouped
from aios_db.store.guarding import Guarding, is_named
from aios_db.store.known import find_known, reworded
from aios_db.store.relinking import BULK, Relinking
from aios_db.store.renewing import new_rows, renewed, with_columns
from aios_db.store.rows import check_lengths, normalise
from aios_db.store.snapshot import Level
from aios_db.store.transaction import LoggedTransaction, Transactions
from aios_db.store.turns import (
    Turns,
    content_identities,
    external_keys,
    folded,
    settled,
)
from aios_db.store.update import Update


@dataclass(frozen=True)
class _Look:
    """What was found of the rows to remember, at one version of the table."""

    version: int
    known: NDArray[np.int64]
    """Row id of the memory that each row is, or -1."""
    repeated: Repeated
    wanting: NDArray[np.bool_]
    """Rows that need a vector."""
    joining: NDArray[np.bool_]
    """Rows that need a vector in the joint space."""


@dataclass(frozen=True)
class Along:
    """What follows a change of memories, in the same commit."""

    row_ids: NDArray[np.int64]
    columns: Mapping[str, pa.Array]
    """Those that change, and what of them; the change itself is among it."""
    gone: NDArray[np.int64]
    names: pa.Array
    """Those that are deleted, and their ids."""


class Followers(Protocol):
    """What follows memories as they change."""

    def following(self, change: Change) -> Along | None:
        """Return what follows a change; None where nothing does."""
        ...


class Writes:
    """Memories are stored and changed.

    Parameters
    ----------
    transactions
        How all is written.
    guarding
        Who may change what.
    relinking
        Writes the links.
    followers
        What follows.
    """

    def __init__(
        self, transactions: Transactions, guarding: Guarding, relinking: Relinking, followers: Followers
    ) -> None:
        self._database, self._transactions = transactions.database, transactions
        self._guarding, self._relinking, self._followers = guarding, relinking, followers
        database = self._database
        self._texts, self._joint, self.metrics = database.texts, database.joint, database.metrics
        self._most_bytes = database.config.storage.max_text_bytes
        self._loaded_at = -inf

    @property
    def loading(self) -> bool:
        """Whether memories are being written in bulk; what can wait then does."""
        return time.monotonic() - self._loaded_at < self._database.config.storage.maintenance_delay_s

    @measured(UPSERT)
    def remember(
        self,
        rows: pa.Table,
        *,
        append: bool = False,
        fold: bool = False,
        turns: Turns | None = None,
        entry: str = PYTHON,
        reach: Reach | None = None,
    ) -> list[str]:
        """Store memories, each once: what is known already is brought up to date.

        Texts are embedded first, without the lock; then one commit changes the memories and one their links.

        Parameters
        ----------
        rows
            Columns out of `aios_db.schema.memories.WRITABLE`; types are coerced, see `normalise`.
        append
            Messages of a session without a time are new turns of it; otherwise the rows are a transcript, and
            the n-th of equal ones is the n-th that is stored.
        fold
            Equal content in one scope is one memory, whenever it was said; it counts its ``occurrences`` and
            keeps their ``times``.
        turns
            What came before of a transcript that is given in several calls.
        entry
            The ``source`` of new memories that name none.
        reach
            Which files may be read of those that rows name, where that is less than the connection may.

        Returns
        -------
        list of str
            One memory id per row, in order; rows that are the same memory share theirs.

        Raises
        ------
        ProgrammingError
            For an unknown column.
        DataError
            For a value that does not fit, with its row's number; nothing is stored then.
        IntegrityError
            For an ``external_id`` of a memory that is trusted more than the row's source; nothing is stored.
        OperationalError
            When the disk fails or is full; nothing is stored then.
        """
        database = self._database
        database.check_writable()
        given = normalise(of_source(database.scope.own(rows), database.source), database.dimension)
        if not len(given):
            return []
        check_lengths(dict(zip(given.column_names, given.columns, strict=True)), self._most_bytes)
        contents = content_identities(given, turns or Turns(), append=append, fold=fold)
        given = with_columns(given, content_hash=pa.array(contents, pa.string()))
        external = external_keys(given)
        keys = [key or content for key, content in zip(external, contents, strict=True)]
        distinct, of_row = grouped(given, keys, [key is not None for key in external])
        if fold:
            distinct = with_columns(distinct, **folded(given, of_row, len(distinct)))
        # What has a name of its own becomes what is given, as a whole.
        distinct = with_source(distinct, entry, distinct["external_id"].is_valid().combine_chunks())
        look = database.read(lambda now: self._look(now, distinct, entry, fold=fold))
        self._joint.note_files(distinct, reach)
        distinct = self._texts.complete(distinct, look.wanting)
        distinct = self._joint.complete(distinct, look.joining)
        with self._transactions.changing("remember", "writing memories to") as transaction:
            now = transaction.snapshot
            if look.version != now.memories.version:
                # Another process may have forgotten, since the look before encoding, what was known then, or
                # have exchanged the vectors for those of another weight version.
                look = self._look(now, distinct, entry, fold=fold)
            distinct = self._texts.complete(self._texts.in_use(distinct), look.wanting)
            distinct = self._joint.complete(distinct, look.joining)
            if distinct["text_weight_version"].null_count < len(distinct):
                self._texts.record()
            if append:
                hashes = settled(distinct["content_hash"].to_pylist(), partial(_is_known, now.index))
                distinct = with_columns(distinct, content_hash=pa.array(hashes, pa.string()))
            times = np.bincount(of_row)
            ids = self._store(transaction, distinct, look, times, append=append, entry=entry)
        self._transactions.maintain_soon()
        return [ids[place] for place in of_row]

    @measured(UPDATE)
    def update(self, rows: pa.Table | Sequence[pa.Table]) -> int:
        """Change columns of memories, which keep their ids, their links and when they were stored.

        A changed title or text is embedded again, and the links that follow from it are made anew.

        Parameters
        ----------
        rows
            ``memory_id`` and the columns to change, out of `WRITABLE`; NULL empties a column. Several tables
            change different columns in one commit.

        Returns
        -------
        int
            How many memories were named.

        Raises
        ------
        ProgrammingError
            For an unknown column, or an id that is no memory; nothing is changed then.
        DataError
            For a value that does not fit; nothing is changed then.
        IntegrityError
            When a memory would become what another one is: the same content, or the same ``external_id``, in
            one scope; or when the store's source is trusted less than the memory. Nothing is changed then.
        """
        database = self._database
        database.check_writable()
        tables = [rows] if isinstance(rows, pa.Table) else rows
        given = [of_source(each, database.source) for each in tables]
        update = Update(given, database.dimension, self._most_bytes)
        if not update.memory_ids:
            return 0
        changed = self._texts.complete(*database.read(update.apply))
        self._joint.note_files(update.with_new_files(changed))
        changed = self._joint.complete(changed, update.seen)
        with self._transactions.changing("update", "changing memories of") as transaction:
            now = transaction.snapshot
            self._texts.follow()
            again, wanting = update.apply(now, made=changed)
            self._guarding.refuse_beyond(update.row_ids, "change")
            changed = self._texts.complete(self._texts.in_use(again), wanting)
            changed = self._joint.complete(changed, update.seen)
            if wanting.any():
                self._texts.record()
            database.scope.refuse_moves(update.stored, changed)
            change = update.change(changed)
            transaction.draft.updated = len(change.row_ids)
            self._write_change(transaction, None, change)
            self._relinking.relink(transaction, *change.to_link())
            database.pending.unpacked(update.unpacked(changed))
        self._transactions.maintain_soon()
        return len(update.memory_ids)

    # Inside

    def _write_change(self, transaction: LoggedTransaction, new: pa.Table | None, change: Change) -> None:
        """Store rows, and change others, in one commit with what follows."""
        memories, along = transaction.snapshot.memories, self._followers.following(change)
        if along is None:
            written = commit(memories, new, change.row_ids, change.columns)
            appended = Appended(memories=None if len(change.row_ids) else new)
            transaction.publish(memories=written, appended=appended)
            return
        transaction.publish(memories=commit(memories, new, along.row_ids, along.columns, gone=along.gone))
        transaction.draft.updated += len(along.row_ids) - len(change.row_ids)
        transaction.draft.deleted += len(along.gone)
        self._relinking.unlink_gone(transaction, along.names)

    def _look(self, now: Level, distinct: pa.Table, entry: str, *, fold: bool) -> _Look:
        contents = distinct["content_hash"].to_pylist()
        known = find_known(now.memories, now.index, distinct, contents, fold=fold)
        self._guarding.keep_from_takeovers(now, distinct, known, entry)
        repeated = self._guarding.repeated(now, distinct, known, entry)
        wanting = (known < 0) | repeated.outdone
        replaced = np.flatnonzero(~wanting & is_named(distinct))
        if len(replaced):
            stored = now.memories._take_rows(known[replaced].tolist(), columns=["title", "text"])
            wanting[replaced] |= reworded(stored, distinct.take(pa.array(replaced)))
        joining = wanting | is_named(distinct)
        return _Look(now.memories.version, known, repeated, wanting, joining)

    def _store(
        self,
        transaction: LoggedTransaction,
        distinct: pa.Table,
        look: _Look,
        given: NDArray[np.int64],
        *,
        append: bool,
        entry: str,
    ) -> list[str]:
        """Commit the rows that are not known, bring those that are up to date, and return all ids.

        ``given`` says how often each row was given, ``entry`` is the source of rows that name none.
        """
        now, draft = transaction.snapshot, transaction.draft
        superseded_by, valid_until = (
            distinct[name].combine_chunks() for name in ("superseded_by", "valid_until")
        )
        held_until, _ = ends(superseded_by, valid_until, now.memories, now.index)
        distinct = with_columns(distinct, valid_until=held_until)
        known = look.known
        old = np.flatnonzero(known >= 0)
        fresh = known < 0
        ids = np.empty(len(distinct), object)
        change = NO_CHANGE
        if len(old):
            ids[old], change = renewed(
                now,
                distinct.take(pa.array(old)),
                known[old],
                look.repeated.take(old),
                given[old],
                append=append,
                entry=entry,
            )
        ids[fresh] = [str(uuid_utils.uuid7()) for _ in range(int(fresh.sum()))]
        new = new_rows(now, distinct.filter(pa.array(fresh)), ids[fresh].tolist(), given[fresh], entry)
        draft.added, draft.updated = len(new), len(change.row_ids)
        self._write_change(transaction, new, change)
        transaction.note_first(new)
        if len(new):
            self._relinking.link(transaction, new)
        self._relinking.relink(transaction, *change.to_link())
        self._relinking.relink(transaction, known[look.repeated.outdone], None)
        if len(new) >= BULK:
            self._loaded_at = time.monotonic()
            if now.index.needs_save_now:
                now.index.save()
        return list(ids)


def _is_known(index: SearchIndex, content_hash: str) -> bool:
    return bool(index.find_content([content_hash])[0] >= 0)
