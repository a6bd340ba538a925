"""Spans of OpenTelemetry for operations on memories, where the program has set up a tracer.

After the conventions for generative AI (semantic-conventions-genai, "Memory"): ``gen_ai.operation.name``,
``gen_ai.memory.store.id``, ``gen_ai.memory.record.count``, ``error.type``, and ``gen_ai.memory.query.text``
only where it is asked for. The spans are internal, since the memory is in the process that asks it. The API
is not imported here before the program has imported it: without it there is nobody who listens.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from aios_db.schema.metrics import OPERATIONS, SEARCH

_API = "opentelemetry.trace"


class Spans:
    """Makes the spans of one database.

    Parameters
    ----------
    store_id
        ``gen_ai.memory.store.id``: the path of the database.
    texts
        Whether spans hold what was asked.
    """

    def __init__(self, store_id: str, *, texts: bool = False) -> None:
        self._store_id, self._texts = store_id, texts
        self._tracer: Any = None

    def ended(self, operation: str, seconds: float, items: int, error: str | None, text: str) -> None:
        """Report an operation that has just ended, as a child of the span that this thread is in."""
        api = sys.modules.get(_API)
        if api is None:
            return
        if self._tracer is None:
            self._tracer = api.get_tracer("aios_db")
        end = time.time_ns()
        attributes: dict[str, str | int] = {
            "gen_ai.operation.name": operation,
            "gen_ai.memory.store.id": self._store_id,
            "db.system.name": "aios_db",
        }
        if error is not None:
            attributes["error.type"] = error
        elif operation in OPERATIONS:
            attributes["gen_ai.memory.record.count"] = items
        if operation == SEARCH and error is None:
            attributes["db.response.returned_rows"] = items
        if self._texts and text:
            attributes["gen_ai.memory.query.text"] = text
        span = self._tracer.start_span(
            operation,
            kind=api.SpanKind.INTERNAL,
            attributes=attributes,
            start_time=end - round(seconds * 1e9),
        )
        if error is not None:
            span.set_status(api.Status(api.StatusCode.ERROR))
        span.end(end)
