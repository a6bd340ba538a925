"""A bounded sample of what was asked, and what was found: what a consolidation is measured on.

It is in ``queries.log`` in the database's directory, for its owner's eyes, and nowhere else: no message has a
query in it. ``consolidation.past_queries: 0`` keeps none. `erase` takes all of it away, since a question may
hold what is to be erased; a record that found nothing says so to other processes, which have yet to write
theirs.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from aios_db.disk.framed_log import FramedLog

_LONGEST = 1_000  # characters of a question


@dataclass(frozen=True)
class PastQuery:
    """A question of `recall`."""

    text: str
    filter: str
    """Its filter as JSON, empty where nothing was restricted."""
    found: list[str]
    """The memory_ids that it returned, best first."""
    scope: dict[str, str]
    """Of the connection that asked."""
    asked_at: float
    """Seconds since 1970."""


class PastQueries:
    """The sample of one database; safe to use from many threads and processes.

    Parameters
    ----------
    path
        The file.
    most
        How many are kept, up to twice as many; 0 keeps none, and removes those that were.
    read_only
        Read it and never write.
    """

    def __init__(self, path: Path, most: int, *, read_only: bool = False) -> None:
        self._most, self._read_only = most, read_only
        self._lock = threading.Lock()
        self._written: list[PastQuery] = []
        self._new: list[PastQuery] = []
        self._forgotten: list[PastQuery] = []  # what says that all before is forgotten, if anything
        self._log = FramedLog(path, self._begin, self._read)
        if not most and not read_only:
            self._log.path.unlink(missing_ok=True)

    @property
    def unwritten(self) -> bool:
        """Whether any waits to be written."""
        return bool(self._new)

    def add(self, text: str, filter_: str, found: Sequence[str], scope: Mapping[str, str]) -> None:
        """Note a question; does nothing where none are kept."""
        if not self._most or self._read_only or not found or len(text) > _LONGEST:
            return
        with self._lock:
            self._new.append(PastQuery(text, filter_, list(found), dict(scope), time.time()))
            if len(self._new) > self._most:
                del self._new[random.randrange(len(self._new))]

    def flush(self) -> None:
        """Append what was noted; a sample of all takes their place when they are twice too many."""
        if self._read_only or not self._new:
            return
        with self._lock, self._log.writing():
            for each in self._new:
                self._log.append(_packed(each))
            self._new.clear()
            if len(self._written) > 2 * self._most:
                kept = sorted(random.sample(self._written, self._most), key=lambda each: each.asked_at)
                self._log.rewrite(*map(_packed, [*self._forgotten, *kept]))

    def sample(self) -> list[PastQuery]:
        """Return what there is, each question once, with what it found last."""
        with self._lock:
            self._log.catch_up()
            found = {
                (each.text, each.filter, *sorted(each.scope.items())): each
                for each in [*self._written, *self._new]
            }
        return list(found.values())

    def forget(self) -> None:
        """Remove all of them, and those that other processes have not written yet."""
        with self._lock, self._log.writing():
            self._log.rewrite(_packed(PastQuery("", "", [], {}, time.time())))

    def _begin(self) -> None:
        self._written.clear()
        self._forgotten.clear()

    def _read(self, content: bytes) -> None:
        query = PastQuery(**json.loads(content))
        if query.found:
            self._written.append(query)
        else:
            self._forgotten[:] = [query]
            self._new[:] = [each for each in self._new if each.asked_at > query.asked_at]


def _packed(query: PastQuery) -> bytes:
    return json.dumps(asdict(query), ensure_ascii=False, separators=(",", ":")).encode()
