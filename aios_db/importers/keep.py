"""Notes of Google Keep, as Takeout writes them: a JSON file for each note, and the same as HTML beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aios_db.importers.base import Format, Record, Skipped, Source
from aios_db.importers.passages import cut
from aios_db.importers.records import make_record

_EDITED = "userEditedTimestampUsec"
_STATES = ("isPinned", "isArchived")


def detect(source: Source) -> bool:
    """Return whether a file is a note of Keep, or its twin in HTML."""
    return (source.suffix == ".json" and _is_note(source.document)) or _is_twin(source)


def read(source: Source) -> Iterator[Record]:
    """Yield one record a passage of the note; what is in the trash is skipped."""
    if source.suffix != ".json":
        yield Skipped(source.name, "the same note as its JSON file")
        return
    note = source.document
    title = _string(note, "title")
    text = _text(note) or title
    if note.get("isTrashed") or not text:
        yield Skipped(source.name, "in the trash" if note.get("isTrashed") else "empty")
        return
    about = {
        "kind": "note",
        "title": title if title != text else None,
        "session_id": source.name,  # so that neighbouring passages are linked
        "source": source.name,
        "occurred_at": note.get("createdTimestampUsec") or note.get(_EDITED),
        "metadata": _metadata(note),
    }
    for number, (start, passage) in enumerate(cut(text), start=1):
        yield make_record(
            source, {**about, "text": passage}, source.name, start / len(text), place=f"passage {number}"
        )


def _is_note(document: object) -> bool:
    return isinstance(document, Mapping) and "isTrashed" in document and _EDITED in document


def _is_twin(source: Source) -> bool:
    twin = source.path.with_suffix(".json")
    if source.suffix != ".html" or not twin.is_file():
        return False
    content = twin.read_bytes()
    return b'"isTrashed"' in content and f'"{_EDITED}"'.encode() in content


def _text(note: Mapping[str, Any]) -> str:
    """Return what a note says: its text, or its list as one line an entry."""
    lines = [
        f"[{'x' if entry.get('isChecked') else ' '}] {said}"
        for entry in _mappings(note.get("listContent"))
        if (said := _string(entry, "text"))
    ]
    return "\n".join(filter(None, [_string(note, "textContent"), *lines]))


def _metadata(note: Mapping[str, Any]) -> dict[str, Any]:
    labels = [_string(label, "name") for label in _mappings(note.get("labels"))]
    links = [_string(link, "url") for link in _mappings(note.get("annotations"))]
    files = [_string(file, "filePath") for file in _mappings(note.get("attachments"))]
    found = {"labels": labels, "links": links, "attachments": files}
    return {
        **{name: kept for name, values in found.items() if (kept := list(filter(None, values)))},
        **{state: True for state in _STATES if note.get(state) is True},
    }


def _mappings(values: object) -> list[Mapping[str, Any]]:
    return [each for each in values if isinstance(each, Mapping)] if isinstance(values, list) else []


def _string(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return value.strip() if isinstance(value, str) else ""


KEEP = Format("keep", detect, read)
