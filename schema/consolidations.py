"""What a consolidation says it did, or would do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Outcome:
    """What became of one consolidation: of the memories of one owner, in one commit."""

    consolidation_id: str | None
    """Its place in `consolidation_log`; None of a dry run."""
    state: str
    """``committed``, ``refused`` or ``broken_off``; of a dry run ``planned`` or ``refused``."""
    user_id: str | None
    agent_id: str | None
    model: str
    fallbacks: int
    """Principles that the model did not write, or not well enough; they are extractive."""
    input_tokens: int
    output_tokens: int
    queries: int
    """Own past queries on which recall was compared."""
    recall_before: float | None
    """Share of what these had found that recall finds still."""
    recall_after: float | None
    """The same with the consolidation; what a principle is derived from counts as found with it."""
    duration_s: float
    note: str | None


@dataclass(frozen=True)
class Report(Outcome):
    """What a consolidation says it did, or would do."""

    clusters: int
    """Principles that were made, each of one cluster."""
    memories: int
    """Those that they were made of, which are archived now, or deleted."""


@dataclass(frozen=True)
class Folding:
    """That memories say the same as an older one, which counts them."""

    memory_id: str
    """The one that stays."""
    folded: list[str]
    """Those that say the same, the oldest first."""
    occurrences: int
    """How often it was said, all together."""


@dataclass(frozen=True)
class Supersession:
    """That a memory no longer holds, since a newer one says otherwise."""

    memory_id: str
    superseded_by: str
    valid_until: datetime
    """When the newer one happened, or was stored."""
    subject: str
    """Whose fact it is, in lower case; empty of a thing by itself."""
    attribute: str
    value: str
    """What the older memory says it is."""
    new_value: str
    """What the newer one says, empty where it only says that it is so no longer."""
