"""Rows in JSON: a line a record, or an array of records, alone or the one array that an object holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aios_db.importers import chat
from aios_db.importers.base import Format, Record, Rejected, Source, parse_json, shorten
from aios_db.importers.fields import find
from aios_db.importers.messages import is_message, read_message
from aios_db.importers.records import make_record

# Rows of fine-tuning sets: what the user says, what the assistant answers.
_PAIRS = (
    ("prompt", "completion"), ("prompt", "response"), ("instruction", "output"), ("instruction", "response"),
    ("question", "answer"),
)  # fmt: skip
_ARRAYS = ("memories", "results", "records", "rows", "items", "documents", "entries", "data")


def read_row(
    source: Source, record: object, location: str, progress: float, session: str
) -> Iterator[Record]:
    """Yield what one record of a file holds: a conversation of many messages, a message, or a memory."""
    if chat.is_conversation(record):
        assert isinstance(record, Mapping)
        yield from chat.read_conversation(source, record, session, location, progress)
    elif pair := _pair(record):
        yield from chat.read_conversation(source, pair, session, location, progress)
    elif is_message(record) and not _is_plain(record):
        yield read_message(source, record, {"session_id": source.name}, location, progress)
    else:
        yield make_record(source, record, location, progress)


def _pair(record: object) -> Mapping[str, Any] | None:
    """Return a question and its answer as a conversation of two turns; None when a record is no such pair.

    Other fields are about the conversation; Alpaca's ``input`` belongs to the instruction.
    """
    if not isinstance(record, Mapping) or find_text(record) is not None:
        return None
    for asked, answered in _PAIRS:
        question, answer = _turns(record.get(asked), "user"), _turns(record.get(answered), "assistant")
        if question and answer:
            given = record.get("input")
            if asked == "instruction" and isinstance(given, str) and given.strip():
                question[0]["content"] += f"\n\n{given}"
            system = _turns(record.get("system"), "system")
            about = {name: value for name, value in record.items() if name not in (asked, answered)}
            return {**about, "messages": [*system, *question, *answer]}
    return None


def _turns(said: Any, role: str) -> list[Any]:
    if isinstance(said, str):
        return [{"role": role, "content": said}] if said.strip() else []
    return list(said) if isinstance(said, list) and said and all(map(is_message, said)) else []


def _is_plain(record: object) -> bool:
    """Return whether a record has a text and a speaker of its own, as a row of a table has."""
    assert isinstance(record, Mapping)
    return all(isinstance(find(record, column), str) for column in ("text", "speaker"))


def find_text(record: object) -> Any:
    """Return the first value of a record that is named like a text and not empty."""
    return find(record, "text") if isinstance(record, Mapping) else None


def read_jsonl(source: Source) -> Iterator[Record]:
    """Yield one record a line; a line that holds ``messages`` is a conversation and yields one a message."""
    size = max(1, source.path.stat().st_size)
    position = 0
    with source.open_text() as file:
        for number, line in enumerate(_lines(file), start=1):
            position += len(line.encode(source.encoding, "replace"))
            location, progress = f"{source.name}:{number}", min(1.0, position / size)
            text = line.strip("\0\ufeff \t\r\n")
            if not text:
                continue
            try:
                record = parse_json(text)
            except (ValueError, RecursionError) as error:
                yield Rejected(location, f"is not JSON: {error}", shorten(line), progress)
                continue
            yield from read_row(source, record, location, progress, f"{source.name}:{number}")


def _lines(file: Any) -> Iterator[str]:
    """Yield lines that end with a line feed only; JSON text may hold the other separators."""
    rest = ""
    while chunk := file.read(1 << 16):
        *lines, rest = (rest + chunk).split("\n")
        yield from (line + "\n" for line in lines)
    if rest:
        yield rest


def read_json(source: Source) -> Iterator[Record]:
    """Yield the objects of an array, or of the one array that an object holds."""
    found = _records(source.document)
    assert found is not None
    name, records = found
    for number, record in enumerate(records):
        location = f"{source.name}{name}[{number}]"
        yield from read_row(source, record, location, (number + 1) / len(records), f"{source.name}:{number}")


def _records(document: Any) -> tuple[str, list[Any]] | None:
    if isinstance(document, list):
        return "", document
    if not isinstance(document, Mapping):
        return None
    arrays = {
        name: value
        for name, value in document.items()
        if isinstance(value, list) and any(isinstance(each, Mapping) for each in value)
    }
    chosen = next((name for name in _ARRAYS if name in arrays), None)
    if chosen is None and len(arrays) == 1:
        chosen = next(iter(arrays))
    if chosen is not None and any(find_text(each) is not None for each in arrays[chosen]):
        return f".{chosen}", arrays[chosen]
    return ("", [document]) if isinstance(find_text(document), str) else None


def _is_array_of_rows(source: Source) -> bool:
    return source.suffix == ".json" and _records(source.document) is not None


JSONL = Format("jsonl", lambda source: source.suffix in {".jsonl", ".ndjson"}, read_jsonl)
JSON = Format("json", _is_array_of_rows, read_json)
