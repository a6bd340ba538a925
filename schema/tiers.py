"""Where a memory stands in its life."""

from __future__ import annotations

TIERS = ("short", "long", "archived")
