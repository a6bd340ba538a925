"""The one list of SQL topics. A new SQL function is a file (or two) and a line here."""

from __future__ import annotations

from aios_db.udfs import embed, macros, memory, retrieval
from aios_db.udfs.functions import ScalarFunction

FUNCTIONS: tuple[ScalarFunction, ...] = (
    *embed.FUNCTIONS,
    *memory.FUNCTIONS,
    *retrieval.FUNCTIONS,
)

TABLES = ("memories", "association_links")

TOPICS = ("views", "embed", "memory", "recall")


def sql_objects() -> tuple[macros.SqlObject, ...]:
    """Return every macro and view of ``udfs/sql``, in the order to create them."""
    return tuple(item for topic in TOPICS for item in macros.load(topic))
