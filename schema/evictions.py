"""What an eviction does to a memory, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class Eviction:
    """A row of `eviction_plan`."""

    memory_id: str
    tier: str
    action: Literal["evict", "grace", "erase"]
    """``evict`` hides it from now on, ``grace`` is hidden, ``erase`` has been for `eviction.grace_s`."""
    reason: str
    heat: float
    used_at: datetime
    """When it was recalled last, or stored."""
    bytes: int
    """Of its title, text and media."""
    expires_at: datetime | None
