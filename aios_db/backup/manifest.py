"""What one backup consists of: a JSON file that is written last, and says so of itself by its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta, timezone
from typing import Any

from aios_db.backup.objects import Entry
from aios_db.schema.errors import OperationalError

FORMAT = 1
_ID = "%Y-%m-%dT%H%M%S.%fZ"


def next_id(there: Sequence[str]) -> str:
    """Return the name of a new backup, which sorts after those that are there.

    It is the time in UTC, or right after the newest one's where the clock is behind that.

    Parameters
    ----------
    there
        The backups of the directory, oldest first.
    """
    now = datetime.now(timezone.utc)
    if made := [each for name in there if (each := _moment(name))]:
        now = max(now, made[-1] + timedelta(microseconds=1))
    return now.strftime(_ID)


def _moment(name: str) -> datetime | None:
    """Return the time that a backup is named after; None where somebody has named it otherwise."""
    try:
        return datetime.strptime(name, _ID).replace(tzinfo=timezone.utc)
    except ValueError:
        return None


@dataclass(frozen=True)
class TableState:
    """The version of a table that a backup holds."""

    version: int
    rows: int


@dataclass(frozen=True)
class Model:
    """A weight version that the database knows."""

    version: str
    """Name, ``@`` and the first digits of the digest."""
    sha256: str
    is_active: bool
    files: tuple[Entry, ...] = ()
    """Its directory, when the backup holds it."""


@dataclass(frozen=True)
class Manifest:
    """One backup."""

    id: str
    """Its name, of `next_id`: backups sort by it."""
    database: str
    """Where the database was."""
    made_by: str
    """Version of aios_db."""
    tables: dict[str, TableState]
    files: tuple[Entry, ...]
    models: tuple[Model, ...]
    database_id: str | None = None
    """Which database it was; None in backups of an older aios_db."""

    def entries(self) -> Iterator[Entry]:
        """Yield every file, those of the models last."""
        yield from self.files
        for model in self.models:
            yield from model.files

    def to_json(self) -> str:
        """Return the manifest with its digest."""
        content = {"format": FORMAT, **asdict(self)}
        return json.dumps({**content, "sha256": _digest(content)}, indent=1)

    @classmethod
    def from_json(cls, text: str, place: object) -> Manifest:
        """Read what `to_json` returned.

        Raises
        ------
        OperationalError
            It is damaged, or of a newer aios_db.
        """
        try:
            content = json.loads(text)
            digest = content.pop("sha256")
            if content["format"] > FORMAT:
                raise OperationalError(f"{place} was made by a newer aios_db: upgrade this one")
            if digest != _digest(content):
                raise ValueError("its content has another SHA-256 than it says")
            content.setdefault("database_id", None)
            given = {each.name: content[each.name] for each in fields(cls)}
            given["tables"] = {name: TableState(**each) for name, each in given["tables"].items()}
            given["files"] = _entries(given["files"])
            given["models"] = tuple(
                Model(**{**each, "files": _entries(each["files"])}) for each in given["models"]
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise OperationalError(f"{place} is damaged: {error}") from None
        return cls(**given)


def _entries(given: list[dict[str, Any]]) -> tuple[Entry, ...]:
    return tuple(Entry(**each) for each in given)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
