"""What is said of bytes that are no sound or picture."""

from __future__ import annotations

import re

from aios_db.schema.errors import DataError

_BUFFER = re.compile(r" *<_io\.BytesIO object at 0x[0-9a-fA-F]+>")  # what decoders name bytes in memory


def undecodable(kind: str, data: bytes, error: Exception) -> DataError:
    """Return the error for bytes of a ``kind``, ``"audio"`` or ``"image"``, that a decoder refuses."""
    head = f"starts with {data[:8].hex(' ')}" if data else "empty"
    why = _BUFFER.sub("", str(error)) or type(error).__name__
    return DataError(f"{kind} of {len(data)} bytes ({head}) cannot be decoded: {why}")
