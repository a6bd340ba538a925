"""The tables beside memories and links: what their rows say of themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from aios_db.checking.faults import Faults
from aios_db.federation.card_files import card_from_bytes
from aios_db.schema import lora_cards, validation_reports, weight_versions
from aios_db.schema.errors import Error
from aios_db.schema.tables import RECORDS

_JSON = {
    weight_versions.TABLE: "calibration",
    validation_reports.TABLE: "report",
    lora_cards.TABLE: "metadata",
}


def remedy(table: str) -> str:
    """Return what mends a table of records."""
    return (
        f"restore it from a backup; aios repair makes it anew if it has no rows to lose, and with --recreate "
        f"{table} of those that can be read"
    )


class RecordChecks:
    """Looks at the rows of one table.

    Parameters
    ----------
    faults
        Told what is wrong.
    table
        Its name.
    """

    def __init__(self, faults: Faults, table: str) -> None:
        self._faults, self._table, self._remedy = faults, table, remedy(table)
        self._key: str = RECORDS[table].KEY
        self._keys: set[object] = set()

    def look(self, file: Path, batch: pa.RecordBatch) -> None:
        """Check some rows."""
        for row in batch.to_pylist():
            if row[self._key] in self._keys:
                self._note(file, f"several rows have the {self._key} {row[self._key]!r}")
            self._keys.add(row[self._key])
            column = _JSON.get(self._table)
            if column and row[column] is not None and _fails(json.loads, row[column]):
                self._note(file, f"{column} is no JSON")
            if self._table == lora_cards.TABLE:
                self._card(file, row)

    def _card(self, file: Path, row: dict[str, Any]) -> None:
        try:
            found = card_from_bytes(row["card"], name=row["name"]).sha256
        except (Error, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            self._note(file, f"the card {row['card_id']} cannot be read: {error}")
            return
        if found != row["sha256"]:
            self._note(file, f"the card {row['card_id']} is another one than its sha256 says")

    def _note(self, file: Path, what: str) -> None:
        self._faults.row(file, what, self._remedy)


def _fails(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except (ValueError, RecursionError):
        return True
    return False
