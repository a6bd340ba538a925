"""What becomes of memories after they were written."""

from __future__ import annotations

from typing import Any

from aios_db.lifecycle.consolidator import BackgroundConsolidator
from aios_db.schema.changes import UndoReport
from aios_db.schema.consolidations import Folding, Report, Supersession
from aios_db.schema.errors import ProgrammingError
from aios_db.schema.evictions import Eviction
from aios_db.schema.text import is_unicode
from aios_db.session import Connected


def consolidate(con: Connected, /, *, dry_run: bool = False, **options: Any) -> list[Report]:
    """Make a principle of each cluster of short-term memories, and archive what it was made of.

    Parameters
    ----------
    dry_run
        Write nothing, and say what would be done; a connection that is read-only can do that, too.
    **options
        Over the configuration's section ``consolidation``: ``min_age_s`` (0), ``min_cluster``,
        ``max_cluster``, ``min_affinity``, ``max_clusters`` (all) and ``policy``, which is ``archive`` or
        ``delete``.

    Returns
    -------
    list of Report
        One for each commit, which is of memories of one user and agent. A ``refused`` one would lose more
        of what past queries found than ``consolidation.max_loss``, and was not committed.

    Raises
    ------
    ProgrammingError, DataError
        An option makes no sense.
    NotSupportedError
        The connection was opened with a ``source``.
    """
    con.session.check_open() if dry_run else con.session.check_writable()
    return con.store.consolidate(options, dry_run=dry_run)


def supersede(con: Connected, /, *, dry_run: bool = False) -> list[Supersession]:
    """Note of what no longer holds until when it did, and what is so instead.

    That is a memory that states a fact of one value, where a newer one of the same user and agent,
    trusted as much, states another: "I live in Paris", and later "I moved to Berlin". It gets
    ``valid_until`` and ``superseded_by``, all in one commit, which `undo` takes back. In doubt nothing
    is noted.

    Parameters
    ----------
    dry_run
        Write nothing, and return what would be noted.
    """
    con.session.check_open() if dry_run else con.session.check_writable()
    return con.store.supersede(dry_run=dry_run)


def undo_consolidation(
    con: Connected, /, consolidation: str | Report, *, confirm: bool = False
) -> UndoReport:
    """Take a consolidation back: its principles go, and what they were made of is as it was.

    Parameters
    ----------
    consolidation
        The ``consolidation_id`` of a row of `consolidation_log`, or what `consolidate` returned.
    confirm
        Delete more than ``storage.confirm_forget`` principles, too.

    Raises
    ------
    ProgrammingError
        There is none, or it wrote nothing, or is undone already.
    OperationalError
        Its sources were deleted, and the versions from before are kept no longer.
    """
    con.session.check_writable()
    name = getattr(consolidation, "consolidation_id", consolidation)
    if not isinstance(name, str) or not is_unicode(name):
        raise ProgrammingError(f"undo_consolidation: {consolidation!r} is no consolidation")
    return con.store.undo_consolidation(name, confirm=confirm)


def evict(con: Connected, /, *, dry_run: bool = False) -> list[Eviction]:
    """Forget what has expired and what is too much, by the configuration's section ``eviction``.

    What is evicted expires now, in one change: it is not recalled any more, and comes back when its
    ``expires_at`` is set to NULL, or the change is undone. Memories that expired longer than
    ``eviction.grace_s`` ago are erased: no file of the database holds them then.

    Parameters
    ----------
    dry_run
        Change nothing, and say what would be done; a connection that is read-only can do that, too.

    Returns
    -------
    list of Eviction
        What was evicted and erased, and why.

    Raises
    ------
    IntegrityError, NotSupportedError
        The connection has a source that is trusted less than the memories.
    """
    con.session.check_open() if dry_run else con.session.check_writable()
    return con.store.evict_planned(dry_run=dry_run)


def fold(con: Connected, /, *, dry_run: bool = False) -> list[Folding]:
    """Make one memory of those that say the same in the same words, in one commit.

    The newest stays, counts them in ``occurrences`` and has all their ``times``; the others expire now,
    and come back by `undo`. `consolidate` does it first, where ``consolidation.fold_from`` say the same.

    Parameters
    ----------
    dry_run
        Write nothing, and return what would be folded.
    """
    con.session.check_open() if dry_run else con.session.check_writable()
    return con.store.fold(dry_run=dry_run)


def consolidator(con: Connected, /, *, background: bool = True) -> BackgroundConsolidator:
    """Start a consolidator in a process of its own, with this connection's configuration.

    It consolidates by ``consolidation.schedule`` and under storage pressure, until it is stopped. There
    is one for a database: another one ends at once, with a message.

    Parameters
    ----------
    background
        True; in this process, call `consolidate`.

    Raises
    ------
    NotSupportedError
        The connection is that of a user or an agent.
    """
    from aios_db.lifecycle.consolidator import BackgroundConsolidator

    con.session.check_writable()
    if not background:
        raise ProgrammingError("consolidator: it runs in a process of its own; here, call consolidate()")
    return BackgroundConsolidator(con.store)
