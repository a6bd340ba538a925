"""What a format is to the importer: a name, a test whether a file is of it, and a reader of its records."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone, tzinfo
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from aios_db.importers.encoding import find_encoding
from aios_db.times import day_comes_first, parse_time

_CHUNK = 1 << 20
_NEEDS_ORDER = re.compile(r"(?<!\d)\d{1,2}[/.-]\d{1,2}[/.-]\d")
_DIGITS = 4000  # Python reads no longer numbers, by default


@dataclass(frozen=True)
class Row:
    """A memory to be: the fields `remember` takes, and where they were read."""

    fields: Mapping[str, Any]
    location: str
    """``file:line``, or the nearest thing to a line that the format has."""
    progress: float
    """Share of the file read with this row, 0 to 1."""
    key: str | None = None
    """The name other rows of the file use for this one in ``related``."""
    related: tuple[str, ...] = ()
    place: str | None = None
    """What tells this row from the others of its file, the same when the file is read again."""
    problems: tuple[str, ...] = ()
    """Optional values that made no sense: they are in the metadata, and the row is imported."""


@dataclass(frozen=True)
class Rejected:
    """A record that cannot become a memory; it is reported and set aside."""

    location: str
    reason: str
    content: str
    """The record as it was read, shortened to what a person needs to find and mend it."""
    progress: float = 1.0
    source: str | None = None
    """Where it comes from, of an import that has one source."""
    time_zone: str | None = None
    """The zone of its times that name none, of an import that was told one."""


@dataclass(frozen=True)
class Skipped:
    """A record with nothing to remember in it, such as a tool call without words; it is counted."""

    location: str
    reason: str
    progress: float = 1.0


Record = Row | Rejected | Skipped
MAX_REJECTED_CONTENT = 1_000_000


class UnreadableError(ValueError):
    """The file as a whole is not what its name says."""

    def __init__(self, location: str, reason: str) -> None:
        super().__init__(f"{location}: {reason}")
        self.location, self.reason = location, reason


@dataclass(frozen=True)
class Options:
    """What the user says about files beforehand."""

    encoding: str | None = None
    """The encoding of text files; found out when None."""
    header: bool = True
    """Whether the first line of a CSV file names its columns; else they are ``column_1``, ``column_2``, …"""
    mapping: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Names of fields in the files by our columns: ``{"text": "body"}``."""
    zone: tzinfo = timezone.utc
    """The zone of times that name none."""

    @property
    def time_zone(self) -> str | None:
        """The name of the zone that the user said, or None."""
        return None if self.zone is timezone.utc else str(self.zone)


@dataclass
class Source:
    """A file to be imported; what detection has to parse is kept for reading."""

    path: Path
    root: Path = field(default_factory=Path)
    """The folder the user named, or the file's own: names are shown and stored relative to it."""
    options: Options = field(default_factory=Options)
    label: str | None = None
    """The name when it isn't the path under ``root``, as for a file out of an archive."""

    @cached_property
    def name(self) -> str:
        """The path under ``root``, with forward slashes."""
        name = self.label or self.path.relative_to(self.root).as_posix()
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    def named(self, label: str) -> Source:
        """Return the same file under another name."""
        return Source(self.path, self.root, self.options, label)

    @cached_property
    def suffix(self) -> str:
        """The lower-case ending with its dot, ``.jsonl``."""
        return self.path.suffix.lower()

    @cached_property
    def encoding(self) -> str:
        """The encoding of the file, as the user says or as its bytes tell."""
        try:
            return self.options.encoding or find_encoding(self.chunks())
        except ValueError as error:
            raise UnreadableError(self.name, str(error)) from None

    @cached_property
    def day_first(self) -> bool | None:
        """Whether dates such as 03/04/2023 begin with the day, by the other dates of the file."""
        votes = 0
        for chunk in self.chunks():
            found = day_comes_first(chunk.replace(b"\0", b""))
            votes += 0 if found is None else 1 if found else -1
        return None if votes == 0 else votes > 0

    def moment(self, value: object) -> datetime:
        """Return the time that a value names, in UTC, or raise `ValueError` when it names none."""
        needs_order = isinstance(value, str) and _NEEDS_ORDER.search(value)
        day_first = self.day_first if needs_order else None
        return parse_time(value, day_first=day_first, zone=self.options.zone)

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes of the file in pieces."""
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def open_text(self, newline: str | None = "") -> IO[str]:
        """Open the file as text; bytes that the encoding does not know become lone surrogates."""
        errors = "surrogateescape" if self.encoding.startswith("utf-8") else "replace"
        return self.path.open(encoding=self.encoding, errors=errors, newline=newline)

    @cached_property
    def text(self) -> str:
        """The whole file as text, without a byte order mark."""
        with self.open_text(newline=None) as file:
            return file.read().removeprefix("\ufeff")

    @cached_property
    def document(self) -> Any:
        """The whole file as parsed JSON; of several documents one after the other, a list."""
        text = self.text
        try:
            return parse_json(text)
        except json.JSONDecodeError as error:
            documents = _several(text) if error.msg == "Extra data" else None
            if documents is not None:
                return documents
            raise UnreadableError(f"{self.name}:{error.lineno}", f"is not JSON: {error.msg}") from None
        except RecursionError:
            raise UnreadableError(self.name, "is nested too deeply to be read as JSON") from None

    @cached_property
    def parquet_schema(self) -> Any:
        """The Arrow schema of a Parquet file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.read_schema(self.path)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UnreadableError(self.name, f"is not a Parquet file: {first_line(error)}") from None

    def sha256(self) -> str:
        """Return the digest of the file's content as hexadecimal digits."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def forget(self) -> None:
        """Drop what was parsed, so that a folder of large files is not held in memory at once."""
        for name in ("text", "document", "parquet_schema"):
            self.__dict__.pop(name, None)


@dataclass(frozen=True)
class Format:
    """A file format: one module of this package, one entry in `aios_db.importers.FORMATS`."""

    name: str
    detect: Callable[[Source], bool]
    """True when a file is of this format. May raise `UnreadableError`."""
    read: Callable[[Source], Iterator[Record]]
    """Yield the records, always the same for the same bytes: an interrupted import counts them to go on."""


def parse_json(text: str) -> Any:
    """Return a JSON document; a whole number too long for Python stays text."""
    return json.loads(text, parse_int=_integer)


def _integer(digits: str) -> int | str:
    limit = getattr(sys, "get_int_max_str_digits", int)() or _DIGITS  # early releases of 3.10 have none
    return int(digits) if len(digits) <= min(_DIGITS, limit) else digits


def _several(text: str) -> list[Any] | None:
    """Return the documents of a text that holds one after the other, None when something else is between."""
    decoder, documents, position = json.JSONDecoder(parse_int=_integer), [], 0
    try:
        while position < len(text):
            document, position = decoder.raw_decode(text, position)
            documents.append(document)
            while position < len(text) and text[position].isspace():
                position += 1
    except (ValueError, RecursionError):
        return None
    return documents


def shorten(content: object) -> str:
    """Return a record as text for the file of rejected rows."""
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_REJECTED_CONTENT else text[:MAX_REJECTED_CONTENT] + "…"


def first_line(error: BaseException) -> str:
    """Return an error's message, its first line only."""
    return (str(error).splitlines() or [type(error).__name__])[0]
