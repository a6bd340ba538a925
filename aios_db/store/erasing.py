"""The part of `MemoryStore` that erases: what is deleted is in no file of the database afterwards."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace

from aios_db.observing.recorder import measured
from aios_db.schema.changes import ERASE
from aios_db.schema.database import ERASING
from aios_db.schema.errors import NotSupportedError, OperationalError
from aios_db.store import erasure
from aios_db.store.change_log import Draft
from aios_db.store.erasure import EraseReport
from aios_db.store.finishing import Finishing
from aios_db.store.selection import Selection

logger = logging.getLogger("aios_db.store")


class Erasing(Finishing):
    """`erase`, and what it asks of the rest of the store."""

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
        self._check_writable()
        self._refuse_of_distrusted()
        chosen = memories if isinstance(memories, Selection) else Selection(memory_ids=memories)
        self._write_pending(everything=True)
        with self._compacting(), self._changing(ERASE, "erasing memories of") as draft:
            (self.path / ERASING).touch()
            report = self._erase(chosen, draft)
            (self.path / ERASING).unlink(missing_ok=True)
        return report

    def _finish_broken_off(self) -> None:
        """Let an erasure come to its end, too: what it deleted goes out of all files."""
        super()._finish_broken_off()
        if self.read_only or not (self.path / ERASING).exists() or not self.lock.is_free():
            return
        try:
            self.erase([])
        except (NotSupportedError, OperationalError) as error:
            logger.warning("an erasure that was broken off is not finished yet: %s", error)
        else:
            logger.warning(
                "%s: an erasure was broken off; what it deleted is in no file now", self.path,
                extra={"event": "erase_finished"},
            )  # fmt: skip

    def _erase_beside(self) -> None:
        """Take what is gone out of other tables; `TakingBack` knows one."""

    def _refuse_of_distrusted(self) -> None:
        if self.source is not None and self.trust.of(self.source) < 1:
            raise NotSupportedError(
                f"erase removes older versions, and with them what others can still undo; {self.source!r} "
                f"is trusted {self.trust.of(self.source):g} only (trust.sources), and nothing was changed. "
                "forget deletes what it wrote; to erase, use a connection without source"
            )

    def _erase(self, chosen: Selection, draft: Draft) -> EraseReport:
        rows = chosen.rows(self.memories, self.index)
        columns = ["title", "text", "media", "metadata"]
        gone = self.memories._take_rows(rows.tolist(), columns=columns).to_pydict()
        before = erasure.files_of(self.path)
        size = erasure.size_of(before)
        self._forget(chosen, draft, confirm=True)
        self.queries.forget()  # a question may hold what is erased
        memories_, links = erasure.rewrite(self.memories), erasure.rewrite(self.links)
        self._begun[-1].publish_anew(memories_, links)
        self.index.save()
        self._erase_beside()
        for made in self.path.glob("reembed_*.lance"):  # vectors in the making; they are made again
            shutil.rmtree(made, ignore_errors=True)
        texts = [each for each in (*gone["title"], *gone["text"]) if each and each.strip()]
        aside = self.path.with_name(f"{self.path.name}.rejected.jsonl")
        whole = replace(chosen, source=None) == Selection()  # nothing of these sources is left
        of_sources, notes = erasure.without_sources(self.path, aside, (chosen.source or ()) if whole else ())
        rejected = erasure.without_rejected(aside, texts) + of_sources
        wanted = erasure.needles(value for values in gone.values() for value in values)
        scanned, found_in = erasure.scan(self.path, wanted)
        if self.scope:
            found_in = ()  # that others say the same is theirs to know
        if found_in:
            logger.warning("erased texts are also in %d files: other memories say them", len(found_in))
        after = erasure.files_of(self.path)
        removed = len({*before} - {*after})
        return EraseReport(
            draft.deleted, rejected, removed, size, erasure.size_of(after), scanned, found_in, notes
        )
