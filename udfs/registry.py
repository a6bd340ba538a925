"""The one list of SQL topics. A new SQL function is a file (or two) and a line here."""

from __future__ import annotations

from dataclasses import asdict

from aios_db.schema.config import RecallConfig
from aios_db.udfs import embed, macros, media, memory, retrieval, weights
from aios_db.udfs.functions import ScalarFunction

FUNCTIONS: tuple[ScalarFunction, ...] = (
    *embed.FUNCTIONS,
    *media.FUNCTIONS,
    *memory.FUNCTIONS,
    *retrieval.FUNCTIONS,
    *weights.FUNCTIONS,
)

TABLES = ("memories", "association_links", "weight_versions", "validation_reports", "schema_migrations")

TOPICS = ("views", "embed", "media", "memory", "recall", "weights")


_DEFAULTS = RecallConfig()


def sql_objects(recall: RecallConfig = _DEFAULTS) -> tuple[macros.SqlObject, ...]:
    """Return every macro and view of ``udfs/sql`` in the order to create them, with configured defaults."""
    objects = (item for topic in TOPICS for item in macros.load(topic))
    return tuple(
        macros.with_defaults(item, asdict(recall)) if item.name == "recall" else item for item in objects
    )
