"""What a compression of memories did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Packed:
    """Memories of the tiers that the configuration names, in fewer bytes."""

    memories: int
    """How many have a code now that had a vector, or a longer code, before."""
    kept: int
    """How many keep a vector that they were given, and that no model can make again."""
