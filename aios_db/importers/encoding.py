"""Which encoding a file is in: a byte order mark, valid UTF-8, UTF-16 without a mark, or a code page."""

from __future__ import annotations

import codecs
from collections.abc import Iterable

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 1 << 16
_CONTROLS = [chr(code) for code in range(32) if chr(code) not in "\t\n\f\r\x1b"]
# Ten letters beyond ASCII tell a code page from another; of fewer, it is Western European.
_ENOUGH = 10
_CODE_PAGES = ("gb18030", "big5", "shift_jis", "euc_jp", "euc_kr", "cp1251", "koi8_r", "cp1253", "cp1255")


def find_encoding(chunks: Iterable[bytes]) -> str:
    """Return the Python name of the encoding of a file, given its bytes in pieces.

    A file that is UTF-8 but for a few bytes is UTF-8: whoever reads it meets these as lone surrogates
    (``errors="surrogateescape"``). The others are told apart by their letters, and when those are too few,
    Windows-1252 is taken.

    Raises
    ------
    ValueError
        When the bytes are no text in any encoding.
    """
    start = b""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    bad = letters = 0
    name = None
    for chunk in chunks:
        if not start:
            marked = next((name for mark, name in _MARKS if chunk.startswith(mark)), None)
            name = marked or _wide(chunk[:_SAMPLE])
        if len(start) < _SAMPLE:
            start += chunk[: _SAMPLE - len(start)]
        if name:
            break
        text = decoder.decode(chunk)
        if not text.isascii():
            here = sum("\udc80" <= character <= "\udcff" for character in text)
            bad += here
            letters += sum(character > "\x7f" for character in text) - here
    if name is None:
        bad += len(decoder.decode(b"", final=True))
        name = "utf-8" if not bad or letters > bad else "cp1252"
        _refuse_binary(start, name)
        return name if name == "utf-8" else _code_page(start)
    _refuse_binary(start, name)
    return name


def _refuse_binary(sample: bytes, encoding: str) -> None:
    """Raise `ValueError` for what holds more control characters than a text does, as pictures do."""
    text = sample.decode(encoding, "replace")
    controls = sum(map(text.count, _CONTROLS))
    if encoding.startswith("utf-") and not encoding.startswith("utf-8"):
        controls += max(0, text.count("\ufffd") - 1)  # the sample may end inside of a character
    if controls > len(text) / 50:
        raise ValueError("is not text")


def _wide(sample: bytes) -> str | None:
    """Return UTF-16 of one byte order or the other when every second byte is mostly zero."""
    half = len(sample) // 2
    if half < 2:
        return None
    even, odd = sample[0 : 2 * half : 2].count(0), sample[1 : 2 * half : 2].count(0)
    if odd > 0.4 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 * half and odd < 0.05 * half else None


def _code_page(sample: bytes) -> str:
    from charset_normalizer import from_bytes

    if sum(byte > 0x7F for byte in sample) >= _ENOUGH:
        best = from_bytes(sample, cp_isolation=[*_CODE_PAGES, "cp1252"]).best()
        if best is not None:
            return best.encoding
    return "cp1252"
