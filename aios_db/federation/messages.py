"""The messages of an exchange: numbered, checksummed frames in the metadata of a Flight stream.

A frame is its number in its direction, the CRC-32 of what follows, and the length of a JSON header, each four
bytes little-endian; then the header and a body. Whatever is lost, repeated, out of order or damaged on the
way is noticed by the frame after it.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from aios_db.schema.errors import OperationalError

PROTOCOLS = (1, 2)
"""1 sends versions whole or exactly; 2 has sparse deltas as well."""
COMMAND = b"aios-federation"
MOST_HEADER = 1 << 16
MOST_MESSAGE = 1 << 20
CHUNK = 1 << 16
"""Bytes of a body that are sent in one message."""

_FRAME = struct.Struct("<III")


class SyncError(OperationalError):
    """An exchange was refused or broken off; nothing of it was applied that is not said to be.

    Attributes
    ----------
    code
        Why, in a word: ``denied``, ``unknown``, ``size``, ``rate``, ``shape``, ``value``, ``replay``,
        ``protocol``, ``damaged``, ``stale``, ``lost``.
    """

    code = "lost"

    @classmethod
    def because(cls, code: str, reason: str) -> SyncError:
        """Return an error with a code."""
        error = cls(reason)
        error.code = code
        return error


class Writer(Protocol):
    """The sending half of a Flight stream."""

    def write_metadata(self, buffer: pa.Buffer) -> None:
        """Send a message."""
        ...


class Reader(Protocol):
    """The receiving half of a Flight stream."""

    def read_chunk(self) -> Any:
        """Wait for a message; raises `StopIteration` at the end."""
        ...


@dataclass(frozen=True)
class Frame:
    """A message."""

    kind: str
    header: dict[str, Any]
    body: bytes = b""

    def text(self, key: str) -> str:
        """Return a text of the header."""
        return str(self._value(key, str))

    def number(self, key: str, most: int = 1 << 62) -> int:
        """Return a whole number of the header, from 0 to ``most``."""
        value = self._value(key, int)
        if isinstance(value, bool) or not 0 <= value <= most:
            raise SyncError.because("protocol", f"{self.kind}: {key} is {value!r}")
        return int(value)

    def texts(self, key: str, most: int) -> list[str]:
        """Return a list of at most ``most`` texts of the header."""
        values = self._value(key, list)
        if len(values) > most or not all(isinstance(each, str) for each in values):
            raise SyncError.because("protocol", f"{self.kind}: {key} is no list of at most {most} texts")
        return list(values)

    def _value(self, key: str, kind: type) -> Any:
        value = self.header.get(key)
        if not isinstance(value, kind):
            raise SyncError.because("protocol", f"{self.kind}: {key} is {value!r}, no {kind.__name__}")
        return value


class Channel:
    """Both halves of one exchange; counts the bytes of its messages.

    Parameters
    ----------
    most
        Bytes of a message that are accepted.
    taken
        Called with the bytes of each message; raises where they are too many.
    """

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        *,
        most: int = MOST_MESSAGE,
        taken: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._reader, self._writer, self._most, self._taken = reader, writer, most, taken
        self._sent = self._received = 0
        self.bytes_sent = self.bytes_received = 0

    def send(self, kind: str, body: bytes = b"", /, **header: Any) -> None:
        """Send a message.

        Raises
        ------
        SyncError
            The other side has refused.
        """
        message = packed(self._sent, Frame(kind, header, body))
        self._sent += 1
        self.bytes_sent += len(message)
        with _reasons():
            self._writer.write_metadata(pa.py_buffer(message))

    def receive(self, *kinds: str) -> Frame:
        """Wait for a message of one of ``kinds``.

        Raises
        ------
        SyncError
            The other side has refused or left, or the message is another, too long or damaged.
        """
        while True:
            try:
                with _reasons():
                    chunk = self._reader.read_chunk()
            except StopIteration:
                raise SyncError.because("lost", f"the other side left before {' or '.join(kinds)}") from None
            if chunk.app_metadata is not None:
                break
        content = chunk.app_metadata
        self.bytes_received += content.size
        if content.size > self._most:
            raise SyncError.because("size", f"a message of {content.size} bytes, of at most {self._most}")
        self._taken(content.size)
        frame = unpacked(self._received, content.to_pybytes())
        self._received += 1
        if frame.kind not in kinds:
            raise SyncError.because("protocol", f"got {frame.kind!r} in place of {' or '.join(kinds)}")
        return frame


def packed(number: int, frame: Frame) -> bytes:
    """Return a frame as bytes."""
    header = json.dumps({"type": frame.kind, **frame.header}, separators=(",", ":")).encode()
    rest = header + frame.body
    crc = zlib.crc32(rest, zlib.crc32(struct.pack("<II", number, len(header))))
    return _FRAME.pack(number, crc, len(header)) + rest


def unpacked(number: int, content: bytes) -> Frame:
    """Return the frame in bytes, which must have this number.

    Raises
    ------
    SyncError
        It has another one, or is damaged.
    """
    if len(content) < _FRAME.size:
        raise SyncError.because("damaged", f"a message of {len(content)} bytes is none")
    found, crc, length = _FRAME.unpack_from(content)
    rest = content[_FRAME.size :]
    if crc != zlib.crc32(rest, zlib.crc32(struct.pack("<II", found, length))) or length > len(rest):
        raise SyncError.because("damaged", "a message does not match its checksum")
    if found != number:
        raise SyncError.because("damaged", f"message {found} came in place of {number}")
    if length > MOST_HEADER:
        raise SyncError.because("size", f"a header of {length} bytes")
    try:
        header = json.loads(rest[:length])
        kind = header.pop("type")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise SyncError.because("protocol", "a message's header is no JSON object with a type") from error
    return Frame(str(kind), header, rest[length:])


def refusal(code: str, reason: str) -> pa.ArrowException:
    """Return what ends a stream with a status that says why: its last messages may be lost."""
    from pyarrow import flight

    error: pa.ArrowException = flight.FlightServerError(
        reason, json.dumps({"code": code, "reason": reason}).encode()
    )
    return error


def plain(text: str, most: int = 1000) -> str:
    """Return a text from outside as a line of a log: line ends and control characters as escapes."""
    shown = (each if each.isprintable() else each.encode("unicode_escape").decode() for each in text[:most])
    return "".join(shown)


@contextmanager
def _reasons() -> Iterator[None]:
    """Turn a `refusal` into the error that it tells of."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        try:
            why = json.loads(getattr(error, "extra_info", b""))
            refused = SyncError.because(plain(str(why["code"]), 20), plain(str(why["reason"])))
        except (ValueError, KeyError, TypeError):
            raise error from None
        raise refused from None


@contextmanager
def transport_errors() -> Iterator[None]:
    """Turn what Flight raises into `SyncError`."""
    from pyarrow import flight

    codes = (
        (flight.FlightUnauthenticatedError, "denied"),
        (flight.FlightUnauthorizedError, "denied"),
        (flight.FlightTimedOutError, "lost"),
        (flight.FlightUnavailableError, "lost"),
        (flight.FlightCancelledError, "lost"),
    )
    try:
        yield
    except SyncError:
        raise
    except (pa.ArrowException, OSError) as error:
        code = next((code for kind, code in codes if isinstance(error, kind)), "lost")
        text = str(error).split(". gRPC client debug context")[0].split("Detail:")[0].strip()
        raise SyncError.because(code, text) from error
