"""What goes into a search and what comes out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.errors import DataError, ProgrammingError
from aios_db.schema.filter_values import read

RowIds = NDArray[np.int64]

_LONGEST_KEPT = 4096  # characters


class Filter:
    """Which memories count: the conditions of `aios_db.schema.filters` by name, all of which must hold.

    Parameters
    ----------
    **values
        As `aios_db.schema.filter_values.read` takes them, times as microseconds since 1970; None does not
        restrict.

    Attributes
    ----------
    values
        Those that restrict, as read.

    Raises
    ------
    ProgrammingError
        There is no such filter, or ``since`` is after ``until``.
    DataError
        A value does not fit its filter.
    """

    def __init__(self, **values: Any) -> None:
        found = ((name, read(name, value)) for name, value in values.items())
        self.values: dict[str, Any] = {name: value for name, value in found if value is not None}
        since, until = self.values.get("since"), self.values.get("until")
        if since is not None and until is not None and since > until:
            raise ProgrammingError("since is after until, so that nothing can be found; exchange them")

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Return the filter that `text` wrote; an empty text is one that restricts nothing."""
        return _parsed(text) if len(text) <= _LONGEST_KEPT else cls._parse(text)

    @classmethod
    def _parse(cls, text: str) -> Filter:
        if not text:
            return cls()
        try:
            values = json.loads(text)
        except ValueError as error:
            raise DataError(f"the filter {text[:80]!r} is not JSON; make it with memory_filter(…)") from error
        if not isinstance(values, dict):
            raise DataError(f"the filter {text[:80]!r} is no JSON object; make it with memory_filter(…)")
        return cls(**values)

    def text(self) -> str:
        """Return the filter as JSON, empty when it restricts nothing."""
        return json.dumps(self.values) if self.values else ""

    def joined(self, other: Filter) -> Filter:
        """Return a filter that restricts as both do.

        Raises
        ------
        ProgrammingError
            Both have the same condition.
        """
        if not self or not other:
            return self or other
        twice = self.values.keys() & other.values.keys()
        if twice:
            raise ProgrammingError(f"{min(twice)} is given twice, by name and in the filter; leave one out")
        return Filter(**self.values, **other.values)

    def replaced(self, **values: Any) -> Filter:
        """Return a filter with other values for some conditions, taken as they are."""
        other = Filter()
        other.values = {**self.values, **values}
        return other

    def __bool__(self) -> bool:
        return bool(self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filter) and self.values == other.values

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Filter({', '.join(f'{name}={value!r}' for name, value in self.values.items())})"


@lru_cache(256)
def _parsed(text: str) -> Filter:
    """Return the filter of a text: the steps of one query parse the same."""
    return Filter._parse(text)


@dataclass(frozen=True)
class Hits:
    """The best memories of one search.

    Attributes
    ----------
    row_ids
        int64 ``(n,)``, best first, ties by row id.
    scores
        float32 ``(n,)``.
    mean, std
        Of the score over the whole collection, so that scores of different searches can be standardised;
        float64 ``(n,)`` where memories are relative to others by the trust in them.
    """

    row_ids: RowIds
    scores: NDArray[np.float32]
    mean: float | NDArray[np.float64] = 0.0
    std: float | NDArray[np.float64] = 1.0
