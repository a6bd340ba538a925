"""Quarantine, and taking back what a source has written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.disk.durable import DurableTable
from aios_db.provenance.replay import as_they_were, replayed
from aios_db.provenance.rollback import RollbackReport, Taken, made_since, taken
from aios_db.schema import quarantine_releases
from aios_db.schema.database import table_path
from aios_db.schema.errors import ProgrammingError
from aios_db.search.standing import fingerprint
from aios_db.store.commit import commit, delete
from aios_db.store.forgetting import Changed
from aios_db.store.guarding import Guarding
from aios_db.store.transaction import LoggedTransaction, Transactions
from aios_db.trust import releases
from aios_db.trust.patterns import suspicion
from aios_db.trust.releases import Release

_ELSEWHERE = "was held where it was exported"


class Followers(Protocol):
    """What follows memories as they are taken back."""

    def without(self, row_ids: NDArray[np.int64]) -> Changed:
        """Return what changes of the memories that are left, as if some had never been there."""
        ...


class Quarantine:
    """Memories are let out of quarantine.

    Parameters
    ----------
    transactions
        How all is written.
    guarding
        Who may judge.
    """

    def __init__(self, transactions: Transactions, guarding: Guarding) -> None:
        self._database, self._transactions, self._guarding = transactions.database, transactions, guarding

    def release(self, memory_ids: Sequence[str]) -> int:
        """Let memories out of quarantine, with the texts that they have; return how many were in it.

        A memory whose title or text is changed afterwards is looked at anew.

        Raises
        ------
        NotSupportedError
            All that this store writes has one source, and that is not to judge.
        """
        self._database.check_writable()
        self._guarding.refuse_of_source("release")
        for each in memory_ids:
            if not isinstance(each, str):
                raise ProgrammingError(f"cannot release {each!r}; a memory_id is text")
        with self._transactions.writing("releasing memories of") as transaction:
            index = transaction.snapshot.index
            held = index.held()
            names = [each for each in dict.fromkeys(memory_ids) if each in held]
            if not names:
                return 0
            _, rows = index.memories(names)
            texts = rows.select(["memory_id", "title", "text"]).to_pylist()
            now = datetime.now(timezone.utc)
            self._release(
                [
                    Release(
                        row["memory_id"],
                        fingerprint(row["title"], row["text"]),
                        held[row["memory_id"]],
                        now,
                    )
                    for row in texts
                ]
            )
        return len(names)

    def releases(self) -> dict[str, tuple[str, datetime]]:
        """Return what was let out of quarantine, by memory_id: the fingerprint of its text, and when."""
        if quarantine_releases.TABLE in self._database.damaged:
            return {}
        rows = self._database.dataset(quarantine_releases.TABLE).to_table().to_pylist()
        return {row["memory_id"]: (row["fingerprint"], row["released_at"]) for row in rows}

    def _release(self, released: Sequence[Release]) -> None:
        written = releases.add(self._database.dataset(quarantine_releases.TABLE), released)
        if self._database.config.storage.durability == "full":
            DurableTable(table_path(self._database.path, quarantine_releases.TABLE)).force(written)

    def adopt(self, new: pa.Table, released: pa.Table) -> None:
        """Let new memories out that were out where they come from, by ``released_at``, ``released_text``."""
        columns = [new[name].to_pylist() for name in ("memory_id", "title", "text")]
        columns += [released[name].to_pylist() for name in ("released_text", "released_at")]
        found = [
            Release(name, text, suspicion(f"{title}\n{said}" if title else said) or _ELSEWHERE, time)
            for name, title, said, text, time in zip(*columns, strict=True)
            if text and time
        ]
        if found:
            self._release(found)

    def released_at(self, memory_id: str) -> datetime | None:
        """Return when a memory was let out of quarantine, if it was."""
        if quarantine_releases.TABLE in self._database.damaged:
            return None
        table = self._database.dataset(quarantine_releases.TABLE)
        rows = table.to_table(columns=["released_at"], filter=pc.field("memory_id") == memory_id)
        found: list[datetime] = rows["released_at"].to_pylist()
        return found[0] if found else None


class Rollback:
    """What a source has written is taken back.

    Parameters
    ----------
    transactions
        How all is written.
    guarding
        Who may judge.
    followers
        What follows memories that go.
    """

    def __init__(self, transactions: Transactions, guarding: Guarding, followers: Followers) -> None:
        self._database, self._transactions, self._guarding = transactions.database, transactions, guarding
        self._followers = followers

    def rollback_source(self, source: str, since: datetime | None, *, dry_run: bool) -> RollbackReport:
        """Take back what a source has written since a moment, as if it had never been there.

        Links between the memories that are left are made anew where it had a part in them. The links are
        changed first: whoever is interrupted finds the source's memories still there, and does it again.

        Raises
        ------
        ProgrammingError
            No memory is of this source.
        NotSupportedError
            The connection is that of a user or an agent, or of one source.
        """
        database = self._database
        database.scope.refuse("rollback_source")
        if dry_run:
            changes = database.change_log.records()
            gone = database.read(lambda now: taken(*now.tables, source, since, changes))
            return RollbackReport(
                source, since, gone.memory_ids, gone.derived, len(gone.links), 0, dry_run=True
            )
        database.check_writable()
        self._guarding.refuse_of_source("rollback_source")
        doing = "taking back memories of"
        with self._transactions.changing("rollback_source", doing) as transaction:
            gone = taken(*transaction.snapshot.tables, source, since, database.change_log.records())
            changed = self._without(transaction, gone) if len(gone.row_ids) else 0
            draft = transaction.draft
            draft.deleted, draft.links = len(gone.row_ids), len(gone.links) + changed
        self._transactions.maintain_soon()
        return RollbackReport(
            source, since, gone.memory_ids, gone.derived, len(gone.links), changed, dry_run=False
        )

    def _without(self, transaction: LoggedTransaction, gone: Taken) -> int:
        now = transaction.snapshot
        old = made_since(now.links, now.index, gone)
        made = replayed(now.memories, gone.row_ids, gone.first, now.index, self._database.config.links)
        made = as_they_were(made, old)
        row_ids = np.concatenate([each["_rowid"].to_numpy() for each in (gone.links, old)])
        links = delete(now.links, row_ids.astype(np.int64))
        now = transaction.publish(links=commit(links, made) if len(made) else links)
        sources = pa.concat_tables([each.select(["source_id"]) for each in (gone.links, old, made)])
        held, columns = self._followers.without(gone.row_ids)
        memories = commit(now.memories, None, held, columns, gone=gone.row_ids)
        transaction.publish_anew(memories, now.links)
        transaction.draft.updated = len(held)
        self._database.pending.relinked(sources["source_id"].unique().to_pylist())
        key = ["source_id", "target_id", "kind", "weight"]
        before, after = (
            {tuple(row.values()) for row in each.select(key).to_pylist()} for each in (old, made)
        )
        return len(before ^ after)
