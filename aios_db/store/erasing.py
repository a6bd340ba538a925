"""What erases: what is deleted is in no file of the database afterwards."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace

from aios_db.observing.recorder import measured
from aios_db.schema.amounts import amount
from aios_db.schema.changes import ERASE
from aios_db.schema.database import ERASING
from aios_db.schema.errors import NotSupportedError, OperationalError
from aios_db.store import erasure
from aios_db.store.deferring import Deferring
from aios_db.store.erasure import EraseReport
from aios_db.store.forgetting import Forgetting
from aios_db.store.selection import Selection
from aios_db.store.snapshot import Snapshot
from aios_db.store.transaction import LoggedTransaction, Transactions

logger = logging.getLogger("aios_db.store")


class Erasing:
    """Memories are erased.

    Parameters
    ----------
    transactions
        How all is written.
    forgetting
        Deletes them.
    deferring
        Writes first what can wait.
    erased
        Called under the write lock, when the memories are gone: takes them out of other tables.
    """

    def __init__(
        self, transactions: Transactions, forgetting: Forgetting, deferring: Deferring,
        erased: Callable[[Snapshot], None],
    ) -> None:  # fmt: skip
        self._database, self._transactions = transactions.database, transactions
        self._forgetting, self._deferring, self._erased = forgetting, deferring, erased
        self.metrics = self._database.metrics

    @measured("erase")
    def erase(self, memories: Sequence[str] | Selection) -> EraseReport:
        """Delete memories, by their ids or selected, so that no file of the database holds them.

        What was deleted before is removed with them.

        Both tables and the search index are written anew, and all older versions removed; statements of other
        processes that still read one of those fail. It holds the write lock as long as that takes.

        Raises
        ------
        NotSupportedError
            All that this store writes has one source, which is not trusted fully: with the older versions
            would go what others can still undo.
        OperationalError
            Another process is compacting or writing for too long, or the disk fails: what was deleted may
            then still be in files; erase again.
        """
        self._database.check_writable()
        self._refuse_of_distrusted()
        chosen = memories if isinstance(memories, Selection) else Selection(memory_ids=memories)
        self._deferring.write_pending(everything=True)
        doing = "erasing memories of"
        with self._database.compacting(), self._transactions.changing(ERASE, doing) as transaction:
            begun = self._database.path / ERASING
            begun.touch()
            report = self._erase(transaction, chosen)
            begun.unlink(missing_ok=True)
        return report

    def finish_broken_off(self) -> None:
        """Let an erasure come to its end whose process did not: what it deleted goes out of all files."""
        database = self._database
        if database.read_only or not (database.path / ERASING).exists() or not database.lock.is_free():
            return
        try:
            self.erase([])
        except (NotSupportedError, OperationalError) as error:
            logger.warning("an erasure that was broken off is not finished yet: %s", error)
        else:
            logger.warning(
                "%s: an erasure was broken off; what it deleted is in no file now", database.path,
                extra={"event": "erase_finished"},
            )  # fmt: skip

    def _refuse_of_distrusted(self) -> None:
        source, trust = self._database.source, self._database.trust
        if source is not None and trust.of(source) < 1:
            raise NotSupportedError(
                f"erase removes older versions, and with them what others can still undo; {source!r} "
                f"is trusted {trust.of(source):g} only (trust.sources), and nothing was changed. "
                "forget deletes what it wrote; to erase, use a connection without source"
            )

    def _erase(self, transaction: LoggedTransaction, chosen: Selection) -> EraseReport:
        path, now = self._database.path, transaction.snapshot
        before = erasure.files_of(path)
        size = erasure.size_of(before)
        rows = self._forgetting.delete(transaction, chosen, confirm=True)
        columns = ["title", "text", "media", "metadata"]
        gone = now.memories._take_rows(rows.tolist(), columns=columns).to_pydict()
        self._database.queries.forget()  # a question may hold what is erased
        now = transaction.snapshot
        compression = self._database.config.compression
        now = transaction.publish_anew(*(erasure.rewrite(each, compression) for each in now.tables))
        now.index.save()
        self._erased(now)
        for made in path.glob("reembed_*.lance"):  # vectors in the making; they are made again
            shutil.rmtree(made, ignore_errors=True)
        texts = [each for each in (*gone["title"], *gone["text"]) if each and each.strip()]
        scope = self._database.scope
        whole = replace(chosen, source=None) == Selection()  # nothing of these sources is left
        sources = (chosen.source or ()) if whole else ()
        rejected = sum(
            erasure.without_rejected(aside, texts) + erasure.without_rejected_of(aside, sources)
            for aside in scope.all_rejected(path)
        )
        notes = 0 if scope else erasure.without_notes(path, sources)  # others may have imported them, too
        wanted = erasure.needles(value for values in gone.values() for value in values)
        scanned, found_in = erasure.scan(path, wanted)
        if scope:
            found_in = ()  # that others say the same is theirs to know
        if found_in:
            logger.warning(
                "erased texts are also in %s: other memories say them", amount(len(found_in), "file")
            )
        after = erasure.files_of(path)
        removed = len({*before} - {*after})
        return EraseReport(
            transaction.draft.deleted,
            rejected,
            removed,
            size,
            erasure.size_of(after),
            scanned,
            found_in,
            notes,
        )
