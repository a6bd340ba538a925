"""A checksum of a Parquet file's footer, in the file.

Everything a reader believes about a file is in its footer, Parquet has no checksum of it, and some damaged
footers end the process inside the Parquet library. Our writer leaves twelve bytes before the footer, where
readers do not look: a mark and the CRC-32 of the footer.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO

from aios_db.engine.weights.source import Source
from aios_db.schema.errors import WeightsError

_MARK = b"aios_db\0"
_DAMAGE = 8  # bits; what differs from the mark in more of them was never one
_CRC_BYTES = 4
_TAIL = 8  # the footer's length and Parquet's magic, at the end of the file
_MAGIC = b"PAR1"


def reserve_seal(file: BinaryIO) -> None:
    """Leave room for the seal; to be called when all but the footer is written."""
    file.write(_MARK + bytes(_CRC_BYTES))


def seal_footer(file: BinaryIO) -> None:
    """Fill in the seal of a complete file, open for reading and writing."""
    end = file.seek(-_TAIL, 2)
    length = int.from_bytes(file.read(4), "little")
    file.seek(end - length)
    crc = zlib.crc32(file.read(length))
    file.seek(end - length - _CRC_BYTES)
    file.write(crc.to_bytes(_CRC_BYTES, "little"))


def footer_is_sealed(source: Source) -> bool:
    """Return whether the footer is what our writer wrote; False for files of other writers.

    Raises
    ------
    WeightsError
        The file is truncated or no Parquet file, or its footer or seal has changed since it was written.
    """
    tail = source.buffer(source.size - _TAIL, _TAIL).to_pybytes() if source.size > _TAIL else b""
    if tail[4:] != _MAGIC:
        raise WeightsError("it is truncated or no Parquet file: PAR1 is not at its end")
    length = int.from_bytes(tail[:4], "little")
    start = source.size - _TAIL - length
    if start < len(_MAGIC):
        raise WeightsError(f"its footer is said to take {length} of {source.size} bytes")
    size = len(_MARK) + _CRC_BYTES
    if start < size:
        return False
    seal = source.buffer(start - size, size).to_pybytes()
    mark, crc = seal[: len(_MARK)], int.from_bytes(seal[len(_MARK) :], "little")
    flipped = (int.from_bytes(mark, "little") ^ int.from_bytes(_MARK, "little")).bit_count()
    if flipped > _DAMAGE:
        return False
    # A damaged mark must not pass for another writer's file, of which nothing is checked.
    if flipped or zlib.crc32(source.buffer(start, length)) != crc:
        raise WeightsError("its footer or the seal before it has changed since it was written")
    return True
