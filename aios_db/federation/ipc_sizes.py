"""How large an Arrow file is in memory, from its metadata: before a compressed buffer is unpacked.

An IPC file ends with a footer that says where its record batches lie. Before each is a message with the
places of its buffers, and before each compressed buffer the bytes that it unpacks to, as 8 bytes
little-endian (Arrow columnar format, "IPC File Format"). Messages are FlatBuffers, of which a few fields are
read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from aios_db.schema.errors import WeightsError

_MAGIC = b"ARROW1"
_TAIL = 4 + len(_MAGIC)  # the footer's length and the magic
_BLOCK = struct.Struct("<qi4xq")  # offset, bytes of metadata, bytes of the body
_BUFFER = struct.Struct("<qq")  # offset in the body, bytes
_RECORD_BATCHES = 3  # field of the footer
_VERSION, _HEADER_TYPE, _HEADER, _CUSTOM = 0, 1, 2, 4  # fields of a message
_BUFFERS, _COMPRESSION = 2, 3  # fields of a record batch
_IS_RECORD_BATCH, _VERSION_5 = 3, 4
_CONTINUED = 0xFFFFFFFF


def unpacked_bytes(content: bytes) -> int:
    """Return the bytes that all record batches of an Arrow file have in memory; dictionaries are left out.

    Raises
    ------
    WeightsError
        It is no Arrow file, or its metadata is damaged.
    """
    try:
        blocks = _blocks(content)
        if sum(metadata + body for _, metadata, body in blocks) > len(content):
            raise WeightsError("not an Arrow file: its record batches are in each other's place")
        return sum(_batch_bytes(content, *block) for block in blocks)
    except (struct.error, IndexError) as error:
        raise WeightsError(f"not an Arrow file: its metadata is damaged: {error}") from error


def _blocks(content: bytes) -> list[tuple[int, int, int]]:
    """Return where each record batch begins, and the bytes of its metadata and of its body."""
    if len(content) < _TAIL or content[-len(_MAGIC) :] != _MAGIC:
        raise WeightsError("not an Arrow file: it does not end as one")
    start = len(content) - _TAIL - _at("<i", content, len(content) - _TAIL)
    place, count = _root(content, start).vector(_RECORD_BATCHES)
    blocks = []
    for number in range(count):
        offset, metadata, body = _unpack(_BLOCK, content, place + number * _BLOCK.size)
        if metadata < 8 or body < 0:
            raise WeightsError("not an Arrow file: a record batch has no metadata")
        blocks.append((offset, metadata, body))
    return blocks


def _batch_bytes(content: bytes, start: int, metadata: int, body: int) -> int:
    continued = _at("<I", content, start) == _CONTINUED
    message = _root(content, start + (8 if continued else 4))
    if message.scalar(_HEADER_TYPE, "<B") != _IS_RECORD_BATCH:
        raise WeightsError("not an Arrow file: a record batch is none")
    if message.scalar(_VERSION, "<h") < _VERSION_5 and message.place(_CUSTOM) is not None:
        raise WeightsError("a file of a version of Arrow before 1.0, which may be compressed in its own way")
    batch = message.table(_HEADER)
    compressed = batch.place(_COMPRESSION) is not None
    place, count = batch.vector(_BUFFERS)
    if count * _BUFFER.size > metadata:
        raise WeightsError("not an Arrow file: a record batch has more buffers than its metadata")
    total = 0
    for number in range(count):
        offset, size = _unpack(_BUFFER, content, place + number * _BUFFER.size)
        if not (0 <= offset <= body and 0 <= size <= body - offset):
            raise WeightsError("not an Arrow file: a buffer is not in it")
        if compressed and size:
            unpacked = _at("<q", content, start + metadata + offset)
            size = size - 8 if unpacked == -1 else unpacked  # -1: this buffer is as it is
            if size < 0:
                raise WeightsError(f"not an Arrow file: a buffer unpacks to {size} bytes")
        total += size
    return total


@dataclass(frozen=True)
class _Table:
    """A table of FlatBuffers: fields by number, at places that its vtable has."""

    content: bytes
    start: int

    def place(self, field: int) -> int | None:
        vtable = self.start - _at("<i", self.content, self.start)
        entry = 4 + 2 * field
        if entry + 2 > _at("<H", self.content, vtable):
            return None
        offset = _at("<H", self.content, vtable + entry)
        return self.start + offset if offset else None

    def scalar(self, field: int, kind: str) -> int:
        place = self.place(field)
        return 0 if place is None else _at(kind, self.content, place)

    def table(self, field: int) -> _Table:
        place = self.place(field)
        if place is None:
            raise WeightsError("not an Arrow file: a message has no header")
        return _Table(self.content, place + _at("<I", self.content, place))

    def vector(self, field: int) -> tuple[int, int]:
        """Return where the elements of a vector begin, and their number."""
        place = self.place(field)
        if place is None:
            return 0, 0
        start = place + _at("<I", self.content, place)
        return start + 4, _at("<I", self.content, start)


def _root(content: bytes, start: int) -> _Table:
    return _Table(content, start + _at("<I", content, start))


def _at(kind: str, content: bytes, place: int) -> int:
    return int(_unpack(struct.Struct(kind), content, place)[0])


def _unpack(kind: struct.Struct, content: bytes, place: int) -> tuple[int, ...]:
    if place < 0:  # which Python would count from the end
        raise IndexError(f"place {place}")
    return kind.unpack_from(content, place)
