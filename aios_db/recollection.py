"""`Connection.recall`: the SQL function of the same name, returned as dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from aios_db.schema.errors import ProgrammingError

OPTIONS = (
    "hops",
    "session_id",
    "agent_id",
    "user_id",
    "since",
    "until",
    "tier",
    "vector_weight",
    "keyword_weight",
    "graph_weight",
    "recency_weight",
)


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
    title: str | None
    kind: str
    session_id: str | None
    agent_id: str | None
    user_id: str | None
    speaker: str | None
    occurred_at: datetime | None
    created_at: datetime
    tier: str
    metadata: str | None


_COLUMNS = tuple(Recollection.__dataclass_fields__)


def statement(query: str, k: int | None, options: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Return the SQL that answers ``query``, and its parameters."""
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise ProgrammingError(f"recall: no option {unknown[0]!r}; there are k, {', '.join(OPTIONS)}")
    if not isinstance(query, str):
        raise ProgrammingError(f"recall: the query is a {type(query).__name__}; give a text")
    given = {name: options[name] for name in OPTIONS if options.get(name) is not None}
    arguments = "".join(f", {name} := ?" for name in given)
    if k is not None:
        if not isinstance(k, int):
            raise ProgrammingError(f"recall: k is {k!r}; give a whole number")
        arguments += f", k := {k}"  # a constant makes a better plan than a parameter
    columns = ", ".join(_COLUMNS)
    return f"SELECT {columns} FROM recall(?{arguments})", [query, *given.values()]  # noqa: S608 - no user text


def from_arrow(rows: pa.Table) -> list[Recollection]:
    """Return one dataclass a row."""
    return [Recollection(**row) for row in rows.to_pylist()]
