"""The file of rejected records: JSON lines that a person can read, mend and import again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aios_db.importers.base import Format, Record, Rejected, Row, Source, parse_json, shorten
from aios_db.importers.records import make_record
from aios_db.importers.rows import read_row
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
        beside = self.path.with_name(self.path.name + ".new")
        write_private(beside, "".join(json.dumps(_entry(*each)) + "\n" for each in entries))
        os.replace(beside, self.path)


def read(source: Source) -> Iterator[Record]:
    """Yield the records of a file of rejected ones, under the names and places they had."""
    lines = [line for line in source.text.split("\n") if line.strip()]
    for number, line in enumerate(lines, start=1):
        location, progress = f"{source.name}:{number}", number / len(lines)
        try:
            entry = parse_json(line)
            file, place, content = str(entry["file"]), str(entry["place"]), entry["record"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            yield Rejected(location, f"is no rejected record: {error}", shorten(line), progress)
            continue
        there = source.named(file)
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


def noted(source: Source) -> dict[str, tuple[str, str | None]]:
    """Return, by location, the file of each record of a file of rejected ones, and the source noted."""
    found = {}
    for line in source.text.split("\n"):
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            entry = parse_json(line)
            file = str(entry["file"])
            found[f"{file}:{entry['place']}"] = file, str(entry.get("source") or "") or None
    return found


def of_source(record: Record, source: str | None) -> Record:
    """Return a record with the source that its import had, whatever it says itself."""
    if source is None:
        return record
    if isinstance(record, Rejected):
        return replace(record, source=source)
    return replace(record, fields={**record.fields, "source": source}) if isinstance(record, Row) else record


def _entry(file: str, record: Rejected) -> dict[str, Any]:
    place = record.location.removeprefix(file).lstrip(": ")
    source = {"source": record.source} if record.source and record.source != file else {}
    return {
        "file": file, "place": place, "reason": record.reason, **source, "record": _parsed(record.content)
    }  # fmt: skip


def _parsed(content: str) -> Any:
    """Return the object that a record was, or its text when it was none."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return content
    return found if isinstance(found, dict) else content


RETRY = Format("rejected", lambda source: source.path.name.endswith(".rejected.jsonl"), read)
