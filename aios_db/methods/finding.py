"""Finding memories: by what is asked, and by their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import overload

from typing_extensions import Unpack

from aios_db import recollection
from aios_db.memory import Memory, Name, Picture, Sound, memories_from
from aios_db.recollection import Options, Recollection
from aios_db.schema.errors import ProgrammingError
from aios_db.schema.identity import external_key
from aios_db.selecting import ids_of, name_of
from aios_db.session import Connected


def recall(
    con: Connected,
    /,
    query: str | None = None,
    k: int | None = None,
    *,
    image: Picture = None,
    audio: Sound = None,
    **options: Unpack[Options],
) -> list[Recollection]:
    """Return the memories that answer a question best, best first, of whatever modality.

    Parameters
    ----------
    query
        Text in any words.
    k
        How many; by default the configuration's ``recall.k``.
    image, audio
        A picture and a sound, instead of words or besides: the bytes of a file, or its path; a picture of
        Pillow, or an array of pixels, uint8 ``(height, width, 3)``, too.
    **options
        As for the SQL function: filters (``session_id``, ``since``, ``metadata`` … of
        `aios_db.schema.filters.Filters`, of which all must hold), ``hops``, ``min_score`` and weights.

    Raises
    ------
    ProgrammingError
        An option that does not exist, a blank query, or a number that makes no sense.
    DataError
        A filter's value that does not fit: an unknown tier or modality, a time that is none. Or a picture or
        sound that is empty or cannot be read.
    """
    sql, parameters = recollection.statement(query, k, options, {"image": image, "audio": audio})
    # One of its own: rows of the caller's last result may be unread.
    cursor = con.session.cursors.of_thread(con.cursor, "recall")
    return recollection.from_arrow(cursor.execute(sql, parameters).arrow())


recall.__signature__ = recollection.signature(recall)  # type: ignore[attr-defined]


@overload
def get(con: Connected, /, memory_id: str) -> Memory | None: ...  # type: ignore[overload-overlap]


@overload
def get(con: Connected, /, memory_id: Iterable[str]) -> list[Memory | None]: ...


@overload
def get(
    con: Connected, /, *, external_id: Name, user_id: Name = ..., agent_id: Name = ...
) -> Memory | None: ...


def get(
    con: Connected,
    /,
    memory_id: str | Iterable[str] | None = None,
    *,
    external_id: Name = None,
    user_id: Name = None,
    agent_id: Name = None,
) -> Memory | list[Memory | None] | None:
    """Return a memory with every column, or None when there is none; this does not count as a recall.

    Parameters
    ----------
    memory_id
        The id, or several: then a list is returned, with None in the place of what is not there.
    external_id, user_id, agent_id
        Instead of it, the name that the memory was given, and the scope that it was given in.

    Raises
    ------
    ProgrammingError
        Both are given, or neither.
    """
    con.session.check_open()
    if (memory_id is None) == (external_id is None):
        raise ProgrammingError("get: give a memory_id, or an external_id with its user_id and agent_id")
    if memory_id is None:
        given = {"user_id": name_of(user_id), "agent_id": name_of(agent_id)}
        scopes: list[Mapping[str, str | None]] = [given]
        if not any(given.values()):
            scopes.insert(0, con.store.scope.values)
        name = str(name_of(external_id))
        keys = [external_key(each.get("user_id"), each.get("agent_id"), name) for each in scopes]
        found, rows = con.store.named(keys)
        return memories_from(rows)[0] if found.any() else None
    one = isinstance(memory_id, str | bytes) or not isinstance(memory_id, Iterable)
    wanted = ids_of([memory_id] if one else memory_id)
    known, rows = con.store.rows(wanted)
    there = iter(memories_from(rows))
    all_ = [next(there) if each else None for each in known]
    return all_[0] if one else all_
