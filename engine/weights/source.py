"""The bytes of a file, mapped or read: what `WeightFile` stands on."""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from aios_db.engine.weights import pages
from aios_db.schema.errors import WeightsError


class Source(Protocol):
    """A file that hands out parts of itself as Arrow buffers."""

    parquet: pa.NativeFile
    """For pyarrow's Parquet reader."""
    size: int
    """Bytes in the file."""

    def buffer(self, offset: int, length: int) -> pa.Buffer:
        """Return a part of the file."""

    def resident(self, offset: int, length: int) -> int:
        """Return how many bytes of a part are mapped into this process and in memory."""

    def release(self, offset: int, length: int) -> None:
        """Let go of a part's memory; buffers of it stay valid."""

    def close(self) -> None:
        """Close the file; buffers stay valid."""


class MappedSource:
    """A mapped file: its buffers are views of the mapping.

    The mapping is private and writable (copy on write): a stray in-place operation on a tensor changes
    memory of this process and not the file, where a read-only mapping would end the process.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not status.st_size:
                raise WeightsError("the file is empty")
            self._identity = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
            self._mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._whole = pa.py_buffer(self._mapping)
        self.parquet = pa.BufferReader(self._whole)
        self.size = len(self._mapping)

    @property
    def address(self) -> int:
        """Where in memory the mapping begins."""
        return int(self._whole.address)

    def offset_of(self, address: int) -> int | None:
        """Return where in the file ``address`` is; None when it is not in the mapping."""
        offset = address - self.address
        return offset if 0 <= offset < self.size else None

    def is_same(self, status: os.stat_result) -> bool:
        """Whether ``status`` is that of the mapped file, unchanged since."""
        return self._identity == (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    def buffer(self, offset: int, length: int) -> pa.Buffer:
        """Return a view of a part."""
        return self._whole.slice(offset, length)

    def resident(self, offset: int, length: int) -> int:
        """Return how many bytes of a part this process has in memory."""
        return pages.resident_bytes(self.address + offset, length)

    def cached(self, offset: int, length: int) -> int:
        """Return how many bytes of a part are in the page cache."""
        return pages.cached_bytes(self.address + offset, length)

    def release(self, offset: int, length: int) -> None:
        """Give the pages of a part back; views of it read them again."""
        pages.release(self._mapping, offset, length)

    def close(self) -> None:
        """Close the reader; the mapping lives as long as a view of it."""
        self.parquet.close()


class FileSource:
    """A file that is read: every buffer is a copy."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._file = pa.OSFile(str(path))
        self.parquet = pa.OSFile(str(path))
        self.size = int(self._file.size())

    def buffer(self, offset: int, length: int) -> pa.Buffer:
        """Read a part."""
        with self._lock:
            self._file.seek(offset)
            return self._file.read_buffer(length)

    def resident(self, offset: int, length: int) -> int:
        """Return 0: nothing is mapped."""
        return 0

    def release(self, offset: int, length: int) -> None:
        """Do nothing: a buffer is its owner's."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self.parquet.close()
