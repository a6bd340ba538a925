"""Which tables a database has beside its memories."""

from __future__ import annotations

from types import ModuleType

from aios_db.schema import (
    association_links,
    consolidation_log,
    lora_cards,
    quarantine_releases,
    schema_migrations,
    sync_log,
    validation_reports,
    weight_versions,
)

RECORDS: dict[str, ModuleType] = {
    module.TABLE: module
    for module in (
        weight_versions,
        validation_reports,
        schema_migrations,
        lora_cards,
        sync_log,
        quarantine_releases,
        consolidation_log,
    )
}
"""By its name, the module of each table of records: its ``SCHEMA``, and its ``KEY``, which no rows share."""

BESIDE: dict[str, ModuleType] = {association_links.TABLE: association_links, **RECORDS}
"""The same, with the links."""
