"""The one list of SQL topics. A new SQL function is a file (or two) and a line here."""

from __future__ import annotations

from dataclasses import asdict

from aios_db.schema.config import Config
from aios_db.udfs import (
    compression,
    embed,
    eviction,
    federation,
    history,
    lifecycle,
    macros,
    memory,
    memory_filter,
    metrics,
    multimodal,
    rows,
    searching,
    spreading,
    trust,
    weights,
)
from aios_db.udfs.functions import ScalarFunction
from aios_db.udfs.listing import listing
from aios_db.udfs.writing import DeferredWrite

FUNCTIONS: tuple[ScalarFunction, ...] = (
    *embed.FUNCTIONS,
    *compression.FUNCTIONS,
    *multimodal.FUNCTIONS,
    *memory.FUNCTIONS,
    *history.FUNCTIONS,
    *metrics.FUNCTIONS,
    *memory_filter.FUNCTIONS,
    *searching.FUNCTIONS,
    *spreading.FUNCTIONS,
    *rows.FUNCTIONS,
    *trust.FUNCTIONS,
    *weights.FUNCTIONS,
    *federation.FUNCTIONS,
    *lifecycle.FUNCTIONS,
    *eviction.FUNCTIONS,
)

DEFERRED: tuple[DeferredWrite, ...] = memory.DEFERRED

TABLES = (
    "memories",
    "association_links",
    "weight_versions",
    "validation_reports",
    "schema_migrations",
    "lora_cards",
    "sync_log",
    "consolidation_log",
)

VIEWS = ("changes", "metrics", "quarantined", "tiers", "unreadable_media")
"""Views that are no tables."""

TOPICS = (
    "views",
    "embed",
    "multimodal",
    "memory",
    "quarantine",
    "recall",
    "history",
    "metrics",
    "weights",
    "federation",
    "lifecycle",
    "eviction",
    "compression",
)
_BY_SOURCE = "best_of_sources"


_DEFAULTS = Config()
_PLAN = ("min_cluster", "max_cluster", "min_affinity")


def sql_objects(config: Config = _DEFAULTS, *, by_source: bool = False) -> tuple[macros.SqlObject, ...]:
    """Return every macro and view of ``udfs/sql`` in the order to create them, with configured defaults.

    ``by_source`` limits what one source may have of an answer.
    """
    configured = {
        "recall": asdict(config.recall),
        "memory_heat": asdict(config.heat),
        "eviction_plan": asdict(config.eviction),
        "consolidation_plan": {name: getattr(config.consolidation, name) for name in _PLAN},
    }
    instead = {item.name: item for item in macros.load(_BY_SOURCE)} if by_source else {}
    objects = [
        macros.with_defaults(item, configured[item.name])
        if item.name in configured
        else instead.get(item.name, item)
        for topic in TOPICS
        for item in macros.load(topic)
    ]
    return (*objects, listing(objects))


def plugged_macro(name: str) -> macros.SqlObject:
    """Return the macro ``embed_<name>(item)`` of an encoder that a user registered."""
    statement = f"CREATE MACRO embed_{name}(item) AS embed_with('{name}', item)"
    comment = f"The vector of an item by the encoder {name}: FLOAT[], unit length."
    return macros.SqlObject(
        "MACRO", f"embed_{name}", statement, is_table=False, arguments="item", comment=comment
    )


def retrieval_macros() -> frozenset[str]:
    """Return the macros that find memories by a function, as the functions declare."""
    return frozenset(function.retrieves for function in FUNCTIONS if function.retrieves)
