"""What can happen between two machines: a line that is cut, and messages that are touched."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from aios_db.federation.messages import Channel

TIMEOUT_S = 4.0


class CuttingProxy:
    """Forwards TCP connections to a port, and cuts them once so many bytes went through.

    Then ``at_the_cut`` is called: it may end the server in the middle of what it does.
    """

    def __init__(self, port: int, at_the_cut: Callable[[], object] = lambda: None) -> None:
        self._at_the_cut = at_the_cut
        self.left = 1 << 60
        self.passed = 0
        self._to, self._lock = port, threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.location = f"grpc://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=ends, daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                with self._lock:
                    data = data[: max(0, self.left)]
                    self.left -= len(data)
                    self.passed += len(data)
                    over = self.left <= 0
                target.sendall(data)
                if over:
                    self._at_the_cut()
                    break
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


Fault = Callable[[int, bytes], Iterator[bytes]]
"""Given the number of a message in its direction and its bytes, yields what is passed on."""


class Touched:
    """Stands for both halves of the client's stream, and does to its messages what the faults do."""

    def __init__(self, reader: Any, writer: Any, up: Fault, down: Fault) -> None:
        self._reader, self._writer, self._up, self._down = reader, writer, up, down
        self._sent = self._received = 0
        self._waiting: list[bytes] = []

    def write_metadata(self, buffer: pa.Buffer) -> None:
        for message in self._up(self._sent, buffer.to_pybytes()):
            self._writer.write_metadata(pa.py_buffer(message))
        self._sent += 1

    def read_chunk(self) -> Any:
        while not self._waiting:
            chunk = self._reader.read_chunk()
            if chunk.app_metadata is not None:
                self._waiting += self._down(self._received, chunk.app_metadata.to_pybytes())
                self._received += 1
        return SimpleNamespace(app_metadata=pa.py_buffer(self._waiting.pop(0)))


@contextlib.contextmanager
def touching(monkeypatch: pytest.MonkeyPatch, up: Fault, down: Fault) -> Iterator[None]:
    """Let clients meet the faults on the way."""

    def channel(reader: Any, writer: Any, **options: Any) -> Channel:
        both = Touched(reader, writer, up, down)
        return Channel(both, both, **options)

    with monkeypatch.context() as patch:
        patch.setattr("aios_db.federation.client.Channel", channel)
        yield


def fault(kind: str, at: int, place: int) -> Fault:
    """Return what drops, repeats, swaps with the next one, or flips a bit of, message ``at``."""
    held: list[bytes] = []

    def act(number: int, message: bytes) -> Iterator[bytes]:
        if kind == "swap" and number == at:
            held.append(message)
            return
        if number != at or kind == "none":
            yield message
            yield from held
            held.clear()
            return
        if kind == "repeat":
            yield message
            yield message
        elif kind == "flip":
            touched = bytearray(message)
            touched[place % len(touched)] ^= 1 << (place % 8)
            yield bytes(touched)

    return act
