from __future__ import annotations

from collections.abc import Callable

import pytest

from aios_db.engine.frontends.audio import decode_audio
from aios_db.engine.frontends.views import open_picture
from aios_db.schema.errors import DataError

DECODERS: dict[str, Callable[[bytes], object]] = {
    "audio": lambda data: decode_audio(data, 16_000),
    "image": lambda data: open_picture(data, 32),
}
CONTENTS = [
    b"",
    b"neither",
    b"RIFF\x10\0\0\0WAVEfmt ",
    b"\x89PNG\r\n\x1a\n\0\0",
    b"\xff\xd8\xff\xe0\0",
    b"GIF89a",
]


@pytest.mark.parametrize("data", CONTENTS)
@pytest.mark.parametrize("kind", DECODERS)
def test_bytes_that_cannot_be_decoded_are_told_by_length_and_beginning(kind: str, data: bytes) -> None:
    pytest.importorskip("soundfile" if kind == "audio" else "PIL")
    with pytest.raises(DataError) as caught:
        DECODERS[kind](data)
    head = f"starts with {data[:8].hex(' ')}" if data else "empty"
    assert str(caught.value).startswith(f"{kind} of {len(data)} bytes ({head}) cannot be decoded: ")
    assert "object at 0x" not in str(caught.value)
