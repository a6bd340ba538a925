"""An agent's side of the exchange: push, pull and both, with a full transfer wherever deltas do not do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from aios_db.federation.card import LoraCard
from aios_db.federation.debts import Debts
from aios_db.federation.delta import Delta, exact_delta, vector
from aios_db.federation.feedback import Feedback
from aios_db.federation.library import CardLibrary
from aios_db.federation.messages import COMMAND, PROTOCOLS, Channel, Frame, SyncError, transport_errors
from aios_db.federation.sparse import Sparsity, Values
from aios_db.federation.sync_log import SyncReport, record
from aios_db.federation.transfer import FULL, Parcel, receive_parcel, send_parcel
from aios_db.schema.errors import DataError, NotSupportedError, OperationalError, ProgrammingError

_MOST_HASHES = 64


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
        decay: float = 0.95,
        whole: bool = False,
    ) -> SyncReport:
        """Send the head of a card.

        Parameters
        ----------
        samples
            What it was trained on: its weight in an average.
        sparsity
            Send only the largest part of what changed, and what is owed of earlier changes; the rest is owed.
            By default the version is sent exactly.
        decay
            What is left of a debt after a round.
        whole
            Send the card whole, whatever is in common.

        Raises
        ------
        SyncError
            The server refuses, or is not reached; its ``code`` says why.
        ProgrammingError
            There is no such card here.
        """
        return self._exchange(name, "push", lambda talk: talk.push(samples, sparsity, decay, whole=whole))

    def pull(self, name: str, *, wait_s: int = 0, whole: bool = False) -> SyncReport:
        """Make the server's head of a card the head here; wait up to ``wait_s`` for another than that here.

        With ``whole`` the card is sent whole, whatever is in common.

        Raises
        ------
        SyncError
            The server refuses, or is not reached.
        """
        return self._exchange(name, "pull", lambda talk: talk.pull(wait_s, whole=whole))

    def sync(
        self,
        name: str,
        *,
        samples: int = 1,
        sparsity: Sparsity | None = None,
        decay: float = 0.95,
        wait_s: int = 0,
        whole: bool = False,
    ) -> SyncReport:
        """`push`, then `pull`, in one exchange."""

        def both(talk: _Talk) -> None:
            talk.push(samples, sparsity, decay, whole=whole)
            talk.pull(wait_s, whole=whole)

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

    def _exchange(self, name: str, operation: str, act: Callable[[_Talk], None]) -> SyncReport:
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
                    talk = _Talk(self._library, self._debts, channel, report, self._most)
                    talk.greet(self._protocols, self._agent)
                    act(talk)
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


class _Talk:
    """One exchange as the client goes through it."""

    def __init__(
        self, library: CardLibrary, debts: Debts, channel: Channel, report: SyncReport, most: int
    ) -> None:
        self._library, self._debts, self._channel = library, debts, channel
        self._report, self._most = report, most
        self._name = str(report.card)
        self._welcome = Frame("welcome", {})
        self._server_has: str | None = None

    def greet(self, protocols: tuple[int, ...], agent: str | None) -> None:
        """Agree on a protocol and a base."""
        have = self._library.hashes(self._name)[:_MOST_HASHES]
        asked = {"card": self._name, "operation": self._report.operation, "agent": agent}
        self._channel.send("hello", protocols=list(protocols), have=have, **asked)
        self._welcome = self._channel.receive("welcome")
        self._report.protocol = self._welcome.number("protocol")
        if self._report.protocol not in protocols:
            raise SyncError.because("protocol", f"the server speaks protocol {self._report.protocol}")
        self._server_has = self._welcome.header.get("base")

    def push(self, samples: int, sparsity: Sparsity | None, decay: float, *, whole: bool) -> None:
        """Send the head."""
        card = self._library.get(self._name)
        base = self._library.by_hash(self._name, self._server_has) if self._server_has else None
        all_of_it = Parcel.whole(card)
        if card.sha256 == self._welcome.header.get("head") and sparsity is None:
            self._report.transferred("none", 0)
            self._report.version = card.version
            return
        parcel, sent, debt = all_of_it, card, None
        if base is not None and not whole:
            try:
                delta, sent, debt = self._delta(base, card, sparsity, decay)
                if len(delta.body) < all_of_it.size:
                    parcel = Parcel.of([delta])
                    self._note(sent, card, base)
                else:
                    sent, debt = card, None
            except NotSupportedError:  # another rank, shapes or modules
                sent = card
        verdict = self._offer(parcel, samples)
        if verdict.text("status") == "full" and parcel.kind != FULL:
            sent, debt = card, None
            verdict = self._offer(all_of_it, samples)
        if verdict.text("status") not in ("applied", "waiting"):
            raise SyncError.because("protocol", f"the verdict is {verdict.text('status')!r}")
        if debt is not None:
            self._debts.write(self._name, debt)
        if verdict.header.get("head") == sent.sha256:
            self._server_has = sent.sha256
        if sent.sha256 != card.sha256 and self._server_has == sent.sha256:
            self._library.add(sent, origin="pushed", parent=base.sha256 if base else None)
        self._report.version = sent.version

    def pull(self, wait_s: int, *, whole: bool) -> None:
        """Receive the server's head."""
        head = self._library.head(self._name)
        self._ask(wait_s, full=whole)
        frame = self._channel.receive("offer", "nothing")
        if frame.kind == "nothing":
            self._report.transferred("none", 0)
            self._report.version = head.version if head else None
            return
        parcel = receive_parcel(self._channel, frame, self._most)
        try:
            versions = self._opened(parcel)
        except DataError as error:
            if parcel.kind == FULL:
                raise SyncError.because("value", str(error)) from error
            self._channel.send("verdict", status="full", reason=str(error))
            parcel = receive_parcel(self._channel, self._channel.receive("offer"), self._most)
            try:
                versions = self._opened(parcel)
            except DataError as again:
                raise SyncError.because("value", str(again)) from again
        before = self._library.hashes(self._name)
        parent = parcel.deltas[-1].base if parcel.deltas else (before[0] if before else None)
        self._library.add(versions[-1], origin="pulled", parent=parent)
        self._channel.send("verdict", status="applied")
        self._report.transferred(parcel.kind, Parcel.whole(versions[-1]).size)
        self._report.version = versions[-1].version

    def _ask(self, wait_s: int, *, full: bool) -> None:
        known = self._server_has if self._server_has in self._library.hashes(self._name) else None
        self._channel.send("pull", base=known, wait_s=int(wait_s), full=full)

    def _opened(self, parcel: Parcel) -> list[LoraCard]:
        base = self._library.by_hash(self._name, parcel.deltas[0].base) if parcel.deltas else None
        return parcel.opened(base, self._name)

    def _note(self, sent: LoraCard, card: LoraCard, base: LoraCard) -> None:
        """Keep what is about to be sent behind the head, so that it is known if the answer is lost."""
        if sent.sha256 in (card.sha256, base.sha256):
            return
        head = self._library.versions(self._name)[-1]
        self._library.add(sent, origin="pushed", parent=base.sha256)
        self._library.add(card, origin=head.origin, parent=head.parent_sha256, samples=head.samples)

    def _offer(self, parcel: Parcel, samples: int) -> Frame:
        send_parcel(self._channel, parcel, nonce=self._welcome.text("nonce"), samples=samples)
        self._report.transferred(parcel.kind, Parcel.whole(self._library.get(self._name)).size)
        return self._channel.receive("verdict")

    def _delta(
        self, base: LoraCard, card: LoraCard, sparsity: Sparsity | None, decay: float
    ) -> tuple[Delta, LoraCard, Values | None]:
        if sparsity is None or (self._report.protocol or 0) < 2:
            return exact_delta(base, card), card, None
        if (reason := base.mismatch(card)) is not None:
            raise NotSupportedError(reason)
        feedback = Feedback(decay)
        # A version that was made of another one than the base differs from it by what is owed, too.
        if card.sha256 == base.sha256 or self._library.versions(self._name)[-1].parent_sha256 == base.sha256:
            feedback = self._debts.read(self._name, base, decay)
        return feedback.send(base, vector(card) - vector(base), sparsity)


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
