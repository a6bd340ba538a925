"""Spans of OpenTelemetry for operations on memories and for SQL, where the program has set up a tracer.

Operations follow the conventions for generative AI (semantic-conventions-genai, "Memory"):
``gen_ai.operation.name``, ``gen_ai.memory.store.id``, ``gen_ai.memory.record.count``, ``error.type``;
statements those for databases: ``db.system.name``, ``db.namespace``, ``db.operation.name``. Texts
(``gen_ai.memory.query.text``, ``db.query.text``) are there only where they are asked for. The spans are
internal, since the memory is in the process that asks it. The API is not imported here before the program has
imported it: without it there is nobody who listens.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from aios_db.schema.metrics import OPERATIONS, SEARCH

_API = "opentelemetry.trace"
_SYSTEM = "aios_db"


class Spans:
    """Makes the spans of one database.

    Parameters
    ----------
    store_id
        ``gen_ai.memory.store.id`` and ``db.namespace``: the path of the database.
    texts
        Whether spans hold what was asked.
    """

    def __init__(self, store_id: str, *, texts: bool = False) -> None:
        self._store_id, self._texts = store_id, texts
        self._tracer: Any = None

    def operation(self, name: str, seconds: float, items: int, error: str | None, text: str) -> None:
        """Report an operation that has just ended, as a child of the span that this thread is in."""
        attributes: dict[str, str | int] = {
            "gen_ai.operation.name": name,
            "gen_ai.memory.store.id": self._store_id,
            "db.system.name": _SYSTEM,
        }
        if error is None and name in OPERATIONS:
            attributes["gen_ai.memory.record.count"] = items
        if error is None and name == SEARCH:
            attributes["db.response.returned_rows"] = items
        if self._texts and text:
            attributes["gen_ai.memory.query.text"] = text
        self._ended(name, seconds, attributes, error)

    def statement(self, name: str, seconds: float, error: str | None, text: str) -> None:
        """Report a statement of SQL that has just run, or failed, as `operation` does."""
        attributes: dict[str, str | int] = {
            "db.system.name": _SYSTEM,
            "db.namespace": self._store_id,
            "db.operation.name": name,
        }
        if self._texts:
            attributes["db.query.text"] = text
        self._ended(name, seconds, attributes, error)

    def _ended(self, name: str, seconds: float, attributes: dict[str, str | int], error: str | None) -> None:
        api = sys.modules.get(_API)
        if api is None:
            return
        if self._tracer is None:
            self._tracer = api.get_tracer("aios_db")
        if error is not None:
            attributes["error.type"] = error
        end = time.time_ns()
        span = self._tracer.start_span(
            name, kind=api.SpanKind.INTERNAL, attributes=attributes, start_time=end - round(seconds * 1e9)
        )
        if error is not None:
            span.set_status(api.Status(api.StatusCode.ERROR))
        span.end(end)
