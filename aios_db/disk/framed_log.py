"""An append-only file of framed records that many processes write and read.

The file begins with a magic word and a generation, 16 random bytes; then each record is its length and the
CRC-32 of its content, little-endian, and the content. Whoever appends holds the lock, reads what others
wrote first, and cuts off a record that a crash left torn; whoever reads stops before one. A record that is
damaged is stepped over: behind it, reading goes on where a frame's checksum is right. Rewriting replaces the
file by one of another generation.
"""

from __future__ import annotations

import logging
import os
import struct
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from aios_db.engine.weights.files import atomic_write
from aios_db.security.permissions import open_private

logger = logging.getLogger("aios_db.store")

_MAGIC = b"aioslog1"
_HEADER = len(_MAGIC) + 16
_FRAME = struct.Struct("<II")
_LARGEST = 1 << 30  # a length beyond is no length


class FramedLog:
    """One process's view of a log; its caller sees to it that one thread uses it at a time.

    Parameters
    ----------
    path
        The file; it is made by the first `append`.
    begin
        Called when the file is another one than before: forget what `record` said.
    record
        Called with the content of each record, in order.
    """

    def __init__(self, path: Path, begin: Callable[[], None], record: Callable[[bytes], None]) -> None:
        self.path = path
        self._begin, self._record = begin, record
        self._lock = FileLock(path.with_suffix(".lock"), thread_local=False)
        self._generation = b""
        self._end = _HEADER  # of what was read
        self._seen: tuple[int, int] | None = None

    @property
    def size(self) -> int:
        """Bytes of the records read so far."""
        return self._end - _HEADER

    def catch_up(self) -> None:
        """Read what was appended since the last call; costs one look at the file when nothing was."""
        try:
            about = self.path.stat()
        except FileNotFoundError:
            if self._generation:
                self._generation, self._end, self._seen = b"", _HEADER, None
                self._begin()
            return
        if self._seen == (about.st_ino, about.st_size):
            return
        with self.path.open("rb") as file:
            generation = file.read(_HEADER)
            if not _is_log(generation, file):
                logger.warning("%s is damaged or no log; it is begun anew", self.path)
                generation = b""
            if generation != self._generation:
                self._generation, self._end = generation, _HEADER
                self._begin()
            start = self._end
            file.seek(start if generation else about.st_size)
            for at, content in _records(file.read()):
                if start + at > self._end:
                    logger.warning(
                        "%s is damaged in its bytes %d to %d; what they said is lost, and stepped over",
                        self.path, self._end, start + at,
                    )  # fmt: skip
                self._record(content)
                self._end = start + at + _FRAME.size + len(content)
        # A torn end is looked at again: what is written in its place may be as long.
        torn = generation and self._end < about.st_size
        self._seen = None if torn else (about.st_ino, about.st_size)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock, level with what others wrote."""
        with self._lock:
            self.catch_up()
            yield

    def append(self, content: bytes) -> None:
        """Add a record and read it back; only while `writing`, or under another lock of all who write."""
        if not self._generation:
            self._replace(b"")
        framed = _framed(content)
        with self.path.open("r+b", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size != self._end:
                file.truncate(self._end)
            if not self._generation.startswith(_MAGIC):  # it is damaged there, and nowhere else maybe
                file.write(_MAGIC)
            file.seek(self._end)
            file.write(framed)
        self.catch_up()

    def force(self) -> None:
        """Return when all records are on the disk."""
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            os.fdatasync(file.fileno())  # the length is forced, too; times are not

    def rewrite(self, *contents: bytes) -> None:
        """Put these records in the place of all; only while `writing`."""
        self._replace(b"".join(map(_framed, contents)))
        self.catch_up()

    def _replace(self, frames: bytes) -> None:
        # Forced, else a loss of power may leave an empty file in the place of all records.
        with (
            atomic_write(self.path, forced=True, alone=True) as part,
            open_private(part, "wb") as file,
        ):
            file.write(_MAGIC + uuid.uuid4().bytes + frames)


def damaged_bytes(path: Path) -> list[tuple[int, int]]:
    """Return where a log's damaged stretches begin and end, in bytes, of no length in what is no file."""
    if path.is_dir():
        return [(0, 0)]
    data = path.read_bytes()
    found = [] if data.startswith(_MAGIC) else [(0, min(len(_MAGIC), len(data)))]
    end = _HEADER
    for at, content in _records(data[_HEADER:]):
        if _HEADER + at > end:
            found.append((end, _HEADER + at))
        end = _HEADER + at + _FRAME.size + len(content)
    if end < len(data) or _HEADER > len(data) > 0:
        found.append((min(end, len(data)), len(data)))
    return found


def _framed(content: bytes) -> bytes:
    return _FRAME.pack(len(content), zlib.crc32(content)) + content


def _is_log(header: bytes, file: BinaryIO) -> bool:
    """Tell whether a file, open behind its header, is a log, be its header damaged."""
    if len(header) < _HEADER:
        return False
    return header.startswith(_MAGIC) or next(_records(file.read()), None) is not None


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield where each frame begins, and its content; what is none is stepped over."""
    at = 0
    while at + _FRAME.size <= len(data):
        length, checksum = _FRAME.unpack_from(data, at)
        end = at + _FRAME.size + length
        # A loss of power may leave zeros, which are the frame of an empty record; nobody writes one.
        if 0 < length <= _LARGEST and end <= len(data):
            content = data[at + _FRAME.size : end]
            if zlib.crc32(content) == checksum:
                yield at, content
                at = end
                continue
        at += 1
