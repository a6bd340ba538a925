"""The log of changes: an append-only file beside the tables, one record per call that changed them.

A call is one to four commits in two tables; Lance could note it in each, but forgets that with the version,
and reading it back would open a manifest per version. So it is a file of its own (`framed_log`), written
under the write lock. Before a call's first commit, what is known of it by then is written into a second
file; where its process is killed half-way, the next change finds that, and logs it as not complete.

Several calls may be one change, such as the batches of an import: as long as nobody else changes anything in
between, each is logged under the number of the first, and the last record of a number is the one that counts.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

from aios_db.disk.failures import operational
from aios_db.disk.framed_log import FramedLog
from aios_db.schema import association_links, memories
from aios_db.schema.changes import ChangeRecord
from aios_db.schema.database import BEGUN, CHANGES
from aios_db.security.permissions import FILE_MODE

logger = logging.getLogger("aios_db.store")

Versions = tuple[int, int]
"""Of the memories and of the links."""

_ID = struct.Struct("<Q")  # before the JSON of a record
_SLACK = 100
_COUNTS = ("added", "updated", "deleted", "links")


@dataclass
class Draft:
    """A change that is being made; whoever makes it counts what it does."""

    call: str
    before: Versions
    begun_at: datetime
    change_id: int
    about: dict[str, Any]
    """Who makes it, as the columns of `ChangeRecord`."""
    level: Versions
    """The versions that this call of it began at; ``before`` is where its first one did."""
    earlier: Mapping[str, int] = field(default_factory=dict)
    """What earlier calls of it did."""
    added: int = 0
    updated: int = 0
    deleted: int = 0
    links: int = 0
    unlinked: int = 0
    """Memories whose links could not be written: they are there, and the change is not at its end."""
    first_row: int | None = None
    """The row id of the first memory that it adds."""

    @property
    def counts(self) -> dict[str, int]:
        """What it does, as the columns of `ChangeRecord`."""
        return {name: getattr(self, name) + self.earlier.get(name, 0) for name in _COUNTS}

    def ended(self, after: Versions, *, complete: bool) -> ChangeRecord:
        """Return the record of the change; what one that was broken off did is not counted."""
        return ChangeRecord(
            change_id=self.change_id,
            changed_at=self.begun_at,
            call=self.call,
            **{"statement": None, "user_id": None, "agent_id": None, "undoes": None, **self.about},
            **(self.counts if complete else dict.fromkeys(_COUNTS)),
            memories_before=self.before[0],
            memories_after=after[0],
            links_before=self.before[1],
            links_after=after[1],
            first_row=self.first_row if complete else None,
            complete=complete,
        )


class ChangeLog:
    """One process's view of the log; whoever writes to it holds the write lock of the database.

    Parameters
    ----------
    directory
        The database.
    keep
        How many of the last changes stay; there may be twice as many. 0 logs nothing.

    Attributes
    ----------
    unlinked
        By the numbers of changes made here, how many memories are without their links.
    """

    def __init__(self, directory: Path, keep: int) -> None:
        self._directory, self._keep = directory, keep
        self._begun = directory / BEGUN
        self._last = self._count = 0
        self.unlinked: dict[int, int] = {}
        self._log = FramedLog(directory / CHANGES, self._forget, self._note)

    def begin(
        self, call: str, versions: Versions, about: Mapping[str, Any], going_on: Draft | None = None
    ) -> Draft:
        """Note that a change begins at these versions; return what counts it.

        With ``going_on``, the change before is to go on, if it is the last one of all.

        Raises
        ------
        OSError
            The disk is full or fails.
        """
        draft = Draft(call, versions, datetime.now(timezone.utc), 0, {**_process(), **about}, versions)
        if self._keep:
            self._log.catch_up()
            self._go_on()
            self._settle(versions)
            draft.change_id = self._last + 1
            if going_on is not None and going_on.change_id == self._last:
                anew: dict[str, Any] = dict.fromkeys(_COUNTS, 0)
                draft = replace(going_on, level=versions, earlier=going_on.counts, **anew)
            self._write_begun(
                {
                    "change_id": draft.change_id,
                    "call": draft.call,
                    "before": draft.before,
                    "level": draft.level,
                    "begun_at": draft.begun_at.timestamp(),
                    "about": draft.about,
                }
            )
        return draft

    def end(self, draft: Draft, versions: Versions, *, complete: bool) -> None:
        """Log a change that has ended at these versions, if it wrote anything.

        What it wrote is there already, so a failure is only logged; the next change tries again.
        """
        if not self._keep:
            return
        try:
            if versions != draft.level:
                self._append(draft.ended(versions, complete=complete))
            if versions == draft.level or draft.level != draft.before:  # else its number says it is logged
                self._write_begun({"last": self._last})
        except OSError as error:
            logger.warning("change %d is not in the log yet: %s", draft.change_id, error)

    def finished(self, change_id: int, links_version: int, counts: Mapping[str, int]) -> None:
        """Note that a change that was broken off has been brought to its end; a failure is only logged.

        The caller holds the write lock, and has logged the change by `begin` or `settle`.
        """
        if not self._keep:
            return
        end: dict[str, Any] = {"complete": True, "links_after": links_version, **counts}
        told = [replace(each, **end) if each.change_id == change_id else each for each in self.records()]
        try:
            self._log.rewrite(*map(_written, told))
        except OSError as error:
            logger.warning("change %d is logged as not complete: %s", change_id, error)

    def settle(self, versions: Versions) -> None:
        """Log the change that was begun last and did not come to its end; a failure is only logged."""
        if self._keep:
            try:
                self._log.catch_up()
                self._settle(versions)
            except OSError as error:
                logger.warning("a change that was broken off is not in the log yet: %s", error)

    def force(self) -> None:
        """Return when what was logged is on the disk; a failure is only logged."""
        if self._keep:
            try:
                self._log.force()
            except OSError as error:
                logger.warning("the log of changes may not be on the disk: %s", error)

    def records(self) -> list[ChangeRecord]:
        """Return the changes of the log, in their order."""
        found: list[ChangeRecord] = []
        _read_all(self._directory, found)
        return found

    def broken_off(self, versions: Versions) -> bool:
        """Tell whether a change since the last repair may not have come to its end; without a log, it may."""
        if not self._keep:
            return True
        self._log.catch_up()
        told = self.records()
        repaired = max((number for number, each in enumerate(told) if each.call == "repair"), default=-1)
        return bool(self._unfinished(versions)) or not all(each.complete for each in told[repaired + 1 :])

    def _append(self, record: ChangeRecord) -> None:
        self._log.append(_written(record))
        if self._count > 2 * self._keep + _SLACK:
            self._log.rewrite(*map(_written, self.records()[-self._keep :]))

    def _go_on(self) -> None:
        """Go on with the numbers of a log that is gone."""
        known = 0 if self._last else begun_after(self._directory)
        if known:
            logger.warning(
                "%s is gone: changes 1 to %d can be neither listed nor undone", self._log.path, known,
                extra={"event": "lost_change_log"},
            )  # fmt: skip
            self._last = known

    def _settle(self, versions: Versions) -> None:
        """Log the change that was begun last and did not come to its end, if it wrote anything."""
        if draft := self._unfinished(versions):
            self._append(draft.ended(versions, complete=False))

    def unfinished(self, versions: Versions) -> Draft | None:
        """Return the change that was begun last, if it wrote something and did not come to its end.

        Where the caller does not hold the write lock, it may be going on.
        """
        if not self._keep:
            return None
        self._log.catch_up()
        draft = self._unfinished(versions)
        if draft is None or draft.level == draft.before:
            return draft
        return replace(draft, earlier=_counts(self.records(), draft.change_id))

    @property
    def is_begun(self) -> bool:
        """Whether a change is begun and not logged, though it may have written nothing."""
        if not self._keep:
            return False
        self._log.catch_up()
        return self._begun_last() is not None

    def taken_over(self, versions: Versions) -> Draft | None:
        """Return what `unfinished` does, to a caller who holds the write lock and finishes it.

        One that wrote nothing is forgotten: what is written next, and is no change, is not its doing.
        """
        found = self.unfinished(versions)
        if found is None and self.is_begun:
            with suppress(OSError):  # as it was, it is forgotten by the next one
                self._write_begun({"last": self._last})
        return found

    def _unfinished(self, versions: Versions) -> Draft | None:
        draft = self._begun_last()
        return draft if draft is not None and draft.level != versions else None

    def _begun_last(self) -> Draft | None:
        """Return the change that was begun last, unless it is logged.

        Raises
        ------
        OperationalError
            The disk does not let it be read.
        """
        if not self._begun.exists():
            return None
        with operational(f"reading {self._begun}"):
            begun = self._begun.read_bytes()
        try:
            content = json.loads(begun.partition(b"\n")[0])
            draft = Draft(
                content["call"],
                (content["before"][0], content["before"][1]),
                datetime.fromtimestamp(content["begun_at"], timezone.utc),
                content["change_id"],
                content["about"],
                (content["level"][0], content["level"][1]),
            )
            goes_on = draft.change_id == self._last and draft.level != draft.before
            return draft if draft.change_id == self._last + 1 or goes_on else None
        except (ValueError, KeyError, TypeError, IndexError, OverflowError):  # it was cut off, or is empty
            return None

    def _write_begun(self, content: Mapping[str, Any]) -> None:
        # In place: ext4 brings a file that was cut to nothing and written again to the disk at once.
        descriptor = os.open(self._begun, os.O_WRONLY | os.O_CREAT, FILE_MODE)
        try:
            os.pwrite(descriptor, json.dumps(content).encode() + b"\n", 0)
        finally:
            os.close(descriptor)

    def _forget(self) -> None:
        self._last = self._count = 0

    def _note(self, content: bytes) -> None:
        self._last = _ID.unpack_from(content)[0]
        self._count += 1


def _counts(records: Sequence[ChangeRecord], change_id: int) -> dict[str, int]:
    """Return what the earlier calls of a change did, of those records that tell."""
    own = [each for each in records if each.change_id == change_id]
    return {name: getattr(each, name) or 0 for each in own for name in _COUNTS}


def begun_after(directory: Path) -> int:
    """Return the number of the last change before the one that was begun last; 0 where none is known."""
    try:
        content = json.loads((directory / BEGUN).read_bytes().partition(b"\n")[0])
        return int(content.get("last") or content.get("change_id", 1) - 1)
    except (OSError, ValueError, TypeError, AttributeError):  # there is none, or it is cut off
        return 0


def step_back(directory: Path, table: str, version: int) -> None:
    """Note that a table is at an earlier version than it was, whose successors' numbers are given out again.

    Changes made after that are no longer in it, and what is left of them is not complete. The caller holds
    the write lock.
    """

    def what_is_left(told: dict[str, Any], before: str, after: str) -> None:
        if told[after] > version:
            told |= {**dict.fromkeys(_COUNTS), before: min(told[before], version), after: version}
            told["complete"] = False

    _tell_anew(directory, table, what_is_left)


def begin_anew(directory: Path, table: str) -> None:
    """Note that versions of a table are counted anew: those before are 0. The caller holds the write lock."""
    _tell_anew(directory, table, lambda told, before, after: told.update({before: 0, after: 0}))


def _tell_anew(directory: Path, table: str, change: Callable[[dict[str, Any], str, str], None]) -> None:
    """Change the records of the log, given the names of the columns with the versions of a table."""
    which = {memories.TABLE: "memories", association_links.TABLE: "links"}.get(table)
    found: list[ChangeRecord] = []
    log = _read_all(directory, found)
    if not which or not found:
        return
    told = [asdict(each) for each in found]
    for each in told:
        change(each, f"{which}_before", f"{which}_after")
    log.rewrite(*(_written(ChangeRecord(**each)) for each in told))
    (directory / BEGUN).unlink(missing_ok=True)


def _read_all(directory: Path, found: list[ChangeRecord]) -> FramedLog:
    def take(content: bytes) -> None:
        record = _read(content)
        if found and found[-1].change_id == record.change_id:
            found.pop()  # the change went on
        found.append(record)

    log = FramedLog(directory / CHANGES, found.clear, take)
    log.catch_up()
    return log


def _written(record: ChangeRecord) -> bytes:
    """Return a record's bytes: its values without their names, which would be more than half of it."""
    told = {**vars(record), "changed_at": record.changed_at.timestamp()}
    return _ID.pack(record.change_id) + json.dumps(list(told.values()), separators=(",", ":")).encode()


def _read(content: bytes) -> ChangeRecord:
    told = json.loads(content[_ID.size :])
    if isinstance(told, list):  # else it was written with its names
        told = dict(zip(ChangeRecord.__dataclass_fields__, told, strict=False))
    told["changed_at"] = datetime.fromtimestamp(told["changed_at"], timezone.utc)
    return ChangeRecord(**{name: told.get(name) for name in ChangeRecord.__dataclass_fields__})


def _process() -> dict[str, Any]:
    return {"os_user": _os_user(), "process_id": os.getpid(), "program": os.path.basename(sys.argv[0] or "")}


@cache
def _os_user() -> str:
    """Return the user that the process is, and not who its environment says it is."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except ImportError:
        return getpass.getuser()
    except KeyError:
        return str(os.getuid())
