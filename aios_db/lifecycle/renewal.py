"""Memories are noted of which newer ones say otherwise, or the same again."""

from __future__ import annotations

from functools import partial

import pyarrow as pa

from aios_db.disk.failures import operational
from aios_db.lifecycle.near_duplicates import folded_columns, said_again
from aios_db.schema.consolidations import Folding, Supersession
from aios_db.store.commit import commit
from aios_db.store.guarding import Guarding
from aios_db.store.transaction import Transactions
from aios_db.store.writes import Writes


class Renewal:
    """What no longer holds, and what was said again.

    Parameters
    ----------
    transactions
        How all is written.
    guarding
        Who may change what others wrote.
    writes
        Changes memories.
    """

    def __init__(self, transactions: Transactions, guarding: Guarding, writes: Writes) -> None:
        self._database, self._transactions = transactions.database, transactions
        self._guarding, self._writes = guarding, writes

    def supersede(self, *, dry_run: bool = False) -> list[Supersession]:
        """Note, in one commit, of what no longer holds what holds instead; see `superseding`.

        It is undone as any change is, by its number in the log of changes.
        """
        from aios_db.lifecycle.superseding import superseded

        if not dry_run:
            self._database.check_writable()
            self._guarding.refuse_of_source("supersede")
        with operational(f"looking for what no longer holds in {self._database.path}"):
            found = self._database.read(partial(superseded, self._database))
        if found and not dry_run:
            with self._transactions.as_one_change("supersede"):
                self._writes.update(
                    pa.table(
                        {
                            "memory_id": [each.memory_id for each in found],
                            "valid_until": [each.valid_until for each in found],
                            "superseded_by": [each.superseded_by for each in found],
                        }
                    )
                )
        return found

    def fold(self, *, dry_run: bool = False) -> list[Folding]:
        """Make one memory of those that say the same in nearly the same words, in one commit.

        The newest stays: it counts them in ``occurrences``, and has all their ``times``. The others expire
        now: nothing finds them, and they come back when this change is undone, or their ``expires_at`` is
        emptied.
        """
        if not dry_run:
            self._database.check_writable()
            self._guarding.refuse_of_source("fold")
        with operational(f"looking for what was said again in {self._database.path}"):
            found = self._database.read(partial(said_again, self._database))
        if found and not dry_run:
            with self._transactions.changing("fold", "folding memories of") as transaction:
                now = transaction.snapshot
                found = said_again(self._database, now)
                rows, columns = folded_columns(now, found)
                transaction.publish(memories=commit(now.memories, None, rows, columns))
                transaction.draft.updated = len(rows)
            self._transactions.maintain_soon()
        return found
