"""Texts as what they say: a summary with names and numbers, and apart from it what is missing to the text.

The `Compressor` keeps a summary of a text, the names and numbers that the summary lacks, and, where wanted,
the difference to the text: the text deflated with the summary as its dictionary (RFC 1951). With it the
`Reconstructor` gives the text back, bit for bit; without, a paraphrase: the summary, and the names behind
it. A paraphrase too far from its text is not made: the text stays, compressed without loss.

A frame is two bytes of magic, the version of the format, and, deflated, four parts, each behind its length in
four bytes, little-endian: the digest of the text, the summary, the names, one a line, and the difference,
which may be empty.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aios_db.lifecycle.salience import salient
from aios_db.schema import packed_text
from aios_db.schema.errors import DataError

MAGIC = b"\xa1G"
VERSION = 1
_LENGTH = struct.Struct("<I")
_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_DIGEST_BYTES = 16
_WINDOW = 32_768  # bytes of a dictionary that Deflate sees
_DAMAGED = "the summary of a text is damaged"

Summarise = Callable[[str], str]
Encode = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class Fidelity:
    """How near a paraphrase is to its text."""

    cosine: float
    """Of their vectors."""
    kept: float
    """Share of the text's names and numbers that the paraphrase has; 0 where it lost that the text denies."""

    @property
    def score(self) -> float:
        """The lesser of both."""
        return min(self.cosine, self.kept)


@dataclass(frozen=True)
class Compressed:
    """What a `Compressor` made of a text."""

    frame: bytes
    exact: bool
    """Whether the text comes back, bit for bit."""
    fidelity: Fidelity
    """Of the paraphrase that was made, or that was refused."""


class Compressor:
    """Makes frames of texts.

    Parameters
    ----------
    summarise
        Returns a text that says in fewer words what one says.
    encode
        Returns float32 ``(n, dimension)`` unit vectors of texts.
    floor
        Least `Fidelity.score` of a paraphrase; below it, the text itself is kept.
    """

    def __init__(self, summarise: Summarise, encode: Encode, floor: float) -> None:
        self._summarise, self._encode, self._floor = summarise, encode, floor

    def compress(self, text: str, *, detail: bool = True) -> Compressed:
        """Return the frame of a text, with what is missing to it where ``detail`` is wanted.

        Raises
        ------
        DataError
            The text is no valid Unicode, or longer than a frame may hold.
        """
        whole = packed_text.compress(text)
        summary = self._summarise(text)
        names = _as_written(salient(text) - salient(summary) - {_DENIAL}, text)
        said = paraphrase(summary, names)
        fidelity = self._fidelity(text, said)
        difference = _difference(text.encode(), summary.encode()) if detail else b""
        frame = _frame(text, summary, names, difference)
        if fidelity.score < self._floor or len(without_detail(frame)) >= len(whole):
            return Compressed(whole, exact=True, fidelity=fidelity)
        return Compressed(frame, exact=detail, fidelity=fidelity)

    def _fidelity(self, text: str, said: str) -> Fidelity:
        if not text.strip() or not said.strip():
            return Fidelity(float(text == said), float(text == said))
        one, other = self._encode([text, said])
        wanted, there = salient(text), salient(said)
        kept = len(wanted & there) / len(wanted) if wanted else 1.0
        if _DENIAL in wanted - there:
            kept = 0.0
        return Fidelity(float(one @ other), kept)


class Reconstructor:
    """Makes texts of frames.

    Parameters
    ----------
    most_bytes
        Longest text, in bytes of UTF-8, that is made.
    """

    def __init__(self, most_bytes: int = packed_text.MOST_BYTES) -> None:
        self._most_bytes = most_bytes

    def reconstruct(self, frame: bytes) -> str:
        """Return the text of a frame: itself where the difference was kept, else its paraphrase.

        Raises
        ------
        DataError
            It is no frame, damaged, of a newer format, or of a text longer than ``most_bytes``.
        """
        if frame[: len(MAGIC)] != MAGIC:
            return packed_text.reconstruct(frame, self._most_bytes)
        digest, summary, names, difference = _parts(frame)
        said = _text(summary)
        if not difference:
            return paraphrase(said, [each for each in _text(names).split("\n") if each])
        plain = _applied(difference, summary, self._most_bytes)
        if _digest(plain) != digest:
            raise DataError(f"{_DAMAGED}: the text that it gives is another")
        return _text(plain)


def without_detail(frame: bytes) -> bytes:
    """Return a frame without the difference, of which only the paraphrase comes back; others as they are."""
    if frame[: len(MAGIC)] != MAGIC:
        return frame
    return _joined([*_parts(frame)[:3], b""])


def paraphrase(summary: str, names: Sequence[str]) -> str:
    """Return a summary, and behind it the names and numbers that it lacks."""
    return f"{summary} (also {', '.join(names)})" if names else summary


_DENIAL = next(iter(salient("It is not so.")))


def _as_written(items: Set[str], text: str) -> list[str]:
    """Return names and numbers as they stand in a text, in alphabetical order."""
    written = {word.casefold(): word for word in _WORD.findall(text) if word[0].isupper()}
    return [written.get(each, each) for each in sorted(items)]


def _frame(text: str, summary: str, names: Sequence[str], difference: bytes) -> bytes:
    return _joined([_digest(text.encode()), summary.encode(), "\n".join(names).encode(), difference])


def _joined(parts: Sequence[bytes]) -> bytes:
    inside = b"".join(_LENGTH.pack(len(each)) + each for each in parts)
    return MAGIC + bytes([VERSION]) + zlib.compress(inside, 9)


def _parts(frame: bytes) -> list[bytes]:
    version = frame[len(MAGIC) : len(MAGIC) + 1]
    if version != bytes([VERSION]):
        raise DataError(
            f"a summary of format {version[0] if version else 'none'}; this version reads {VERSION}"
        )
    inside = _inflated(zlib.decompressobj(), frame[len(MAGIC) + 1 :], packed_text.MOST_BYTES)
    found, start = [], 0
    for _ in range(4):
        head = inside[start : start + _LENGTH.size]
        if len(head) < _LENGTH.size:
            raise DataError(f"{_DAMAGED}: it ends too early")
        (length,) = _LENGTH.unpack(head)
        start += _LENGTH.size
        found.append(inside[start : start + length])
        if len(found[-1]) < length:
            raise DataError(f"{_DAMAGED}: it ends too early")
        start += length
    return found


def _digest(plain: bytes) -> bytes:
    return hashlib.sha256(plain).digest()[:_DIGEST_BYTES]


def _difference(plain: bytes, summary: bytes) -> bytes:
    made = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=_dictionary(summary))
    return made.compress(plain) + made.flush()


def _applied(difference: bytes, summary: bytes, most_bytes: int) -> bytes:
    return _inflated(zlib.decompressobj(-zlib.MAX_WBITS, zdict=_dictionary(summary)), difference, most_bytes)


def _dictionary(summary: bytes) -> bytes:
    return summary[-_WINDOW:] or b"\x00"  # there is none without a byte


def _inflated(engine: zlib._Decompress, packed: bytes, most_bytes: int) -> bytes:
    try:
        plain = engine.decompress(packed, most_bytes + 1)
    except zlib.error as error:
        raise DataError(f"{_DAMAGED}: {error}") from error
    if len(plain) > most_bytes or not engine.eof:
        raise DataError(f"{_DAMAGED}, or of a text of more than {most_bytes} bytes")
    return plain


def _text(plain: bytes) -> str:
    try:
        return plain.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{_DAMAGED}: it is not valid UTF-8") from error
