"""The file of rejected records: JSON lines that a person can read, mend and import again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from aios_db.engine.weights.files import atomic_write
from aios_db.importers.base import Format, Record, Rejected, Row, Source, parse_json, shorten
from aios_db.importers.options import zone_called
from aios_db.importers.records import make_record
from aios_db.importers.rows import read_row
from aios_db.schema.errors import ProgrammingError
from aios_db.security.permissions import open_private, write_private


@dataclass
class Aside:
    """Where rejected records are kept, each with its file, its place there, and the reason."""

    path: Path

    def add(self, file: str, rejected: Sequence[Rejected]) -> None:
        """Append records of a file."""
        with open_private(self.path, "a", encoding="utf-8") as out:
            for record in rejected:
                out.write(json.dumps(_entry(file, record)) + "\n")

    def replace(self, entries: Sequence[tuple[str, Rejected]]) -> None:
        """Leave these records only, at once; without any, no file."""
        if not entries:
            self.path.unlink(missing_ok=True)
            return
        with atomic_write(self.path, alone=True) as part:
            write_private(part, "".join(json.dumps(_entry(*each)) + "\n" for each in entries))


def read(source: Source) -> Iterator[Record]:
    """Yield the records of a file of rejected ones, under the names and places they had."""
    lines = [line for line in source.text.split("\n") if line.strip()]
    for number, line in enumerate(lines, start=1):
        location, progress = f"{source.name}:{number}", number / len(lines)
        try:
            entry = parse_json(line)
            file, place, content = str(entry["file"]), str(entry["place"]), entry["record"]
            there = _as_then(source.named(file), entry.get("time_zone"))
        except (ValueError, KeyError, TypeError, RecursionError, ProgrammingError) as error:
            yield Rejected(location, f"is no rejected record: {error}", shorten(line), progress)
            continue
        if isinstance(content, str):
            try:
                content = parse_json(content)
            except (ValueError, RecursionError) as error:
                reason = (
                    f"is not JSON: {error}" if content else "nothing of it is kept; import the file itself"
                )
                yield Rejected(f"{file}:{place}", reason, content, progress)
                continue
        if isinstance(content, str):
            yield make_record(there, content, f"{file}:{place}", progress)
        else:
            yield from read_row(there, content, f"{file}:{place}", progress, f"{file}:{place}")


class Noted(NamedTuple):
    """What a file of rejected records says of one, beside the record."""

    file: str
    source: str | None = None
    time_zone: str | None = None


def noted(source: Source) -> dict[str, Noted]:
    """Return, by location, what is noted of each record of a file of rejected ones."""
    found = {}
    for line in source.text.split("\n"):
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            entry = parse_json(line)
            file, said_by, time_zone = str(entry["file"]), entry.get("source"), entry.get("time_zone")
            found[f"{file}:{entry['place']}"] = Noted(file, str(said_by or "") or None, time_zone)
    return found


def of_source(record: Record, source: str | None) -> Record:
    """Return a record with the source that its import had, whatever it says itself."""
    if source is None:
        return record
    if isinstance(record, Rejected):
        return replace(record, source=source)
    return replace(record, fields={**record.fields, "source": source}) if isinstance(record, Row) else record


def _as_then(source: Source, time_zone: str | None) -> Source:
    """Return the source with the time zone that the records' import had, unless the user says one now."""
    if time_zone is None or source.options.time_zone is not None:
        return source
    return replace(source, options=replace(source.options, zone=zone_called(time_zone)))


def _entry(file: str, record: Rejected) -> dict[str, Any]:
    place = record.location.removeprefix(file).lstrip(": ")
    source = {"source": record.source} if record.source and record.source != file else {}
    zone = {"time_zone": record.time_zone} if record.time_zone else {}
    return {
        "file": file, "place": place, "reason": record.reason, **source, **zone,
        "record": _parsed(record.content),
    }  # fmt: skip


def _parsed(content: str) -> Any:
    """Return the object that a record was, or its text when it was none."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return content
    return found if isinstance(found, dict) else content


RETRY = Format("rejected", lambda source: source.path.name.endswith(".rejected.jsonl"), read)
