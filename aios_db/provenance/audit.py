"""What the database knows of one memory: where it came from, what it is worth, and what it is linked with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from aios_db.memory_store import MemoryStore


@dataclass(frozen=True)
class Relation:
    """A link between the memory that is looked at and another one."""

    memory_id: str
    """The other one."""
    kind: str
    outgoing: bool
    """Whether the link leads to the other one."""
    weight: float
    evidence_count: int
    created_at: datetime
    source: str | None
    """Of the other one."""
    trust: float
    """In the other one, as it is now."""


@dataclass(frozen=True)
class Audit:
    """What `Connection.audit` returns."""

    memory_id: str
    source: str | None
    source_trust: float
    """By the configuration."""
    own_trust: float
    """The column of the row."""
    trust: float
    """What counts: the least of the two, and of that in what it is ``derived_from``."""
    quarantine: str | None
    """Why it is held; None when it is recalled."""
    released_at: datetime | None
    """When it was let out of quarantine, if it was."""
    created_at: datetime
    occurred_at: datetime | None
    access_count: int
    """How often it was recalled, or remembered again."""
    last_access_at: datetime | None
    derived_from: list[str]
    made_of_it: list[str]
    """Memories that are derived from it."""
    links: list[Relation]
    """Links to and from memories of other sources first."""


def audit(store: MemoryStore, memory_id: str) -> Audit | None:
    """Return what is known of a memory, None when there is none."""
    found, rows = store.rows([memory_id])
    if not found[0]:
        return None
    (row,) = rows.select(
        ["source", "trust", "created_at", "occurred_at", "access_count", "last_access_at", "derived_from"]
    ).to_pylist()
    share = store.trust.of(row["source"])
    return Audit(
        memory_id=memory_id,
        source=row["source"],
        source_trust=share,
        own_trust=row["trust"],
        trust=min(share, row["trust"], float(store.index.trust(store.index.find_ids([memory_id]))[0])),
        quarantine=store.index.held().get(memory_id),
        released_at=store.released_at(memory_id),
        created_at=row["created_at"],
        occurred_at=row["occurred_at"],
        access_count=row["access_count"],
        last_access_at=row["last_access_at"],
        derived_from=row["derived_from"] or [],
        made_of_it=_made_of(store, memory_id),
        links=_relations(store, memory_id, row["source"]),
    )


def _made_of(store: MemoryStore, memory_id: str) -> list[str]:
    names: list[str] = store.index.memory_ids(store.index.made_of([memory_id])[0]).to_pylist()
    return names


def _relations(store: MemoryStore, memory_id: str, source: str | None) -> list[Relation]:
    ends = (pc.field("source_id") == memory_id) | (pc.field("target_id") == memory_id)
    links = store.read(lambda now: now.links.to_table(filter=ends)).to_pylist()
    others = [each["target_id"] if each["source_id"] == memory_id else each["source_id"] for each in links]
    known, rows = store.index.memories(pa.array(others, pa.string()))
    described = iter(zip(rows["source"].to_pylist(), rows["trust"].to_pylist(), strict=True))
    found = []
    for link, other, there in zip(links, others, known.tolist(), strict=True):
        if not there:  # it is of somebody else, or was forgotten
            continue
        of, trust = next(described)
        found.append(
            Relation(
                memory_id=other,
                kind=link["kind"],
                outgoing=link["source_id"] == memory_id,
                weight=link["weight"],
                evidence_count=link["evidence_count"],
                created_at=link["created_at"],
                source=of,
                trust=trust,
            )
        )
    return sorted(found, key=lambda each: (each.source == source, -each.weight, each.memory_id))
