"""What changes memories: remember, update and forget, each under the write lock and in one commit of rows."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import uuid_utils
from numpy.typing import NDArray

from aios_db.models.following import Following
from aios_db.provenance.authority import Trusts, authority, over_others, refuse_beyond
from aios_db.provenance.origins import refuse_withdrawal
from aios_db.provenance.policy import SourceTrust
from aios_db.provenance.taking import CONTENT, Repeated, inheriting, of_source, with_source
from aios_db.schema.association_links import KINDS
from aios_db.schema.config import Config
from aios_db.schema.errors import Error, ProgrammingError
from aios_db.schema.memories import WRITABLE
from aios_db.schema.sources import PYTHON
from aios_db.search.index import SearchIndex
from aios_db.search.ranking import digest64
from aios_db.search.source import NOTHING, Appended
from aios_db.security.scope import Scope
from aios_db.store import links as links_
from aios_db.store.change_log import Draft
from aios_db.store.changes import NO_CHANGE, Change
from aios_db.store.commit import commit, delete
from aios_db.store.confirming import check_confirmed
from aios_db.store.embedding import Encoder, embed_missing
from aios_db.store.groups import grouped
from aios_db.store.known import become, chosen, find_known, reworded
from aios_db.store.linking import link_new
from aios_db.store.maintenance import Maintenance
from aios_db.store.pending import Pending, count_accesses
from aios_db.store.recording import Recording
from aios_db.store.rows import check_lengths, complete, normalise
from aios_db.store.selection import Selection
from aios_db.store.strongest import write_first
from aios_db.store.turns import (
    Turns,
    content_identities,
    external_keys,
    fold_again,
    folded,
    settled,
    with_external,
)
from aios_db.store.update import Update

logger = logging.getLogger("aios_db.store")

_BULK = 4_096
_STAYING = ("memory_id", "created_at", "association_links")
"""What a memory keeps that is said again by who is trusted more: all else becomes what a new one has."""
_CONFIRM = (
    "forget(…, confirm=True) in Python, forget(memory_id, confirm := true) or forget_all(…, confirm := true) "
    "in SQL, also in the place of a DELETE, --yes in the shell"
)


@dataclass(frozen=True)
class _Look:
    """What was found of the rows to remember, at one version of the table."""

    version: int
    known: NDArray[np.int64]
    """Row id of the memory that each row is, or -1."""
    repeated: Repeated
    wanting: NDArray[np.bool_]
    """Rows that need a vector."""


class Writes(Recording):
    """The part of `MemoryStore` that changes memories; the rest of it is what this class declares."""

    path: Path
    config: Config
    dimension: int
    scope: Scope
    trust: SourceTrust
    source: str | None
    memories: lance.LanceDataset
    links: lance.LanceDataset
    index: SearchIndex
    _encoder: Encoder | None
    _following: Following
    _pending: Pending
    _maintenance: Maintenance
    _loaded_at: float

    if TYPE_CHECKING:  # what `MemoryStore` has

        @property
        def encoder(self) -> Encoder:
            """The text encoder."""

        def refresh(self) -> None:
            """Move to the newest version."""

        def _check_writable(self) -> None: ...

        def _writing(self, doing: str) -> AbstractContextManager[None]: ...

        def _written(
            self,
            memories_: lance.LanceDataset | None = None,
            links: lance.LanceDataset | None = None,
            appended: Appended = NOTHING,
        ) -> None: ...

    def remember(
        self,
        rows: pa.Table,
        *,
        append: bool = False,
        fold: bool = False,
        turns: Turns | None = None,
        entry: str = PYTHON,
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

        Returns
        -------
        list of str
            One memory id a row, in order; rows that are the same memory share theirs.

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
        self._check_writable()
        given = normalise(of_source(self.scope.own(rows), self.source), self.dimension)
        if not len(given):
            return []
        check_lengths(dict(zip(given.column_names, given.columns, strict=True)), self._most_bytes)
        contents = content_identities(given, turns or Turns(), append=append, fold=fold)
        given = _with(given, content_hash=pa.array(contents, pa.string()))
        external = external_keys(given)
        keys = [key or content for key, content in zip(external, contents, strict=True)]
        distinct, of_row = grouped(given, keys, [key is not None for key in external])
        if fold:
            distinct = _with(distinct, **folded(given, of_row, len(distinct)))
        # What has a name of its own becomes what is given, as a whole.
        distinct = with_source(distinct, entry, distinct["external_id"].is_valid().combine_chunks())
        self.refresh()
        look = self._look(distinct, entry, fold=fold)
        distinct = embed_missing(distinct, look.wanting, lambda: self.encoder)
        with self._changing("remember", "writing memories to") as draft:
            if look.version != self.memories.version:
                # Another process may have forgotten, since the look before encoding, what was known then, or
                # have exchanged the vectors for those of another weight version.
                look = self._look(distinct, entry, fold=fold)
            if self._encoder is not None:
                self._following.follow(self.memories, self._encoder)
                distinct = self._following.without_stale(distinct)
            distinct = embed_missing(distinct, look.wanting, lambda: self.encoder)
            if distinct["text_weight_version"].null_count < len(distinct):
                self._following.record(self._encoder)
            if append:
                hashes = settled(distinct["content_hash"].to_pylist(), self._is_known)
                distinct = _with(distinct, content_hash=pa.array(hashes, pa.string()))
            ids = self._store(distinct, look, np.bincount(of_row), draft, append=append, entry=entry)
        self._maintenance.notify()
        return [ids[place] for place in of_row]

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
        self._check_writable()
        tables = [rows] if isinstance(rows, pa.Table) else rows
        update = Update([of_source(each, self.source) for each in tables], self.dimension, self._most_bytes)
        if not update.memory_ids:
            return 0
        self.refresh()
        changed = embed_missing(*update.apply(self.memories, self.index), lambda: self.encoder)
        with self._changing("update", "changing memories of") as draft:
            if self._encoder is not None:
                self._following.follow(self.memories, self._encoder)
            again, wanting = update.apply(self.memories, self.index, made=changed)
            self._refuse_beyond(update.row_ids, "change")
            if self._encoder is not None:
                again = self._following.without_stale(again)
            changed = embed_missing(again, wanting, lambda: self.encoder)
            if wanting.any():
                self._following.record(self._encoder)
            self.scope.refuse_moves(update.stored, changed)
            change = update.change(changed)
            draft.updated = len(change.row_ids)
            self._written(memories_=commit(self.memories, None, change.row_ids, change.columns))
            self._relink(*change.to_link(), draft)
        self._maintenance.notify()
        return len(update.memory_ids)

    def forget(self, memories: Sequence[str] | Selection, *, confirm: bool = False) -> int:
        """Delete memories, given by their ids or selected, and the links at them; return how many there were.

        The memories go first: a crash in between leaves links without an end, which readers tolerate.

        Raises
        ------
        ProgrammingError
            They are more than `storage.confirm_forget`, and ``confirm`` is not set; nothing is deleted.
        """
        self._check_writable()
        chosen = memories if isinstance(memories, Selection) else Selection(memory_ids=memories)
        for each in chosen.memory_ids or ():
            if not isinstance(each, str):
                raise ProgrammingError(f"cannot forget {each!r}; a memory_id is text")
        with self._changing("forget", "deleting memories of") as draft:
            self._forget(chosen, draft, confirm=confirm)
        self._maintenance.notify()
        return draft.deleted

    # Inside

    @property
    def _most_bytes(self) -> int:
        return self.config.storage.max_text_bytes

    def _forget(self, chosen: Selection, draft: Draft, *, confirm: bool) -> None:
        row_ids = chosen.rows(self.memories, self.index)
        self._refuse_beyond(row_ids, "delete")
        if self.source is not None and len(row_ids):
            refuse_withdrawal(self.memories, self.index, self.source, row_ids)
        draft.deleted = len(row_ids)
        check_confirmed(len(row_ids), self.config.storage, _CONFIRM, confirm=confirm)
        if not len(row_ids):
            return
        gone = self.memories._take_rows(row_ids.tolist(), columns=["memory_id"])["memory_id"]
        self._written(memories_=delete(self.memories, row_ids))
        links, found = links_.delete_at(self.links, gone)
        self._written(links=links)
        draft.links = len(found)
        self._pending.relinked(found.unique().to_pylist())

    def _is_known(self, content_hash: str) -> bool:
        return bool(self.index.find_content([content_hash])[0] >= 0)

    def _look(self, distinct: pa.Table, entry: str, *, fold: bool) -> _Look:
        contents = distinct["content_hash"].to_pylist()
        known = find_known(self.memories, self.index, distinct, contents, fold=fold)
        self._keep_from_takeovers(distinct, known, entry)
        repeated = self._repeated(distinct, known, entry)
        wanting = (known < 0) | repeated.outdone
        replaced = np.flatnonzero(~wanting & _is_named(distinct))
        if len(replaced):
            stored = self.memories._take_rows(known[replaced].tolist(), columns=["title", "text"])
            wanting[replaced] |= reworded(stored, distinct.take(pa.array(replaced)))
        return _Look(self.memories.version, known, repeated, wanting)

    def _repeated(self, distinct: pa.Table, known: NDArray[np.int64], entry: str) -> Repeated:
        """Return what becomes of the memories that are ``known``."""
        found = Repeated(np.zeros(len(known), np.bool_), np.zeros(len(known), np.bool_))
        old = np.flatnonzero(known >= 0)
        if not len(old):
            return found
        rows, again = known[old], inheriting(distinct.take(pa.array(old)), self.index)
        shares = self._authority_over(rows, authority(again, entry, self.trust))
        first = shares
        if self.trust.active:
            first = authority(self.memories._take_rows(rows.tolist(), columns=["source"]), "", self.trust)
        among = Repeated.between(again, shares, first, self.index.trust(rows), _is_named(again))
        found.outdone[old], found.kept[old] = among.outdone, among.kept
        return found

    def _keep_from_takeovers(self, distinct: pa.Table, known: NDArray[np.int64], entry: str) -> None:
        """Refuse rows that would replace what is trusted more than their source.

        One that only has the content of such a memory, and a name of its own, is another: it is not known.
        """
        shares = self._authority_over(known, authority(distinct, entry, self.trust))
        places = np.flatnonzero((known >= 0) & _is_named(distinct))
        places = places[shares[places] < self.index.trust(known[places])]
        if not len(places):
            return
        names = self.memories._take_rows(known[places].tolist(), columns=["external_id"])["external_id"]
        own = places[names.is_valid().to_numpy()]
        if len(own):
            place = int(own[0])
            source, name = (distinct[column][place].as_py() for column in ("source", "external_id"))
            told = f"the memory with the external_id {name!r}"
            trust = self.index.trust(known[own[:1]])
            refuse_beyond(source or entry, shares[own[:1]], trust, "replace", lambda _: told)
        known[places] = -1

    def _authority_over(self, rows: NDArray[np.int64], shares: Trusts) -> Trusts:
        """Return the authority over memories, given the trust in who would change them."""
        if self.source is None:
            return shares
        return over_others(shares, self.index.owners(rows, "source") == np.uint64(digest64(self.source)))

    def _refuse_beyond(self, rows: NDArray[np.int64], doing: str) -> None:
        """Raise where all that this store writes has one source, and that may not change a memory."""
        if self.source is not None and len(rows):
            shares = np.full(len(rows), self.trust.of(self.source), np.float32)
            refuse_beyond(
                self.source,
                self._authority_over(rows, shares),
                self.index.trust(rows),
                doing,
                lambda place: str(self.index.memory_ids(rows[[place]])[0]),
            )

    def _refuse_links_beyond(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        """Raise where a link would join two memories of which both are trusted more than the store's source.

        What one end of a link says goes only to what is trusted as much or less.
        """
        if self.source is not None:
            trust = [self.index.trust(self.index.find_ids(list(ends))) for ends in (sources, targets)]
            refuse_beyond(
                self.source,
                np.full(len(sources), self.trust.of(self.source), np.float32),
                np.minimum(*trust),
                "change the link of",
                lambda place: f"{sources[place]} and {targets[place]}",
            )

    def _store(
        self,
        distinct: pa.Table,
        look: _Look,
        given: NDArray[np.int64],
        draft: Draft,
        *,
        append: bool,
        entry: str,
    ) -> list[str]:
        """Commit the rows that are not known, bring those that are up to date, and return all ids.

        ``given`` says how often each row was given, ``draft`` counts what is done, ``entry`` is the source of
        rows that name none.
        """
        known = look.known
        old = np.flatnonzero(known >= 0)
        fresh = known < 0
        ids = np.empty(len(distinct), object)
        change = NO_CHANGE
        if len(old):
            ids[old], change = self._renewed(
                distinct.take(pa.array(old)),
                known[old],
                look.repeated.take(old),
                given[old],
                append=append,
                entry=entry,
            )
        ids[fresh] = [str(uuid_utils.uuid7()) for _ in range(int(fresh.sum()))]
        new = self._new(distinct.filter(pa.array(fresh)), ids[fresh].tolist(), given[fresh], entry)
        written = commit(self.memories, new, change.row_ids, change.columns)
        self._written(memories_=written, appended=Appended(memories=None if len(change.row_ids) else new))
        draft.added, draft.updated = len(new), len(change.row_ids)
        self._note_first(draft, new)
        if len(new):
            self._link(new, draft)
        self._relink(*change.to_link(), draft)
        self._relink(known[look.repeated.outdone], None, draft)
        if len(new) >= _BULK:
            self._loaded_at = time.monotonic()
            if self.index.needs_save_now:
                self.index.save()
        return list(ids)

    def _new(self, rows: pa.Table, ids: list[str], given: NDArray[np.int64], entry: str) -> pa.Table:
        """Return rows as they are stored when nobody said them before."""
        rows = inheriting(with_source(rows, entry), self.index)
        hashes = with_external(rows["content_hash"].to_pylist(), external_keys(rows))
        rows = _with(rows, content_hash=pa.array(hashes, pa.string()))
        return complete(rows, ids, given - 1, self.memories.schema)

    def _note_first(self, draft: Draft, new: pa.Table) -> None:
        """Note the row of the first memory that a change adds."""
        if draft.first_row is None and len(new):
            draft.first_row = int(self.index.find_ids(new["memory_id"][:1].to_pylist())[0])

    def _renewed(
        self,
        again: pa.Table,
        rows: NDArray[np.int64],
        repeated: Repeated,
        given: NDArray[np.int64],
        *,
        append: bool,
        entry: str,
    ) -> tuple[list[str], Change]:
        """Return the ids of memories that are remembered again, and what changes of them."""
        replaced = _is_named(again)
        fold = "times" in again.column_names
        outdone = bool(repeated.outdone.any())
        said, again = again, inheriting(again, self.index)
        names = [name for name in WRITABLE if again[name].null_count < len(again) and name not in CONTENT]
        if replaced.any() or "media_type" in names:
            names = [*WRITABLE, "modalities"]
        if "text_embedding" in names:
            names.append("text_weight_version")
        if fold:
            names = [*dict.fromkeys([*names, "occurred_at"]), "times", "occurrences"]
        if outdone:
            names = [name for name in self.memories.schema.names if name not in _STAYING]
        read = [*dict.fromkeys(["memory_id", "content_hash", "access_count", "last_access_at", *names])]
        stored = self.memories._take_rows(rows.tolist(), columns=read)
        ids = stored["memory_id"].to_pylist()
        columns = become(stored, again, again["content_hash"].to_pylist(), replaced)
        if fold:
            columns |= fold_again(stored, again, append=append)
        kept = pa.array(repeated.kept)
        columns = {name: chosen(_one(stored[name]), each, kept) for name, each in columns.items()}
        counts = {
            name: _one(each) for name, each in count_accesses(stored, np.where(replaced, 0, given)).items()
        }
        if outdone:
            new, anew = self._new(said, ids, given, entry), pa.array(repeated.outdone)
            for name in names:
                of = counts if name in counts else columns
                of[name] = chosen(_one(new[name]), of.get(name, _one(stored[name])), anew)
        return ids, Change.between(rows, stored, columns, counts)

    def _link(self, new: pa.Table, draft: Draft) -> None:
        """Link new memories; they are stored already, so a failure costs their links and no more."""
        try:
            links, made = link_new(self.memories, self.links, self.index, new, self.config.links)
            self._written(links=links, appended=Appended(links=made))
            draft.links += len(made)
            sources = made["source_id"].unique()
            if len(new) >= _BULK:
                names = new["memory_id"].combine_chunks()
                self._written(memories_=write_first(self.memories, self.index.find_ids(names), names, made))
                sources = sources.filter(pc.invert(pc.is_in(sources, names)))
            self._pending.relinked(sources.to_pylist())
        except (Error, OSError, RuntimeError, ValueError) as error:
            logger.warning(
                "memories stored without their links: %s",
                error,
                extra={"database": str(self.path), "memories": len(new)},
            )

    def _relink(self, row_ids: NDArray[np.int64], kinds: Sequence[str] | None, draft: Draft) -> None:
        """Make anew the links of these kinds of changed memories; with None, all, those made by hand go.

        The memories are stored already, so a failure costs these links and no more.
        """
        if not len(row_ids):
            return
        try:
            rows = self.memories._take_rows(row_ids.tolist())
            names = rows["memory_id"].combine_chunks()
            links, found = links_.delete_at(self.links, names, kinds, staying=True)
            self._written(links=links)
            links, made = link_new(
                self.memories, self.links, self.index, rows, self.config.links, kinds=kinds or KINDS
            )
            self._written(links=links)
            draft.links += len(found) + len(made)
            self._pending.relinked([*found.unique().to_pylist(), *made["source_id"].unique().to_pylist()])
        except (Error, OSError, RuntimeError, ValueError) as error:
            logger.warning(
                "memories changed without their links: %s; aios repair removes what points nowhere",
                error,
                extra={"database": str(self.path), "memories": len(row_ids)},
            )


def _is_named(rows: pa.Table) -> NDArray[np.bool_]:
    """Tell which rows bring a name of the user's: they replace the memory that has it."""
    found: NDArray[np.bool_] = rows["external_id"].is_valid().to_numpy()
    return found


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _with(table: pa.Table, **columns: pa.Array) -> pa.Table:
    """Return the table with these columns, new ones or in the place of old ones."""
    for name, values in columns.items():
        if name in table.column_names:
            table = table.set_column(table.schema.get_field_index(name), name, values)
        else:
            table = table.append_column(name, values)
    return table
