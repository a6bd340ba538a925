"""Rows of `association_links` as they come from the files, made into links that an import takes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa

from aios_db.salvaging.report import Losses
from aios_db.salvaging.tables import Row
from aios_db.schema.association_links import SCHEMA

_KEY = ("source_id", "target_id", "kind")


class SalvagedLinks:
    """Collects links, each once, the first copy that comes.

    Parameters
    ----------
    losses
        Told what each row lacks.
    """

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._links: dict[tuple[str, ...], dict[str, Any]] = {}
        self.dangling = 0
        """Links of `between` without an end."""

    def read(self, rows: Iterable[tuple[Path, pa.Table] | Row]) -> None:
        """Take in the rows of the table."""
        for given in rows:
            if isinstance(given, Row):
                self._take(given)
                continue
            for values in given[1].to_pylist():
                self._take(Row(given[0], values))

    def add(self, links: Iterable[dict[str, Any]]) -> None:
        """Take in what memories say of their links: ends, kind and weight."""
        for link in links:
            if _complete(link):
                self._links.setdefault(_key(link), link)

    def between(self, ids: set[str]) -> pa.Table:
        """Return the links between these memories."""
        now = datetime.now(timezone.utc)
        made = {"evidence_count": 1, "created_at": now, "reinforced_at": now}
        found = [
            each for each in self._links.values() if each["source_id"] in ids and each["target_id"] in ids
        ]
        self.dangling = len(self._links) - len(found)
        rows = [{**link, **{name: link.get(name) or made[name] for name in made}} for link in found]
        return pa.Table.from_pylist(rows, SCHEMA)

    def _take(self, row: Row) -> None:
        link, lost = row.values, row.lost
        if lost.isdisjoint(_KEY) and _key(link) in self._links:
            return
        if not _complete(link):
            self._losses.row(row.file, (), "cannot be read")
            return
        if (link["evidence_count"] or 0) < 1:
            lost.add("evidence_count")
            link["evidence_count"] = 1
        if lost:
            self._losses.row(row.file, lost, "cannot be read")
        self._links[_key(link)] = link


def _key(link: dict[str, Any]) -> tuple[str, ...]:
    return tuple(link[name] for name in _KEY)


def _complete(link: dict[str, Any]) -> bool:
    weight = link["weight"]
    return (
        all(link[name] for name in _KEY)
        and link["source_id"] != link["target_id"]
        and weight is not None
        and math.isfinite(weight)
        and 0 < weight <= 1
    )
