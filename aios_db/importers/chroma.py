"""What Chroma's `collection.get()` and `query()` return: ids, documents and metadata, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aios_db.importers.base import Format, Record, Source
from aios_db.importers.records import make_record


def detect(source: Source) -> bool:
    """Return whether a JSON file holds ids and as many documents."""
    return source.suffix == ".json" and _columns(source.document) is not None


def read(source: Source) -> Iterator[Record]:
    """Yield one record a document; its metadata name columns, as the fields of a row do."""
    columns = _columns(source.document)
    assert columns is not None
    ids, documents, metadatas = columns
    for index, (own, text, about) in enumerate(zip(ids, documents, metadatas, strict=True)):
        fields = about if isinstance(about, Mapping) else {}
        taken = {name: value for name, value in fields.items() if name in ("id", "text")}
        record = {**fields, "id": own, "text": text, **({"metadata": taken} if taken else {})}
        location = f"{source.name}.documents[{index}]"
        yield make_record(source, record, location, (index + 1) / len(ids))


def _columns(document: Any) -> tuple[list[Any], list[Any], list[Any]] | None:
    if not isinstance(document, Mapping):
        return None
    ids, documents, metadatas = (_flat(document.get(name)) for name in ("ids", "documents", "metadatas"))
    if not ids or documents is None or len(ids) != len(documents):
        return None
    if not any(isinstance(text, str) for text in documents):
        return None
    if metadatas is None or len(metadatas) != len(ids):
        metadatas = [None] * len(ids)
    return ids, documents, metadatas


def _flat(column: Any) -> list[Any] | None:
    """Return a column; of a query's answers, one list for each query, all in one."""
    if not isinstance(column, list):
        return None
    nested = bool(column) and all(isinstance(each, list) for each in column)
    return [each for part in column for each in part] if nested else column


CHROMA = Format("chroma", detect, read)
