"""A database, and files beside it that SQL must not reach."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SECRET = "canary-4f1c"


@dataclass(frozen=True)
class Place:
    """A database, a directory that SQL may use, and one that it may not."""

    database: Path
    allowed: Path
    outside: Path

    def files(self) -> dict[str, bytes]:
        """Return the files that no statement may change, with their content."""
        kept = [*self.outside.rglob("*"), self.database / "aios.json"]
        return {str(path): path.read_bytes() for path in kept if path.is_file()}
