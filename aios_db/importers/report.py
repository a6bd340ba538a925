"""What an import did: counts that add up, for each file and in all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_COUNTS = ("read", "stored", "merged", "replaced", "rejected", "skipped", "removed", "resumed", "links")


@dataclass
class Counts:
    """``read == stored + merged + replaced + rejected + skipped``, always."""

    read: int = 0
    """Records met in the files."""
    stored: int = 0
    """Memories that are new."""
    merged: int = 0
    """Records that were memories already: by an earlier import, or by an equal record before."""
    replaced: int = 0
    """Memories that took the new content of their record."""
    rejected: int = 0
    """Records set aside, with the reason, in the file of rejected records."""
    skipped: int = 0
    """Records with nothing to remember in them, and those that an earlier run dealt with."""
    removed: int = 0
    """Memories whose record is gone; only with ``sync``."""
    resumed: int = 0
    """Of the skipped, those that an earlier run dealt with."""
    links: int = 0
    """Links stated by the source."""
    warnings: Counter[str] = field(default_factory=Counter)
    """Optional values that made no sense and are in the metadata now: what was wrong, and how often."""
    skip_reasons: Counter[str] = field(default_factory=Counter)
    """Why records were skipped, and how often."""

    @property
    def imported(self) -> int:
        """Records that are memories now and were dealt with by this run."""
        return self.stored + self.merged + self.replaced

    def add(self, other: Counts) -> None:
        """Count what another counted as well."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.warnings.update(other.warnings)
        self.skip_reasons.update(other.skip_reasons)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON holds them."""
        counts = {name: getattr(self, name) for name in (*_COUNTS, "imported")}
        return {**counts, "warnings": dict(self.warnings), "skip_reasons": dict(self.skip_reasons)}


@dataclass
class FileReport(Counts):
    """What was done with one file."""

    name: str = ""
    """Its path under the folder that was named; the ``source`` of its memories."""
    format: str = ""
    """The name of the format it was read as."""

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON holds it."""
        return {"name": self.name, "format": self.format, **super().as_dict()}


@dataclass
class ImportReport(Counts):
    """What an import did."""

    per_file: list[FileReport] = field(default_factory=list)
    """Each file that was read, in order."""
    skipped_files: dict[str, str] = field(default_factory=dict)
    """Files that were left alone, with the reason: of no known format, links out of the folder."""
    rejected_path: str | None = None
    """Where the rejected records are, as JSON lines of file, place, reason and record."""

    @property
    def files(self) -> int:
        """How many files were read, now or by an earlier run."""
        return sum(bool(each.format) for each in self.per_file)

    def include(self, report: FileReport) -> None:
        """Count a file."""
        self.per_file.append(report)
        self.add(report)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON holds it."""
        return {
            "files": self.files,
            **super().as_dict(),
            "skipped_files": self.skipped_files,
            "rejected_path": self.rejected_path,
            "per_file": [each.as_dict() for each in self.per_file],
        }
