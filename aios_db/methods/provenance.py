"""Where memories come from, what is held of them, and taking a source back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from aios_db.memory import Moment
from aios_db.provenance.audit import Audit
from aios_db.provenance.rollback import RollbackReport
from aios_db.schema.errors import ProgrammingError
from aios_db.selecting import ids_given, ids_of
from aios_db.session import Connected


@dataclass(frozen=True)
class Quarantined:
    """A memory that is kept and not recalled, and why: a row of the view `quarantined`."""

    memory_id: str
    reason: str
    source: str | None
    trust: float
    """In it and in its source, as it is now."""
    title: str | None
    text: str
    user_id: str | None
    agent_id: str | None
    created_at: datetime


def quarantine(con: Connected, /) -> list[Quarantined]:
    """Return what is held in quarantine, in the order of storing.

    It is text that reads like an instruction, of memories that are trusted less than the configuration's
    ``trust.quarantine_below``. `release` lets one out, `forget` deletes it.
    """
    from aios_db.udfs.trust import quarantined_rows

    con.session.check_open()
    con.store.refresh()
    return [Quarantined(**row) for row in quarantined_rows(con.store).to_pylist()]


def release(con: Connected, /, memory_ids: str | Iterable[str]) -> int:
    """Let memories out of quarantine, by their ids; return how many were in it.

    They stay out with the text that they have; a changed text is looked at anew.

    Raises
    ------
    NotSupportedError
        The connection was opened with a ``source``.
    """
    con.session.check_writable()
    return con.store.release(ids_given(memory_ids))


def rollback_source(
    con: Connected, /, source: str, since: Moment = None, *, dry_run: bool = False
) -> RollbackReport:
    """Take back what a source has written, as if it had never been there.

    Its memories are deleted, and those that are ``derived_from`` them. What they did to others is undone:
    links between the memories that are left are made anew, since the first of them, where they had taken
    a place. `recall` then answers as if they had never been written; what changed by other ways (a
    memory that was updated, counts of recalls) stays.

    Parameters
    ----------
    source
        As the column ``source`` has it, no pattern.
    since
        Only what was stored here at this moment or later, whatever it says itself; by default all.
    dry_run
        Change nothing, and say what would be deleted.

    Raises
    ------
    ProgrammingError
        The source is blank, or no memory is of it; the message has the names that are like it.
    DataError
        ``since`` is no time.
    NotSupportedError
        The connection is that of a user or an agent, or was opened with a ``source``.
    """
    from aios_db.store.values import read_moment

    if not isinstance(source, str) or not source.strip():
        raise ProgrammingError(f"rollback_source: the source is {source!r}; name one, as its memories do")
    if dry_run:
        con.session.check_open()
    else:
        con.session.check_writable()
    moment = None if since is None else read_moment(since, "rollback_source: since")
    return con.store.rollback_source(source, moment, dry_run=dry_run)


def audit(con: Connected, /, memory_id: str) -> Audit | None:
    """Return what is known of a memory: source, trust, quarantine, links, recalls; None without one."""
    from aios_db.provenance import audit

    con.session.check_open()
    return audit.audit(con.store, *ids_of([memory_id]))
