"""Storing, changing, linking and deleting memories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, overload
from uuid import UUID

import pyarrow as pa
from typing_extensions import Unpack

from aios_db.given_rows import rows_of
from aios_db.memory import Fields, Memory, Selectors
from aios_db.schema.compressions import Packed
from aios_db.schema.errors import DataError, ProgrammingError
from aios_db.selecting import ids_of, selection
from aios_db.session import Connected
from aios_db.store.erasure import EraseReport
from aios_db.store.turns import Turns


@overload
def remember(
    con: Connected,
    /,
    content: str | Mapping[str, Any] | None = ...,
    *,
    fold: bool = ...,
    turns: Turns | None = ...,
    **fields: Unpack[Fields],
) -> str: ...


@overload
def remember(
    con: Connected, /, content: Any, *, fold: bool = ..., turns: Turns | None = ..., **fields: Unpack[Fields]
) -> list[str]: ...


def remember(
    con: Connected, /, content: Any = None, *, fold: bool = False, turns: Turns | None = None, **fields: Any
) -> str | list[str]:
    """Store memories; they are durable when this returns, outside of a transaction.

    What is known already is brought up to date: a value that is given replaces the stored one, and what
    is not given stays. Which memories are the same, docs/python.md says under "Identity".

    Parameters
    ----------
    content
        One memory: its text (the other columns as keyword arguments; with an ``image`` or ``audio`` there
        may be none), or a mapping or dataclass with the columns. Or rows: these in a list or generator,
        an Arrow table, or a data frame of pandas or polars. Rows may bring their vectors as
        ``text_embedding``.
    fold
        Equal content in one scope is one memory whenever it was said; it counts its ``occurrences`` and
        keeps their ``times``.
    turns
        A transcript that is given in several calls is one when all of them get the same
        `aios_db.Turns()`.
    **fields
        Columns of the one memory, or of every row: ``title``, ``session_id``, ``speaker``,
        ``occurred_at`` …

    Returns
    -------
    str or list of str
        The ``memory_id``, or one for each row in order.

    Raises
    ------
    ProgrammingError
        A column that does not exist.
    DataError
        A value that does not fit: no text, a NaN or a wrong length in a vector, an unreadable time.
    """
    con.session.check_writable()
    from aios_db.store.tables import as_mapping

    one = content is None or as_mapping(content) is not None
    rows = rows_of(content, fields)
    ids = con.store.remember(rows, append=one and turns is None, fold=fold, turns=turns, entry=con.entry)
    return ids[0] if one else ids


@overload
def update(con: Connected, /, memory_id: str, *, text: str = ..., **fields: Unpack[Fields]) -> int: ...


@overload
def update(con: Connected, /, memory_id: Any, **fields: Unpack[Fields]) -> int: ...


def update(con: Connected, /, memory_id: Any, **fields: Any) -> int:
    """Change columns of memories; ids, ``created_at`` and links stay.

    A changed title or text is embedded again, and the links that follow from it are made anew.

    Parameters
    ----------
    memory_id
        One id, or a `Memory`, with the columns to change as keyword arguments. Or rows, as for `remember`,
        that have a ``memory_id`` besides the columns to change, which may differ from mapping to mapping.
    **fields
        ``text``, ``title``, ``tier``, ``metadata`` …, for every row; None empties a column. A picture or
        sound, given as ``image`` or ``audio`` (bytes or a path), takes the place of the one before.

    Returns
    -------
    int
        How many memories were named.

    Raises
    ------
    ProgrammingError
        There is no memory of an id, or no such column; nothing is changed.
    DataError
        A value that does not fit; nothing is changed.
    IntegrityError
        A memory would become what another one is, see "Identity" in docs/python.md; nothing is changed.
    """
    from aios_db.store.tables import update_tables

    con.session.check_writable()
    if isinstance(memory_id, UUID) or (fields and isinstance(memory_id, Memory)):
        (memory_id,) = ids_of([memory_id])
    if not isinstance(memory_id, str):
        return con.store.update(update_tables(memory_id, fields))
    if not fields:
        raise ProgrammingError("update: nothing to change; give columns, such as text='…'")
    return con.store.update(update_tables([{"memory_id": memory_id, **fields}], {}))


def forget(
    con: Connected,
    /,
    memory_ids: str | Iterable[str] | None = None,
    *,
    confirm: bool = False,
    **selectors: Unpack[Selectors],
) -> int:
    """Delete memories and their links; return how many there were.

    Parameters
    ----------
    memory_ids
        One id or several.
    confirm
        Delete more than ``storage.confirm_forget`` (1,000) memories, too.
    **selectors
        Instead or besides: ``user_id``, ``agent_id``, ``session_id``, ``external_id``, ``source`` (a
        value, or a list of them) and ``before``, a time. All that are given must hold.

    Raises
    ------
    ProgrammingError
        Nothing is given: everything would be deleted. Or there are more than ``storage.confirm_forget``,
        and ``confirm`` is not set; nothing is deleted then.
    """
    con.session.check_writable()
    return con.store.forget(selection("forget", memory_ids, selectors), confirm=confirm)


def erase(
    con: Connected, /, memory_ids: str | Iterable[str] | None = None, **selectors: Unpack[Selectors]
) -> EraseReport:
    """Delete memories so that their texts are in no file of the database any more.

    What was forgotten or replaced before is removed with them: both tables and the search index are
    written anew, older versions removed, and records that mention an erased text are taken out of the
    file of what imports rejected. It holds the write lock meanwhile, and takes the time of a rebuild.
    Backups made before keep what is erased.

    Parameters
    ----------
    memory_ids, **selectors
        As for `forget`.

    Returns
    -------
    EraseReport
        What was removed, and in which files the texts were found all the same, since another memory says
        them.
    """
    con.session.check_writable()
    return con.store.erase(selection("erase", memory_ids, selectors))


def optimize(con: Connected, /) -> None:
    """Compact the tables, drop versions that are no longer kept, and bring the search index up to date.

    It happens by itself as the database is used; this does all of it at once, say after a bulk load.
    """
    con.session.check_writable()
    con.store.optimize()


def compress(con: Connected, /) -> Packed:
    """Compress the memories of the tiers that the configuration's `compression` names, and `optimize`.

    By itself it happens whenever the tables are compacted.

    Returns
    -------
    Packed
        How many were compressed now, and how many keep a vector that no model can make again.
    """
    con.session.check_writable()
    return con.store.compress()


def link(con: Connected, /, source_id: str, target_id: str, kind: str = "user", weight: float = 1.0) -> None:
    """Link two memories; an existing link of that kind gets one more evidence and the greater weight.

    Parameters
    ----------
    source_id, target_id
        Ids, or what has one, as a `Memory`.

    Raises
    ------
    ProgrammingError
        One of the two is not a memory.
    DataError
        The weight is not in (0, 1].
    """
    con.session.check_writable()
    source_id, target_id = ids_of([source_id, target_id])
    columns = {"source_id": source_id, "target_id": target_id, "kind": kind, "weight": weight}
    try:
        given = pa.table({name: [value] for name, value in columns.items()})
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"cannot link {source_id!r} and {target_id!r}: {error}") from error
    con.store.link(given)
