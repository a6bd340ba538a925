"""A text as compressed bytes that say of themselves what they are: `compress` and `reconstruct` in SQL.

A frame is two bytes of magic, the version of the format, a codec, the length of the UTF-8 as a LEB128 varint,
the CRC-32 of it in four bytes, little-endian, and the payload. The codec that makes fewest bytes of a text
is taken: Zstandard (RFC 8878), Brotli (RFC 7932, whose built-in dictionary of English suits short texts), or
none.
"""

from __future__ import annotations

import zlib
from enum import IntEnum

import pyarrow as pa

from aios_db.schema.errors import DataError

MAGIC = b"\xa1T"
VERSION = 1
MOST_BYTES = 1 << 24
"""Longest text, in bytes of UTF-8, that a frame may hold unless told otherwise."""

_CHECKSUM_BYTES = 4
_VARINT_BYTES = 5
_NEITHER = "not a compressed text"


class Codec(IntEnum):
    """How the payload of a frame is compressed."""

    STORED = 0
    ZSTD = 1
    BROTLI = 2


_LEVELS = {Codec.ZSTD: ("zstd", 19), Codec.BROTLI: ("brotli", 11)}
_LONG = 1 << 16  # bytes from which Brotli at its best takes longer than it is worth


def compress(text: str, most_bytes: int = MOST_BYTES) -> bytes:
    """Return the frame of a text.

    Raises
    ------
    DataError
        The text has more than ``most_bytes``, or is no valid Unicode.
    """
    try:
        plain = text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"cannot compress a text that is not valid Unicode: {error}") from error
    if len(plain) > most_bytes:
        raise DataError(f"cannot compress a text of {len(plain)} bytes; the limit is {most_bytes}")
    payloads = {Codec.STORED: plain}
    for codec in (Codec.ZSTD,) if len(plain) > _LONG else _LEVELS:
        payloads[codec] = _codec(codec).compress(plain, asbytes=True)
    codec = min(payloads, key=lambda each: (len(payloads[each]), each))
    head = MAGIC + bytes([VERSION, codec]) + _varint(len(plain))
    return head + zlib.crc32(plain).to_bytes(_CHECKSUM_BYTES, "little") + payloads[codec]


def reconstruct(frame: bytes, most_bytes: int = MOST_BYTES) -> str:
    """Return the text of a frame, bit for bit.

    Parameters
    ----------
    frame
        From `compress`, or bytes of a stranger: no more memory is asked for than the frame claims and
        ``most_bytes`` allows.

    Raises
    ------
    DataError
        It is no frame, of a newer format, damaged, or of a text longer than ``most_bytes``.
    """
    if frame[: len(MAGIC)] != MAGIC or len(frame) < len(MAGIC) + 2:
        raise DataError(f"{_NEITHER}: give what compress(text) returned")
    version, number = frame[len(MAGIC)], frame[len(MAGIC) + 1]
    if version != VERSION:
        raise DataError(f"a compressed text of format {version}; this version reads format {VERSION}")
    if number not in set(Codec):
        raise DataError(f"{_NEITHER}: it names codec {number}, which there is not")
    length, start = _read_varint(frame, len(MAGIC) + 2)
    if length > most_bytes:
        raise DataError(f"the compressed text claims {length} bytes; the limit is {most_bytes}")
    checksum, payload = frame[start : start + _CHECKSUM_BYTES], frame[start + _CHECKSUM_BYTES :]
    plain = _decompressed(Codec(number), payload, length)
    if len(plain) != length or zlib.crc32(plain).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
        raise DataError("the compressed text is damaged: its length or its checksum is another")
    try:
        return plain.decode()
    except UnicodeDecodeError as error:
        raise DataError("the compressed text is damaged: it is not valid UTF-8") from error


def _codec(codec: Codec) -> pa.Codec:
    name, level = _LEVELS[codec]
    return pa.Codec(name, compression_level=level)


def _decompressed(codec: Codec, payload: bytes, length: int) -> bytes:
    if codec is Codec.STORED:
        return payload
    try:
        plain: bytes = _codec(codec).decompress(payload, length, asbytes=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"the compressed text is damaged: {error}") from error
    return plain


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _read_varint(frame: bytes, start: int) -> tuple[int, int]:
    """Return a number and where what follows it begins."""
    number = 0
    for place, byte in enumerate(frame[start : start + _VARINT_BYTES]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, start + place + 1
    raise DataError(f"{_NEITHER}: it ends within its header, or names no length")
