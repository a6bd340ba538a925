"""Format 8: compressed memories may have six digits of their content hash on the disk.

The tables stay as they are. The number keeps out programs that take six digits for the whole, find none of
these memories when they are said again, and store them a second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aios_db.migrations.registry import migration


@migration
def allow_short_hashes(directory: Path) -> Iterator[str]:
    """Change nothing."""
    yield "allowed short hashes"
