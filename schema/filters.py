"""What a search can be restricted to: one line per filter, for SQL, Python, the shell and the docs.

A key of `Filters` is an argument of ``recall`` and of the searches, an option of `Connection.recall` and of
``aios recall``, and a row of the table in docs/sql.md. To add one, add a line; the index then keeps what it
takes to compare the column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from functools import partial
from typing import Annotated, Any, TypedDict, get_args, get_type_hints
from uuid import UUID

from aios_db.schema.modalities import MAIN_TYPES
from aios_db.schema.tiers import TIERS

Texts = str | int | UUID | Iterable[str] | Iterable[int] | Iterable[UUID] | None
Time = str | float | date | datetime | None
Number = float | None
Values = Mapping[str, Any] | str | None


class Comparison(Enum):
    """How a filter's value is compared with a column of a memory."""

    ONE_OF = "the column is the value, or one of several"
    HAS = "the column, a list, holds the value, or one of several"
    HOLDS = "the column, a JSON object, has each of some values at its path"
    AT_LEAST = "the column is no smaller"
    TRUSTED = "the memory is trusted as much, by its row and its source"
    SINCE = "the memory's time is no earlier"
    UNTIL = "the memory's time is earlier"
    WITHIN = "the memory is one of those named"
    AS_OF = "the memory was known then"
    VALID_AT = "the memory held then"


@dataclass(frozen=True)
class Condition:
    """A filter that there can be.

    Attributes
    ----------
    column
        The column of `memories` that is looked at; ``time`` is occurred_at, or created_at where that is NULL.
    doc
        What it means to a user.
    comparison
        How the column is compared.
    choices
        The only values that make sense, where they are few.
    """

    column: str
    doc: str
    comparison: Comparison
    choices: tuple[str, ...] = ()


_one = partial(Condition, comparison=Comparison.ONE_OF)
_has = partial(Condition, comparison=Comparison.HAS)
_holds = partial(Condition, comparison=Comparison.HOLDS)
_least = partial(Condition, comparison=Comparison.AT_LEAST)
_trusted = partial(Condition, comparison=Comparison.TRUSTED)
_since = partial(Condition, comparison=Comparison.SINCE)
_until = partial(Condition, comparison=Comparison.UNTIL)
_valid_at = partial(Condition, comparison=Comparison.VALID_AT)
_as_of = partial(Condition, comparison=Comparison.AS_OF)
_within = partial(Condition, comparison=Comparison.WITHIN)


class Filters(TypedDict, total=False):
    """The filters by name, with the type that Python takes; None does not restrict."""

    session_id: Annotated[Texts, _one("session_id", doc="only memories of this session, or of these")]
    agent_id: Annotated[Texts, _one("agent_id", doc="only memories of this agent, or of these")]
    user_id: Annotated[Texts, _one("user_id", doc="only memories of this user, or of these")]
    since: Annotated[Time, _since("time", doc="only what happened at this time or later")]
    until: Annotated[Time, _until("time", doc="only what happened before this time")]
    tier: Annotated[Texts, _one("tier", doc="only this tier, or these", choices=TIERS)]
    speaker: Annotated[Texts, _one("speaker", doc="only what this speaker said, or one of these")]
    kind: Annotated[Texts, _one("kind", doc="only this kind, or these: message, document …")]
    source: Annotated[Texts, _one("source", doc="only what came from this source, or from these")]
    modality: Annotated[
        Texts,
        _has("modalities", doc="only what has text, image, audio …, or one of these", choices=MAIN_TYPES),
    ]
    metadata: Annotated[Values, _holds("metadata", doc="only where the metadata has these values")]
    min_importance: Annotated[Number, _least("importance", doc="only what is at least so important, 0 to 1")]
    min_trust: Annotated[Number, _trusted("trust", doc="only what is trusted at least so much, 0 to 1")]
    valid_at: Annotated[
        Time, _valid_at("valid_until", doc="only what held at this time: said by then, and not superseded")
    ]
    within: Annotated[Texts, _within("memory_id", doc="only the memories with these ids")]
    as_of: Annotated[Time, _as_of("created_at", doc="what was known at this time, as it was then")]


def _conditions() -> dict[str, Condition]:
    hints = get_type_hints(Filters, include_extras=True)
    return {name: get_args(hint)[-1] for name, hint in hints.items()}


TIMES = (Comparison.SINCE, Comparison.UNTIL, Comparison.AS_OF, Comparison.VALID_AT)
"""Comparisons with a time, which the index takes in microseconds since 1970."""

CONDITIONS: Mapping[str, Condition] = _conditions()
"""The filters by name, in the order of the SQL macros' arguments."""


def columns(comparison: Comparison) -> tuple[str, ...]:
    """Return the columns that are compared in one way."""
    return tuple(each.column for each in CONDITIONS.values() if each.comparison is comparison)
