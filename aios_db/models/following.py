"""The encoder follows the vectors: texts are embedded by the weights that made what they are compared with.

Which version is active is read off the memories themselves. So a query and the vectors it meets are of one
version at any moment, in every process, also while another version's vectors are being made, and whatever
was interrupted.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol, TypeGuard

import lance
import pyarrow as pa
import pyarrow.compute as pc

from aios_db.models.versions import WeightVersions

log = logging.getLogger("aios_db.models")


class SwitchableEncoder(Protocol):
    """An encoder that can go on with the weights of another directory."""

    @property
    def version(self) -> str:
        """The weights in use."""
        ...

    @property
    def directory(self) -> Path:
        """The model directory in use."""
        ...

    def use(self, directory: Path, version: str) -> None:
        """Embed with the model in ``directory``, which holds the weights of ``version``, from now on."""
        ...


class Following:
    """What keeps one store's encoder at the version of its vectors; one that cannot switch is left alone."""

    def __init__(self, versions: WeightVersions) -> None:
        self._versions = versions
        self._outdated = True
        self.version: str | None = None
        """The version that made the vectors of the last snapshot that was looked at."""

    def outdated(self) -> None:
        """Note that another process, or an exchange of the vectors, has changed the memories."""
        self._outdated = True

    def follow(self, memories: lance.LanceDataset, encoder: object) -> None:
        """Switch ``encoder`` when the vectors of the snapshot are of another version than before."""
        if not self._outdated or not _can_switch(encoder):
            return
        found = vector_version(memories)
        if found is not None and found != self.version:
            directory = self._versions.directory(found)
            if directory is not None:
                encoder.use(directory, found)
            elif encoder.version != found:
                log.warning(
                    "the vectors were made by %s, the text model is %s: run aios models activate",
                    found, encoder.version,
                )  # fmt: skip
        self.version, self._outdated = found, False

    def without_stale(self, rows: pa.Table) -> pa.Table:
        """Return ``rows`` without the vectors that a version made for them that is no longer in use."""
        made_by = rows["text_weight_version"]
        if self.version is None or made_by.null_count == len(rows):
            return rows
        stale = pc.fill_null(pc.not_equal(made_by, self.version), False)
        if not pc.any(stale).as_py():
            return rows
        for name in ("text_embedding", "text_weight_version"):
            column = rows[name].combine_chunks()
            kept = pc.if_else(stale, pa.scalar(None, column.type), column)
            rows = rows.set_column(rows.schema.get_field_index(name), name, kept)
        return rows

    def record(self, encoder: object) -> None:
        """Install and activate the version that made the first vectors, so that others find its weights."""
        if self.version is None and _can_switch(encoder):
            self.version = self._versions.install(encoder.directory, active=True).version


def vector_version(memories: lance.LanceDataset) -> str | None:
    """Return the weight version of the memories' text vectors, or None when none is known."""
    made = "text_weight_version IS NOT NULL"
    found = memories.scanner(columns=["text_weight_version"], filter=made, limit=1).to_table()
    return found["text_weight_version"][0].as_py() if len(found) else None


def _can_switch(encoder: object) -> TypeGuard[SwitchableEncoder]:
    return hasattr(encoder, "use")  # no other attribute is asked for: ``version`` would load the model
