"""What a check finds, rows with the same fault as one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

SALVAGE = (
    "bring a backup back with aios restore, or keep what can be read: aios salvage, then aios import, which "
    "embeds anew what was changed"
)
REPAIR = "aios repair makes it anew from the tables"
_EXAMPLES = 3


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong."""

    where: str
    """A file or a directory, by its path within the database."""
    what: str
    rows: int | None
    """How many rows it concerns; None where it is not of rows, or that cannot be known."""
    remedy: str
    examples: tuple[str, ...] = ()
    """A few of the memories concerned, by their ids."""

    def __str__(self) -> str:
        rows = "" if self.rows is None else f" ({self.rows} row{'s' * (self.rows != 1)})"
        of = f", {', '.join(self.examples)}" if self.examples else ""
        return f"{self.where}: {self.what}{rows}{of}; {self.remedy}"


class Faults:
    """Collects them.

    Parameters
    ----------
    database
        The database directory.
    """

    def __init__(self, database: Path) -> None:
        self.database = database
        self._found: Counter[tuple[str, str, str]] = Counter()
        self._examples: dict[tuple[str, str, str], list[str]] = {}

    def __len__(self) -> int:
        return len(self._found)

    def file(self, where: Path | str, what: str, remedy: str) -> None:
        """Note something of a file as a whole."""
        self._found[self._name(where), what, remedy] += 0

    def row(self, where: Path | str, what: str, remedy: str, example: str | None = None) -> None:
        """Note a row."""
        key = self._name(where), what, remedy
        self._found[key] += 1
        examples = self._examples.setdefault(key, [])
        if example and len(examples) < _EXAMPLES:
            examples.append(example)

    def all(self) -> tuple[Fault, ...]:
        """Return them in the order in which they were first met."""
        return tuple(
            Fault(where, what, count or None, remedy, tuple(self._examples.get((where, what, remedy), ())))
            for (where, what, remedy), count in self._found.items()
        )

    def _name(self, where: Path | str) -> str:
        return where if isinstance(where, str) else where.relative_to(self.database).as_posix()
