"""The values of filters: read from what callers give, refused with the reason where they make no sense."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from aios_db.schema.errors import DataError, ProgrammingError
from aios_db.schema.filters import CONDITIONS, Comparison

_STEP = re.compile(r'\.(?:"(?P<quoted>[^"]*)"|(?P<bare>[^."\[\]]+))|\[(?P<place>\d{1,9})\]')

Leaf = tuple[tuple[str, ...], str]
"""A value in a JSON object: the keys that lead to it, and its text."""


def read(name: str, value: Any) -> Any:
    """Return a filter's value in the one form that the index compares; None restricts nothing.

    Texts become a tuple of strings, a number a float, a time an int (microseconds since 1970) and metadata a
    dict as JSON reads it.

    Raises
    ------
    ProgrammingError
        There is no such filter.
    DataError
        The value does not fit it.
    """
    condition = CONDITIONS.get(name)
    if condition is None:
        raise ProgrammingError(f"there is no filter {name!r}; there are {', '.join(CONDITIONS)}")
    if value is None:
        return None
    found = _READERS[condition.comparison](name, value)
    if condition.choices:
        for each in found:
            if each not in condition.choices:
                raise DataError(f"{name} is {each!r}; it is one of {', '.join(condition.choices)}")
    return found


def text_of(value: Any) -> str:
    """Return the text of a JSON scalar, as ``->>`` gives it, whole numbers without a fraction."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Yield the scalars in a JSON value with their paths; one in a list has the list's path and its own."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, (*path, key))
    elif isinstance(value, list):
        for place, each in enumerate(value):
            if not isinstance(each, dict | list):
                yield path, text_of(each)
            yield from leaves(each, (*path, _place(place)))
    else:
        yield path, text_of(value)


def wanted(values: Mapping[str, Any]) -> Iterator[tuple[Leaf, ...]]:
    """Yield what a metadata filter asks for: of each group one at least must be among the `leaves`."""
    for key, value in values.items():
        yield from _wanted(value, _path(key) if key.startswith("$.") else (key,))


def _place(number: int) -> str:
    return f"[\0{number}]"  # no key that a person writes


def _path(key: str) -> tuple[str, ...]:
    """Return the parts of a path as ``->>`` takes it: ``$.list[0].key``, ``$."a key".b``."""
    parts, at = [], 1
    while at < len(key):
        found = _STEP.match(key, at)
        if found is None:
            raise DataError(
                f"metadata: {key!r} is no path; write $.key.list[0], and a key of other signs in quotes: "
                '$."a.b"'
            )
        if found["place"] is not None:
            parts.append(_place(int(found["place"])))
        else:
            parts.append(found["bare"] if found["quoted"] is None else found["quoted"])
        at = found.end()
    return tuple(parts)


def _wanted(value: Any, path: tuple[str, ...]) -> Iterator[tuple[Leaf, ...]]:
    name = ".".join(path).replace("\0", "")
    if isinstance(value, dict):
        if not value:
            raise DataError(
                f"metadata: {name!r} holds nothing to look for; give values, or leave the key out"
            )
        for key, each in value.items():
            yield from _wanted(each, (*path, key))
    elif isinstance(value, list):
        if any(isinstance(each, dict | list) for each in value):
            raise DataError(f"metadata: {name!r} is a list of objects; give the values to look for")
        yield tuple((path, text_of(each)) for each in value if each is not None)
    elif value is None:
        raise DataError(f"metadata: {name!r} is NULL; give the value to look for, or leave the key out")
    else:
        yield ((path, text_of(value)),)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, bytes | bytearray | memoryview):
        raise DataError(f"{name} is bytes; give a text, or a list of texts")
    if isinstance(value, Mapping):
        raise DataError(f"{name} is a mapping; give a text, or a list of texts")
    if isinstance(value, str) or not isinstance(value, Iterable):
        return (text_of(value),)
    given = [each for each in value if each is not None]
    for each in given:
        if not isinstance(each, str) and isinstance(each, Iterable):
            raise DataError(f"{name} holds a {type(each).__name__}; give a text, or a list of texts")
    return tuple(dict.fromkeys(map(text_of, given)))


def _share(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} is {value!r}; give a number from 0 to 1") from error
    if not 0 <= number <= 1:  # NaN too
        raise DataError(f"{name} is {number:g}; give a number from 0 to 1")
    return number


def _microseconds(name: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} is {value!r}, no moment in time; use ISO 8601") from error


def _json(name: str, value: Any) -> dict[str, Any]:
    try:
        if not isinstance(value, str):
            value = json.dumps(value, allow_nan=False, default=_plain)
        found = json.loads(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{name} is not JSON: {error}; give a mapping or a JSON object") from error
    if isinstance(found, str) and found.lstrip().startswith("{"):  # JSON in a text of JSON
        return _json(name, found)
    if not isinstance(found, dict):
        raise DataError(f"{name} is {value[:80]}; give a mapping or a JSON object")
    for _ in wanted(found):
        pass
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return list(value)
    return value.item() if hasattr(value, "item") else str(value)


_READERS: dict[Comparison, Callable[[str, Any], Any]] = {
    Comparison.ONE_OF: _texts,
    Comparison.HAS: _texts,
    Comparison.WITHIN: _texts,
    Comparison.AT_LEAST: _share,
    Comparison.TRUSTED: _share,
    Comparison.SINCE: _microseconds,
    Comparison.UNTIL: _microseconds,
    Comparison.AS_OF: _microseconds,
    Comparison.VALID_AT: _microseconds,
    Comparison.HOLDS: _json,
}
