"""Tables of memories: JSON lines, a JSON array of objects, CSV and Parquet, one record a memory."""

from __future__ import annotations

import codecs
import csv
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from aios_db.importers import chat
from aios_db.importers.base import Format, Record, Rejected, Row, Source, UnreadableError, shorten
from aios_db.importers.fields import memory_fields

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 1024


def row_record(source: Source, record: object, location: str, progress: float) -> Record:
    """Return the record as a row, or as rejected with the reason."""
    try:
        if not isinstance(record, Mapping):
            raise ValueError(f"is a {type(record).__name__}, not an object with fields")
        fields = memory_fields(record)
    except ValueError as error:
        return Rejected(location, str(error), shorten(record), progress)
    return Row({"source": source.name, **fields}, location, progress)


def read_jsonl(source: Source) -> Iterator[Record]:
    """Yield one record a line; a line that holds ``messages`` is a conversation and yields one a message."""
    size = max(1, source.path.stat().st_size)
    position = 0
    with source.path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            position += len(line)
            location, progress = f"{source.name}:{number}", position / size
            if not line.strip() or line == codecs.BOM_UTF8:
                continue
            try:
                record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                yield Rejected(
                    location, f"is not JSON: {error}", shorten(line.decode(errors="replace")), progress
                )
                continue
            if chat.is_conversation(record):
                yield from chat.read_conversation(
                    source, record, f"{source.path.stem}:{number}", location, progress
                )
            else:
                yield row_record(source, record, location, progress)


def read_json(source: Source) -> Iterator[Record]:
    """Yield the objects of an array, or of the one array that an object holds."""
    records = source.document
    for number, record in enumerate(records, start=1):
        yield row_record(source, record, f"{source.name}[{number - 1}]", number / len(records))


def read_csv(source: Source) -> Iterator[Record]:
    """Yield one record a line; the first line names the columns, the delimiter is found out."""
    csv.field_size_limit(sys.maxsize)
    size = max(1, source.path.stat().st_size)
    # Bytes that are not UTF-8 become lone surrogates, so that only their own row is refused.
    with source.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        delimiter = "\t" if source.suffix == ".tsv" else _delimiter(file.readline())
        file.seek(0)
        reader = csv.DictReader(file, delimiter=delimiter)
        if not reader.fieldnames:
            return
        while True:
            start = reader.line_num + 1
            location = f"{source.name}:{start}"
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Rejected(location, f"is not CSV: {error}", "")
                continue
            progress = min(1.0, os.lseek(file.fileno(), 0, os.SEEK_CUR) / size)
            if None in record:
                many = len(record) - 1 + len(record[None])
                reason = f"has {many} cells where the header has {len(reader.fieldnames)}"
                yield Rejected(
                    location, reason, shorten({str(key): cell for key, cell in record.items()}), progress
                )
            else:
                yield row_record(source, record, location, progress)


def read_parquet(source: Source) -> Iterator[Record]:
    """Yield one record a row, read a batch at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(source.path) as file:
            total = file.metadata.num_rows
            for batch in file.iter_batches(batch_size=BATCH):
                for record in _records(batch):
                    number += 1
                    location, progress = f"{source.name}:{number}", number / total
                    if isinstance(record, Exception):
                        yield Rejected(location, f"holds what Python cannot: {record}", "", progress)
                    else:
                        yield row_record(source, _without_padding(record), location, progress)
    except (pa.ArrowException, OSError) as error:
        raise UnreadableError(f"{source.name}:{number + 1}", f"cannot be read further: {error}") from None


def _records(batch: pa.RecordBatch) -> list[dict[str, Any] | Exception]:
    """Return the rows of a batch, and in place of one that holds a date past the year 9999 the error."""
    try:
        found: list[dict[str, Any] | Exception] = batch.to_pylist()
    except (OverflowError, ValueError) as error:
        if len(batch) == 1:
            return [error]
        middle = len(batch) // 2
        return _records(batch.slice(0, middle)) + _records(batch.slice(middle))
    return found


def _without_padding(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if value is not None and value != []}


def _delimiter(header: str) -> str:
    return max(",;\t|", key=header.count)


def _is_array_of_rows(source: Source) -> bool:
    return source.suffix == ".json" and isinstance(source.document, list)


JSONL = Format("jsonl", lambda source: source.suffix in {".jsonl", ".ndjson"}, read_jsonl)
JSON = Format("json", _is_array_of_rows, read_json)
CSV = Format("csv", lambda source: source.suffix in {".csv", ".tsv"}, read_csv)
PARQUET = Format(
    "parquet", lambda source: source.suffix == ".parquet" and bool(source.parquet_schema), read_parquet
)
