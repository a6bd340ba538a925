"""The Flight service: pushes and pulls of cards over DoExchange."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import flight

from aios_db.federation.access import ANYONE, Access, Allowance, Limits, is_loopback
from aios_db.federation.conversation import Conversation
from aios_db.federation.hub import Hub
from aios_db.federation.messages import COMMAND, Channel, SyncError, plain, refusal
from aios_db.federation.sync_log import SyncReport, record
from aios_db.schema.errors import Error, OperationalError, ProgrammingError

log = logging.getLogger("aios_db.federation")

_AUTH = "aios-agent"


@dataclass(frozen=True)
class ServerTls:
    """Files in PEM: the server's certificate and key, and the authority of its clients, if they need one."""

    certificate: Path
    key: Path
    client_authority: Path | None = None


class FederationServer(flight.FlightServerBase):  # type: ignore[misc]
    """Serves the cards of a hub until it is shut down.

    Parameters
    ----------
    port
        0 takes a free one; see the attribute ``port``.
    tls
        Without it, only a loopback address is served.

    Raises
    ------
    ProgrammingError
        ``host`` can be reached from other machines, and there is no TLS, or no agent has to show a token or a
        certificate.
    OperationalError
        The address is taken, or a file cannot be read.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        access: Access | None = None,
        limits: Limits | None = None,
        tls: ServerTls | None = None,
    ) -> None:
        self.hub, self.access, self.limits = hub, access or Access(), limits or Limits()
        self._exchanges = Allowance(self.limits.exchanges_per_minute)
        self._bytes = Allowance(self.limits.bytes_per_minute)
        self._places = threading.Semaphore(self.limits.exchanges_at_once)
        if not is_loopback(host):
            if tls is None:
                raise ProgrammingError(f"{host} is reached from other machines: give a certificate (TLS)")
            if self.access.is_open and tls.client_authority is None:
                raise ProgrammingError(
                    f"{host} is reached from other machines: name agents with tokens, or a client authority"
                )
        secure: dict[str, Any] = {}
        if tls is not None:
            secure["tls_certificates"] = [(_read(tls.certificate), _read(tls.key))]
            if tls.client_authority is not None:
                secure |= {"verify_client": True, "root_certificates": _read(tls.client_authority)}
        scheme = "grpc" if tls is None else "grpc+tls"
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        try:
            super().__init__(
                f"{scheme}://{host}:{port}", middleware={_AUTH: _Authentication(self.access)}, **secure
            )
        except (OSError, flight.FlightError) as error:
            raise OperationalError(f"cannot serve on {host}:{port}: {error}") from error
        self.location = f"{scheme}://{host}:{self.port}"

    def do_exchange(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Hold one exchange; an agent that is refused is told why."""
        agent = _agent_of(context)
        channel = Channel(
            _Patient(reader, self.limits.exchange_s, context),
            writer,
            most=self.limits.message_bytes,
            taken=lambda size: self._bytes.take(agent, size, "bytes"),
        )
        report, started = SyncReport("server", peer=agent), time.monotonic()
        try:
            if descriptor.command != COMMAND:
                raise SyncError.because("protocol", "the command of an exchange is aios-federation")
            self._exchanges.take(agent, 1, "exchanges")
            if not self._places.acquire(blocking=False):
                raise SyncError.because("rate", "too many exchanges at once; try again")
            try:
                Conversation(self.hub, self.access, self.limits, agent, channel, report).hold()
            finally:
                self._places.release()
        except SyncError as error:
            report.code, report.error = error.code, str(error)
        except Error as error:
            report.code, report.error = "failed", str(error)
        except (flight.FlightError, OSError, StopIteration) as error:
            report.code, report.error = "lost", str(error)
        except Exception as error:  # a defect of ours; the agent still gets an answer, and the log the place
            log.exception("the exchange of %s with %s failed", report.card, agent)
            report.code, report.error = "failed", f"unexpected {type(error).__name__}"
        report.bytes_sent, report.bytes_received = channel.bytes_sent, channel.bytes_received
        report.duration_s = time.monotonic() - started
        record(self.hub.library.store, report)
        if report.code is not None:
            raise refusal(report.code, report.error or "")

    def do_action(self, context: Any, action: Any) -> Iterator[Any]:
        """Answer ``status``: the cards that the agent may pull, with their heads, as JSON."""
        agent = _agent_of(context)
        if action.type != "status":
            raise flight.FlightServerError(f"there is no action {action.type!r} here")
        cards = {}
        for version in self.hub.library.versions():
            try:
                self.access.require(agent, "pull", version.name)
            except SyncError:
                continue
            cards[version.name] = {
                "version": version.version,
                "number": version.number,
                "bytes": version.bytes,
            }
        yield flight.Result(json.dumps(cards).encode())

    def list_actions(self, context: Any) -> list[tuple[str, str]]:
        """Return the actions there are."""
        _agent_of(context)
        return [("status", "the cards that can be pulled, with their heads")]


class _Patient:
    """A reader that gives up when the exchange takes too long or was called off."""

    def __init__(self, reader: Any, seconds: float, context: Any) -> None:
        self._reader, self._until, self._context = reader, time.monotonic() + seconds, context

    def read_chunk(self) -> Any:
        """Wait for a message."""
        if time.monotonic() > self._until:
            raise SyncError.because("lost", "the exchange takes too long")
        if self._context.is_cancelled():
            raise SyncError.because("lost", "the exchange was called off")
        return self._reader.read_chunk()


class _Authentication(flight.ServerMiddlewareFactory):  # type: ignore[misc]
    """Looks at the token of a call; the call's middleware knows whose it is."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def start_call(self, info: Any, headers: Any) -> Any:
        given = next((values for key, values in headers.items() if key.lower() == "authorization"), [""])[0]
        scheme, _, token = str(given).partition(" ")
        try:
            return _Caller(self._access.agent_of(token.strip() if scheme.lower() == "bearer" else None), None)
        except SyncError as error:
            return _Caller(ANYONE, error)  # who it is, from which address, is known in the call


class _Caller(flight.ServerMiddleware):  # type: ignore[misc]
    def __init__(self, agent: str, refused: SyncError | None) -> None:
        self.agent, self.refused = agent, refused


def _agent_of(context: Any) -> str:
    """Return who calls; one without a known token is turned away."""
    caller = context.get_middleware(_AUTH)
    if caller is None or caller.refused is not None:
        reason = "no token was looked at" if caller is None else str(caller.refused)
        peer = plain(str(context.peer()))
        log.warning("a call of %s was turned away: %s", peer, reason, extra={"code": "denied", "peer": peer})
        raise flight.FlightUnauthenticatedError(reason)
    return str(caller.agent)


def _read(path: Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise OperationalError(f"cannot read {path}: {error}") from error
