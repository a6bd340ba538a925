"""Tables: CSV in the dialects that programs write, Parquet and Arrow; one record a row."""

from __future__ import annotations

import csv
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import IO, TYPE_CHECKING, Any

from aios_db.importers.base import Format, Record, Rejected, Row, Source, UnreadableError, first_line
from aios_db.importers.fields import means
from aios_db.importers.records import make_record
from aios_db.importers.rows import read_row

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 1024
_SAMPLE_LINES = 50
_DELIMITERS = ",;\t|"


def read_csv(source: Source) -> Iterator[Record]:
    """Yield one record a row; the first line names the columns, the delimiter is found out."""
    csv.field_size_limit(sys.maxsize)
    size = max(1, source.path.stat().st_size)
    with source.open_text() as file:
        lines = _lines(file)
        sample = list(islice(lines, _SAMPLE_LINES))
        sample, skipped, said = _without_sep(sample)
        delimiter = said or _delimiter(sample, source.suffix == ".tsv")
        reader = csv.reader(chain(sample, lines), delimiter=delimiter)
        names = _names(source, reader, sample, delimiter)
        if not names:
            return
        while True:
            location = f"{source.name}:{reader.line_num + 1 + skipped}"
            progress = min(1.0, os.lseek(file.fileno(), 0, os.SEEK_CUR) / size)
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Rejected(location, f"is not CSV: {error}", "", progress)
                continue
            if not any(cell.strip() for cell in cells):
                continue  # a line of nothing but delimiters
            record, extra = _cells(names, cells, delimiter)
            made = make_record(source, record, location, progress)
            yield _with_problem(made, "cells without a column") if extra else made


def _lines(file: IO[str]) -> Iterator[str]:
    for line in file:
        yield line.replace("\0", "").removeprefix("\ufeff")


def _without_sep(sample: list[str]) -> tuple[list[str], int, str | None]:
    """Return the lines without Excel's ``sep=;``, how many went, and the delimiter it names."""
    first = sample[0].strip().strip('"') if sample else ""
    if first.lower().startswith("sep=") and len(first) <= 5:
        return sample[1:], 1, first[4:] or "\t"
    return sample, 0, None


def _delimiter(sample: list[str], tabs: bool) -> str:
    """Return the delimiter that gives the most lines as many cells as the first has."""
    if tabs and any("\t" in line for line in sample):
        return "\t"

    def score(delimiter: str) -> tuple[float, int]:
        try:
            widths = [len(row) for row in csv.reader(sample, delimiter=delimiter) if row]
        except csv.Error:
            return 0.0, 0
        if not widths or widths[0] < 2:
            return 0.0, 0
        return round(widths.count(widths[0]) / len(widths), 1), widths[0]

    return max(_DELIMITERS, key=score)


def _names(source: Source, reader: Any, sample: list[str], delimiter: str) -> list[str]:
    """Return the names of the columns, and check what the user says about them."""
    rows = [row for row in csv.reader(sample, delimiter=delimiter) if row]
    if not rows:
        return []
    if source.options.header:
        header = next(row for row in reader if row)
        names = _distinct([name.strip() or f"column_{at}" for at, name in enumerate(header, start=1)])
    else:
        names = [str(at) for at in range(1, max(map(len, rows)) + 1)]
    known = {name.casefold() for name in names}
    for column, field in source.options.mapping.items():
        if field.casefold() not in known:
            raise UnreadableError(
                source.name, f"has no column {field!r} for {column}; its columns are {', '.join(names)}"
            )
    if _text_names(source, names):
        return names
    if not source.options.header or len(names) == 1:  # the column with the most to read
        widest = max(range(len(names)), key=lambda at: sum(len(row[at]) for row in rows if at < len(row)))
        names[widest] = "text"
    return names


def _text_names(source: Source, names: list[str]) -> list[str]:
    wanted = source.options.mapping.get("text")
    return [
        name for name in names if (name.casefold() == wanted.casefold() if wanted else means(name, "text"))
    ]


def _distinct(names: list[str]) -> list[str]:
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return distinct


def _cells(names: list[str], cells: list[str], delimiter: str) -> tuple[dict[str, Any], bool]:
    """Return a row by its columns, and whether it had cells beyond them."""
    while len(cells) > len(names) and not cells[-1].strip():
        cells.pop()
    record: dict[str, Any] = dict(zip(names, cells, strict=False))
    extra = cells[len(names) :]
    if extra and means(names[-1], "text"):  # a delimiter nobody quoted
        record[names[-1]] = delimiter.join([record[names[-1]], *extra])
    elif extra:
        record["cells"] = extra
    return record, bool(extra)


def _with_problem(record: Record, problem: str) -> Record:
    return replace(record, problems=(*record.problems, problem)) if isinstance(record, Row) else record


def read_parquet(source: Source) -> Iterator[Record]:
    """Yield one record a row, read a batch at a time."""
    import pyarrow.parquet as pq

    yield from _read_batches(
        source,
        lambda: pq.ParquetFile(source.path),
        lambda file: (file.metadata.num_rows, file.iter_batches(BATCH)),
    )


def read_arrow(source: Source) -> Iterator[Record]:
    """Yield one record a row of an Arrow file or stream, Feather among them."""
    import pyarrow as pa
    from pyarrow import feather

    def open_file() -> Any:
        try:
            return feather.read_table(source.path, memory_map=False)
        except pa.ArrowInvalid:
            return pa.ipc.open_stream(source.path.open("rb")).read_all()

    yield from _read_batches(source, open_file, lambda table: (len(table), table.to_batches(BATCH)))


def _read_batches(source: Source, open_file: Any, batches_of: Any) -> Iterator[Record]:
    import pyarrow as pa

    number = 0
    try:
        total, batches = batches_of(open_file())
        for batch in batches:
            for record in _records(batch):
                number += 1
                location = f"{source.name}:{number}"
                session = f"{source.name}:{number}"
                yield from read_row(source, _without_padding(record), location, number / total, session)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UnreadableError(
            f"{source.name}:{number + 1}", f"cannot be read further: {first_line(error)}"
        ) from None


def _records(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the rows of a batch; a value that Python cannot hold, such as a date past 9999, as text."""
    try:
        found: list[dict[str, Any]] = batch.to_pylist()
        return found
    except (OverflowError, ValueError):
        if len(batch) > 1:
            middle = len(batch) // 2
            return _records(batch.slice(0, middle)) + _records(batch.slice(middle))
    return [{name: _value(batch.column(at)[0]) for at, name in enumerate(batch.schema.names)}]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        return str(scalar.cast("string").as_py())


def _without_padding(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if value is not None and value != []}


CSV = Format("csv", lambda source: source.suffix in {".csv", ".tsv"}, read_csv)
PARQUET = Format(
    "parquet", lambda source: source.suffix == ".parquet" and bool(source.parquet_schema), read_parquet
)
ARROW = Format("arrow", lambda source: source.suffix in {".arrow", ".feather", ".ipc"}, read_arrow)
