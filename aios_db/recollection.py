"""`Connection.recall`: the SQL function of the same name, returned as dataclasses."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from math import isfinite
from numbers import Real
from typing import Annotated, Any, get_args, get_type_hints

import pyarrow as pa

from aios_db.schema.errors import ProgrammingError
from aios_db.schema.filters import CONDITIONS, TIMES, Filters
from aios_db.schema.retrieval import Filter

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Options(Filters, total=False):
    """The keyword arguments of `Connection.recall`; those left out, or None, are the configuration's."""

    hops: Annotated[int | None, "how many links the scores may flow along"]
    min_score: Annotated[float | None, "only memories with at least this score"]
    vector_weight: Annotated[float | None, "weight of the meaning"]
    keyword_weight: Annotated[float | None, "weight of the words"]
    graph_weight: Annotated[float | None, "weight of what arrives over links"]
    recency_weight: Annotated[float | None, "weight of how recent a memory is"]
    recency_days: Annotated[float | None, "age in days at which recency is 1/e"]
    superseded_penalty: Annotated[float | None, "what is taken off the score of what no longer holds"]
    principle_penalty: Annotated[float | None, "what is taken off the score of a principle"]
    joint_weight: Annotated[float | None, "weight of the nearness in the joint space"]


_NO_MEDIA: Mapping[str, Any] = {}
_WHOLE = ("k", "hops")


@dataclass(frozen=True)
class Recollection:
    """A memory that answers a query, and why: its score and the parts of it."""

    memory_id: str
    text: str
    score: float
    vector_score: float
    keyword_score: float
    graph_score: float
    recency_score: float
    hops: int
    joint_score: float
    title: str | None
    kind: str
    session_id: str | None
    agent_id: str | None
    user_id: str | None
    speaker: str | None
    occurred_at: datetime | None
    created_at: datetime
    tier: str
    importance: float
    source: str | None
    metadata: dict[str, Any] | None
    external_id: str | None
    modalities: list[str]
    media_uri: str | None
    media_type: str | None
    valid_until: datetime | None
    superseded_by: str | None
    trust: float
    """In it and in its source, as it is now."""


_COLUMNS = tuple(Recollection.__dataclass_fields__)


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function with ``**options`` written out, for editors and `help`."""
    own = inspect.signature(function)
    kind = inspect.Parameter.KEYWORD_ONLY
    named = [
        inspect.Parameter(name, kind, default=None, annotation=get_args(hint)[0])
        for name, hint in get_type_hints(Options, include_extras=True).items()
    ]
    return own.replace(parameters=[*list(own.parameters.values())[:-1], *named])


def statement(
    query: str | None, k: int | None, options: Mapping[str, Any], media: Mapping[str, Any] = _NO_MEDIA
) -> tuple[str, list[Any]]:
    """Return the SQL that answers ``query``, and the ``media`` that are given with it, and its parameters."""
    from aios_db.joint.given import as_file

    media = {name: as_file(given, name) for name, given in media.items() if given is not None}
    unknown = sorted(set(options) - set(Options.__annotations__))
    if unknown:
        known = ", ".join(Options.__annotations__)
        raise ProgrammingError(f"recall: no option {unknown[0]!r}; there are k, {known}")
    if not (isinstance(query, str) or (query is None and media)):
        raise ProgrammingError(f"recall: the query is a {type(query).__name__}; give a text")
    given = {name: value for name, value in {"k": k, **options}.items() if value is not None}
    conditions = {name: given.pop(name) for name in CONDITIONS if name in given}
    # A number that is written out makes a better plan than a parameter; one of our own needs no quotes.
    numbers = {name: repr(_number(name, value)) for name, value in given.items()}
    arguments = "".join(f", {name} := {value}" for name, value in numbers.items())
    arguments += "".join(f", {name} := ?" for name in media)
    where = Filter(**{name: _condition(name, value) for name, value in conditions.items()})
    columns = ", ".join(_COLUMNS)
    text = f"SELECT {columns} FROM recall(?{{}}{arguments})"  # noqa: S608 - no user text
    if where:
        return text.format(", filter := ?"), [query, where.text(), *media.values()]
    return text.format(""), [query, *media.values()]


def _number(name: str, value: Any) -> int | float:
    """Return what is written in SQL, where `whole_number` and `finite_number` look at it."""
    if not isinstance(value, Real) or isinstance(value, bool):
        kind = "a whole number" if name in _WHOLE else "a number"
        raise ProgrammingError(f"recall: {name} is {value!r}; give {kind}")
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, int):
        return number
    number = float(number)
    if not isfinite(number):
        raise ProgrammingError(f"recall: {name} is {number}; give a finite number")
    return number


def _condition(name: str, value: Any) -> Any:
    if CONDITIONS[name].comparison not in TIMES:
        return value
    from aios_db.store.values import read_moment

    return (read_moment(value, f"recall: {name}") - _EPOCH) // timedelta(microseconds=1)


def from_arrow(rows: pa.Table) -> list[Recollection]:
    """Return one dataclass per row."""
    found = []
    for row in rows.to_pylist():
        metadata = row.pop("metadata")
        found.append(Recollection(**row, metadata=None if metadata is None else json.loads(metadata)))
    return found
