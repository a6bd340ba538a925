"""A connection of an agent to a server: push, pull, and both in one exchange."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from aios_db.federation.debts import Debts
from aios_db.federation.exchange import Exchange
from aios_db.federation.feedback import DECAY
from aios_db.federation.library import CardLibrary
from aios_db.federation.messages import COMMAND, PROTOCOLS, Channel, SyncError, transport_errors
from aios_db.federation.sparse import Sparsity
from aios_db.federation.sync_log import SyncReport, record
from aios_db.schema.errors import OperationalError, ProgrammingError

_LOCATION = re.compile(r"grpc(\+tls|\+tcp)?://[^/\s]+:[0-9]{1,5}/?")


@dataclass(frozen=True)
class ClientTls:
    """Files in PEM: the server's authority, and the client's own certificate and key, if it needs them."""

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class FederationClient:
    """A connection to a server, for the cards of one database.

    Parameters
    ----------
    agent
        A name, for servers that let everybody in; otherwise the token tells who it is.
    location
        Like ``grpc://127.0.0.1:8815`` or ``grpc+tls://host:8815``.
    timeout_s
        Longest exchange.
    card_bytes
        Most bytes of a transfer that are accepted.
    """

    def __init__(
        self,
        location: str,
        library: CardLibrary,
        *,
        agent: str | None = None,
        token: str | None = None,
        tls: ClientTls | None = None,
        timeout_s: float = 300.0,
        card_bytes: int = 64 << 20,
        protocols: tuple[int, ...] = PROTOCOLS,
    ) -> None:
        from pyarrow import flight

        if not _LOCATION.fullmatch(location):
            raise ProgrammingError(
                f"no server is at {location!r}: write grpc://host:port or grpc+tls://host:port"
            )
        self._library, self._location, self._most = library, location, card_bytes
        self._protocols, self._timeout_s, self._token, self._agent = protocols, timeout_s, token, agent
        self._debts = Debts(library.store.path)
        secure: dict[str, Any] = {}
        if tls is not None:
            secure = {
                "tls_root_certs": _read(tls.authority),
                "cert_chain": _read(tls.certificate),
                "private_key": _read(tls.key),
            }
        try:
            self._client = flight.connect(location, **{key: value for key, value in secure.items() if value})
        except (flight.FlightError, OSError, ValueError) as error:
            raise ProgrammingError(f"cannot connect to {location}: {error}") from error

    def push(
        self,
        name: str,
        *,
        samples: int = 1,
        sparsity: Sparsity | None = None,
        decay: float = DECAY,
        whole: bool = False,
    ) -> SyncReport:
        """Send the head of a card.

        Parameters
        ----------
        samples
            What it was trained on: its weight in an average.
        sparsity
            Send only the largest part of what changed, and what is owed of earlier changes; the rest is owed.
            By default the version is sent exactly, with all that is owed: then nothing is owed any more.
        decay
            What is left of a debt after a round; `to_train` is given the same.
        whole
            Send the card whole, whatever is in common, and with all that is owed.

        Raises
        ------
        SyncError
            The server refuses, or is not reached; its ``code`` says why.
        ProgrammingError
            There is no such card here.
        """
        return self._exchange(
            name, "push", lambda exchange: exchange.push(samples, sparsity, decay, whole=whole)
        )

    def pull(self, name: str, *, wait_s: int = 0, whole: bool = False) -> SyncReport:
        """Make the server's head of a card the head here; wait up to ``wait_s`` for another than that here.

        With ``whole`` the card is sent whole, whatever is in common.

        Raises
        ------
        SyncError
            The server refuses, or is not reached.
        """
        return self._exchange(name, "pull", lambda exchange: exchange.pull(wait_s, whole=whole))

    def sync(
        self,
        name: str,
        *,
        samples: int = 1,
        sparsity: Sparsity | None = None,
        decay: float = DECAY,
        wait_s: int = 0,
        whole: bool = False,
    ) -> SyncReport:
        """`push`, then `pull`, in one exchange."""

        def both(exchange: Exchange) -> None:
            exchange.push(samples, sparsity, decay, whole=whole)
            exchange.pull(wait_s, decay, whole=whole)

        return self._exchange(name, "sync", both)

    def status(self) -> dict[str, Any]:
        """Return the cards that can be pulled, with version, number and bytes of their heads."""
        from pyarrow import flight

        with transport_errors():
            results = list(self._client.do_action(flight.Action("status", b""), self._options()))
            return dict(json.loads(results[0].body.to_pybytes()))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def __enter__(self) -> FederationClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(self, name: str, operation: str, act: Callable[[Exchange], None]) -> SyncReport:
        from pyarrow import flight

        report = SyncReport("client", peer=self._location, card=name, operation=operation)
        started = time.monotonic()
        channel: Channel | None = None
        try:
            if operation != "pull" and self._library.head(name) is None:
                raise ProgrammingError(f"there is no card {name!r} here to push")
            with transport_errors():
                descriptor = flight.FlightDescriptor.for_command(COMMAND)
                writer, reader = self._client.do_exchange(descriptor, self._options())
                channel = Channel(reader, writer, most=1 << 22)
                try:
                    exchange = Exchange(self._library, self._debts, channel, report, self._most)
                    exchange.greet(self._protocols, self._agent)
                    act(exchange)
                    channel.send("bye")
                    channel.receive("bye")
                    writer.done_writing()
                finally:
                    _closed(writer)
        except SyncError as error:
            report.code, report.error = error.code, str(error)
            raise
        except Exception as error:
            report.code, report.error = "failed", f"{type(error).__name__}: {error}"
            raise
        finally:
            if channel is not None:
                report.bytes_sent, report.bytes_received = channel.bytes_sent, channel.bytes_received
            report.duration_s = time.monotonic() - started
            record(self._library.store, report)
        return report

    def _options(self) -> Any:
        from pyarrow import flight

        headers = [(b"authorization", f"Bearer {self._token}".encode())] if self._token else []
        return flight.FlightCallOptions(timeout=self._timeout_s, headers=headers)


def _closed(writer: Any) -> None:
    import pyarrow as pa

    with suppress(pa.ArrowException, OSError):  # the stream's error has been raised already
        writer.close()


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise OperationalError(f"cannot read {path}: {error}") from error
