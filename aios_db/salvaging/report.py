"""What a salvage found, and what it did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

REPORT = "salvage.json"
"""The file beside the exported tables that holds the report."""


@dataclass(frozen=True)
class Loss:
    """One thing that could not be read."""

    table: str
    file: str
    """Its path within the database."""
    rows: int | None
    """How many rows it concerns; None when that cannot be known."""
    columns: tuple[str, ...]
    """Which values of these rows are lost; none named: the rows as a whole."""
    why: str

    def __str__(self) -> str:
        rows = "rows" if self.rows is None else f"{self.rows} row{'s' * (self.rows != 1)}"
        what = f"{', '.join(self.columns)} of {rows}" if self.columns else rows
        return f"{self.file}: {what}: {self.why}"


@dataclass(frozen=True)
class SalvageReport:
    """What `salvage` wrote, and what is missing."""

    database: str
    path: str
    """The directory with the export."""
    memories: int
    links: int
    dangling_links: int
    """Links left out because the memory at an end is not there."""
    losses: tuple[Loss, ...]

    @property
    def complete(self) -> bool:
        """Tell whether all of the database was read."""
        return not self.losses


class Losses:
    """Collects what one table has lost.

    Parameters
    ----------
    database
        The database directory.
    table
        The table's name.
    """

    def __init__(self, database: Path, table: str) -> None:
        self._database, self._table = database, table
        self._whole: list[Loss] = []
        self._rows: Counter[tuple[str, tuple[str, ...], str]] = Counter()

    def __bool__(self) -> bool:
        return bool(self._whole or self._rows)

    def file(self, path: Path, why: str) -> None:
        """Note a file that cannot be read, when it is not known what that costs."""
        self._whole.append(Loss(self._table, self._name(path), None, (), why))

    def row(self, path: Path, columns: Iterable[str], why: str) -> None:
        """Note one row of a file that lacks some columns, or all of it when none is named."""
        self._rows[self._name(path), tuple(sorted(columns)), why] += 1

    def all(self) -> list[Loss]:
        """Return the losses, rows with the same fate as one."""
        rows = [
            Loss(self._table, file, count, columns, why)
            for (file, columns, why), count in sorted(self._rows.items())
        ]
        return [*self._whole, *rows]

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self._database))
