"""Principles: what a consolidation makes of a cluster of memories, and how it is stored."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from aios_db.schema.memories import TIMESTAMP
from aios_db.schema.sources import CONSOLIDATION

KIND = "principle"
TIER = "long"


_NO_TEXT = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")
"""White space, control characters, and what ends a line or turns its direction."""


def flat(text: str) -> str:
    """Return a text as a part of one line."""
    return _NO_TEXT.sub(" ", text).strip()


def digest(text: str) -> str:
    """Return by what a text is known again: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Source:
    """A memory that is to be consolidated, as it was when that was planned."""

    memory_id: str
    content_hash: str
    text: str
    title: str | None
    speaker: str | None
    occurred_at: datetime | None
    created_at: datetime
    session_id: str | None
    importance: float
    trust: float

    @property
    def happened_at(self) -> datetime:
        """When it happened, or was stored."""
        return self.occurred_at or self.created_at

    @property
    def said(self) -> str:
        """Its text, without the speaker's name where that stands before it."""
        prefix = f"{self.speaker}:"
        return self.text.removeprefix(prefix).strip() if self.speaker else self.text.strip()


@dataclass(frozen=True)
class Cluster:
    """Memories of one owner that belong together."""

    user_id: str | None
    agent_id: str | None
    sources: list[Source]
    because: str
    """Why they do, for a person."""


@dataclass(frozen=True)
class Principle:
    """A text that stands for a cluster."""

    cluster: Cluster
    text: str
    model: str
    """Who wrote it: ``extractive``, or ``provider:model``."""
    notes: list[str] = field(default_factory=list)
    """Why the model that was to write it did not."""


def rows_of(principles: Sequence[Principle], consolidation_id: str) -> pa.Table:
    """Return principles as rows to remember.

    Each is dated by the newest of its sources, and trusted and shared no more than any of them.
    """
    return pa.Table.from_pylist([_row(each, consolidation_id) for each in principles], _SCHEMA)


def _row(principle: Principle, consolidation_id: str) -> dict[str, object]:
    sources = principle.cluster.sources
    sessions = sorted({each.session_id for each in sources if each.session_id is not None})
    about = {
        "consolidation": consolidation_id,
        "model": principle.model,
        "sessions": sessions,
        "digest": digest(principle.text),
    }
    return {
        "kind": KIND,
        "tier": TIER,
        "text": principle.text,
        "user_id": principle.cluster.user_id,
        "agent_id": principle.cluster.agent_id,
        "occurred_at": max(each.happened_at for each in sources),
        "importance": max(each.importance for each in sources),
        "trust": min(each.trust for each in sources),
        "source": CONSOLIDATION,
        "derived_from": [each.memory_id for each in sources],
        "metadata": json.dumps(about, ensure_ascii=False),
    }


_SCHEMA = pa.schema(
    [
        ("kind", pa.string()), ("tier", pa.string()), ("text", pa.string()), ("user_id", pa.string()),
        ("agent_id", pa.string()), ("occurred_at", TIMESTAMP), ("importance", pa.float32()),
        ("trust", pa.float32()), ("source", pa.string()), ("derived_from", pa.list_(pa.string())),
        ("metadata", pa.string()),
    ]
)  # fmt: skip
