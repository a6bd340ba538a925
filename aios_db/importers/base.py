"""What a format is to the importer: a name, a test whether a file is of it, and a reader of its records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa


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


@dataclass(frozen=True)
class Rejected:
    """A record that cannot become a memory; it is reported and set aside."""

    location: str
    reason: str
    content: str
    """The record as it was read, shortened to what a person needs to find and mend it."""
    progress: float = 1.0


Record = Row | Rejected
MAX_REJECTED_CONTENT = 10_000


class UnreadableError(ValueError):
    """The file as a whole is not what its name says."""

    def __init__(self, location: str, reason: str) -> None:
        super().__init__(f"{location}: {reason}")
        self.location, self.reason = location, reason


@dataclass
class Source:
    """A file to be imported; what detection has to parse is kept for reading."""

    path: Path
    root: Path = field(default_factory=Path)
    """The folder the user named, or the file's own: names are shown and stored relative to it."""

    @cached_property
    def name(self) -> str:
        """The path under ``root``, with forward slashes."""
        return self.path.relative_to(self.root).as_posix()

    @cached_property
    def suffix(self) -> str:
        """The lower-case ending with its dot, ``.jsonl``."""
        return self.path.suffix.lower()

    @cached_property
    def text(self) -> str:
        """The whole file as UTF-8, without a byte order mark."""
        data = self.path.read_bytes()
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise UnreadableError(f"{self.name}:{line}", "is not UTF-8 text") from None

    @cached_property
    def document(self) -> Any:
        """The whole file as parsed JSON."""
        try:
            return json.loads(self.text)
        except json.JSONDecodeError as error:
            raise UnreadableError(f"{self.name}:{error.lineno}", f"is not JSON: {error.msg}") from None
        except RecursionError:
            raise UnreadableError(self.name, "is nested too deeply to be read as JSON") from None

    @cached_property
    def parquet_schema(self) -> pa.Schema:
        """The Arrow schema of a Parquet file."""
        import pyarrow.parquet as pq

        try:
            return pq.read_schema(self.path)
        except (pa.ArrowException, OSError) as error:
            raise UnreadableError(self.name, f"is not a Parquet file: {_first_line(error)}") from None

    def sha256(self) -> str:
        """Return the digest of the file's content as hexadecimal digits."""
        with self.path.open("rb") as file:
            digest = hashlib.sha256()
            while chunk := file.read(1 << 20):
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


def shorten(content: object) -> str:
    """Return a record as text for the file of rejected rows."""
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_REJECTED_CONTENT else text[:MAX_REJECTED_CONTENT] + "…"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
