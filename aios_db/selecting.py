"""Which memories a call means: ids, names and selectors, as they are given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from aios_db.schema.errors import ProgrammingError

if TYPE_CHECKING:
    from aios_db.store.selection import Selection


def selection(verb: str, memory_ids: Any, selectors: Mapping[str, Any]) -> Selection:
    """Return what ``memory_ids`` and selectors select.

    Raises
    ------
    ProgrammingError
        Nothing is given, or a selector that does not exist.
    DataError
        A value that no column can have.
    """
    from aios_db.store.selection import Selection
    from aios_db.store.values import read_moment

    known = [each for each in Selection.__dataclass_fields__ if each != "memory_ids"]
    for name in selectors:
        if name not in known:
            raise ProgrammingError(f"{verb} has no selector {name!r}; there are {', '.join(known)}")
    given: dict[str, Any] = {}
    for name, value in selectors.items():
        if value is None:
            raise ProgrammingError(f"{verb}: {name} is None, which selects nothing; leave it out")
        if name == "before":
            given[name] = read_moment(value, f"{verb}: {name}")
        else:
            several = isinstance(value, Iterable) and not isinstance(value, str | bytes)
            given[name] = [name_of(each) for each in (value if several else [value])]
    if memory_ids is not None:
        given["memory_ids"] = ids_given(memory_ids)
    if not given:
        raise ProgrammingError(
            f"{verb}: give memory_ids, or a selector such as session_id; nothing was deleted"
        )
    return Selection(**given)


def ids_given(memory_ids: Any) -> list[str]:
    """Return the ids of what is given, one or several; raises as `ids_of`."""
    one = isinstance(memory_ids, str | bytes) or not isinstance(memory_ids, Iterable)
    return ids_of([memory_ids] if one else memory_ids)


def ids_of(given: Iterable[Any]) -> list[str]:
    """Return the ids of what is given: ids, or dataclasses that have one.

    Raises
    ------
    ProgrammingError
        Something is neither.
    """
    found = []
    for each in given:
        named = getattr(each, "memory_id", each)  # of a `Memory` or a `Recollection`
        if not isinstance(named, str | UUID):
            raise ProgrammingError(f"{each!r} is no memory_id, which is text")
        found.append(str(named))
    return found


def name_of(value: Any) -> str | None:
    """Return a name or a scope as it is stored."""
    from aios_db.store.values import text_of

    return text_of(value, "a selector", 0)
