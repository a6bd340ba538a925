"""What was changed, and taking it back."""

from __future__ import annotations

from aios_db.memory import Moment
from aios_db.schema.changes import ChangeRecord, UndoReport
from aios_db.schema.errors import ProgrammingError
from aios_db.session import Connected


def history(con: Connected, /, limit: int | None = None) -> list[ChangeRecord]:
    """Return the calls that changed memories or links, the newest first.

    A connection with a scope sees the changes of connections with that scope.

    Parameters
    ----------
    limit
        How many at most; all that are kept by default, see ``storage.keep_changes``.

    Raises
    ------
    ProgrammingError
        The limit is negative, or no number.
    """
    con.session.check_open()
    if limit is not None and (not isinstance(limit, int) or limit < 0):
        raise ProgrammingError(f"history: the limit is {limit!r}; give a whole number, 0 or more")
    return con.store.changes()[::-1][:limit]


def undo(
    con: Connected, /, change: int | ChangeRecord, *, dry_run: bool = False, confirm: bool = False
) -> UndoReport:
    """Bring what a change wrote back to what it was before.

    Memories that it deleted come back with their ids, vectors, metadata, times and links; those that it
    stored go; those that it changed have their former values. This is a change, too, and can be undone.

    Parameters
    ----------
    change
        One of `history`, or its ``change_id``; with a scope, one of its own.
    dry_run
        Write nothing, and return what would be written; a connection that is read-only can do that, too.
    confirm
        Delete more than ``storage.confirm_forget`` (1,000) memories, too.

    Raises
    ------
    ProgrammingError
        There is no such change, it cannot be undone (`erase`), or a later change touched the same
        memories, which the message names. Or it would delete more than ``storage.confirm_forget``, and
        ``confirm`` is not set. Nothing is written then.
    OperationalError
        The tables' versions from before it are kept no longer, see ``storage.keep_versions_s``.
    """
    con.session.check_open() if dry_run else con.session.check_writable()
    change_id = getattr(change, "change_id", change)
    if isinstance(change_id, bool) or not isinstance(change_id, int):
        raise ProgrammingError(f"undo: {change!r} is no change; give the change_id of one of history()")
    return con.store.undo(change_id, dry_run=dry_run, confirm=confirm)


def restore(
    con: Connected, /, point: int | Moment, *, dry_run: bool = False, confirm: bool = False
) -> UndoReport:
    """Bring memories and links back to a version, or to a time.

    They are written as a new version, so that `undo` of this brings back what was written since. What was
    erased does not come back.

    Parameters
    ----------
    point
        A time: a datetime, such as the ``changed_at`` of one of `history`, which is right before that
        change, or a text in ISO 8601. Or the number of a version of the memories, as
        ``memory_versions()`` has it, with the links there were in the end of that version.
    dry_run, confirm
        As for `undo`.

    Raises
    ------
    ProgrammingError
        There never was such a version. Or it would delete more memories than ``storage.confirm_forget``,
        and ``confirm`` is not set; nothing is written then.
    OperationalError
        It is kept no longer, see ``storage.keep_versions_s``.
    NotSupportedError
        The connection has a scope.
    """
    from aios_db.store.values import read_moment

    con.session.check_open() if dry_run else con.session.check_writable()
    if isinstance(point, (bool, float)) or point is None:  # seconds since 1970 are not meant
        raise ProgrammingError(f"restore: {point!r} is no version and no time")
    if isinstance(point, int):
        return con.store.restore(point, None, dry_run=dry_run, confirm=confirm)
    moment = read_moment(point, "restore")
    time = round(moment.timestamp() * 1e6)
    return con.store.restore(None, time, dry_run=dry_run, confirm=confirm)
