"""The server's part of an exchange: agree on a base, take what is pushed, send what is pulled."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from aios_db.federation.access import Access, Limits
from aios_db.federation.card import LoraCard
from aios_db.federation.checks import check_name
from aios_db.federation.hub import Hub, Push
from aios_db.federation.messages import PROTOCOLS, Channel, Frame, SyncError, plain
from aios_db.federation.sync_log import SyncReport
from aios_db.federation.transfer import FULL, Parcel, receive_parcel, send_parcel, smallest_parcel
from aios_db.schema.errors import DataError, OperationalError

OPERATIONS = ("push", "pull", "sync")
MOST_HASHES = 64
LONGEST_WAIT_S = 600
LONGEST_NAME = 100


@dataclass
class Conversation:
    """One exchange."""

    hub: Hub
    access: Access
    limits: Limits
    agent: str
    channel: Channel
    report: SyncReport
    _base: LoraCard | None = None

    def hold(self) -> None:
        """Go through the exchange.

        Raises
        ------
        SyncError
            It is refused; what was said to be applied stays.
        """
        hello = self.channel.receive("hello")
        name = hello.text("card")
        if self.access.is_open and isinstance(given := hello.header.get("agent"), str):
            # Whoever says so is believed where everybody is let in; otherwise the token tells.
            self.agent = self.report.peer = plain(given, LONGEST_NAME) or self.agent
        self.report.operation = hello.text("operation")
        if self.report.operation not in OPERATIONS:
            raise SyncError.because("protocol", f"the operation is none of {', '.join(OPERATIONS)}")
        check_name(name)
        self.report.card = name
        protocol = self._protocol(hello)
        for operation in ("push", "pull"):
            if self.report.operation in (operation, "sync"):
                self.access.require(self.agent, operation, name)
        common = self._base = self._common(name, hello.texts("have", MOST_HASHES))
        nonce = secrets.token_hex(16)
        head = self.hub.library.head(name)
        if head is None and self.report.operation == "pull":
            raise SyncError.because("unknown", f"there is no card {name!r} here")
        self.report.base_version = common.version if common else None
        self.channel.send(
            "welcome",
            protocol=protocol,
            nonce=nonce,
            base=common.sha256 if common else None,
            head=head.sha256 if head else None,
            most=self.limits.card_bytes,
        )
        while (frame := self.channel.receive("offer", "pull", "bye")).kind != "bye":
            if frame.kind == "offer":
                self._take(frame, name, nonce)
            else:
                self._give(frame, name, protocol)
        self.channel.send("bye")
        self.report.kind = self.report.kind or "none"

    def _protocol(self, hello: Frame) -> int:
        offered = hello.header.get("protocols")
        known = [each for each in PROTOCOLS if isinstance(offered, list) and each in offered]
        if not known:
            raise SyncError.because(
                "protocol",
                f"protocols {offered} are offered, {list(PROTOCOLS)} known here: upgrade aios_db",
            )
        self.report.protocol = max(known)
        return self.report.protocol

    def _common(self, name: str, theirs: list[str]) -> LoraCard | None:
        ours = set(self.hub.library.hashes(name))
        common = next((each for each in theirs if each in ours), None)
        return self.hub.library.by_hash(name, common) if common else None

    def _take(self, offer: Frame, name: str, nonce: str) -> None:
        if self.report.operation == "pull":
            raise SyncError.because("protocol", "a pull offers nothing")
        if offer.text("nonce") != nonce:
            raise SyncError.because("replay", "the offer was made in another exchange")
        parcel = receive_parcel(self.channel, offer, self.limits.card_bytes)
        try:
            base = self.hub.library.by_hash(name, parcel.deltas[0].base) if parcel.deltas else self._base
            if parcel.deltas and base is None:
                raise DataError("its base is not here")
            card = parcel.opened(base, name)[-1]
        except (DataError, OperationalError) as error:  # or the base is damaged here
            if parcel.kind != FULL:
                self.channel.send("verdict", status="full", reason=str(error))
                return
            raise SyncError.because("value", str(error)) from error
        delta = parcel.deltas[0] if len(parcel.deltas) == 1 else None
        samples = offer.number("samples")
        status = self.hub.take(Push(self.agent, base, card, samples, delta))
        self.report.transferred(parcel.kind, len(Parcel.whole(card).content))
        self.report.version = card.version
        self.channel.send("verdict", status=status, head=self.hub.library.hashes(name)[0])

    def _give(self, pull: Frame, name: str, protocol: int) -> None:
        if self.report.operation == "push":
            raise SyncError.because("protocol", "a push pulls nothing")
        base = pull.header.get("base")
        wait_s = pull.number("wait_s", most=LONGEST_WAIT_S)
        if wait_s:
            self.hub.wait(name, str(base), wait_s)
        head = self.hub.library.head(name)
        if head is None:
            raise SyncError.because("unknown", f"there is no card {name!r} here")
        self.report.version = head.version
        if head.sha256 == base:
            self.channel.send("nothing", head=head.sha256)
            self.report.transferred("none", 0)
            return
        known = self.hub.library.by_hash(name, base) if isinstance(base, str) else None
        whole = Parcel.whole(head)
        base = None if pull.header.get("full") else known
        parcel = smallest_parcel(self.hub.library, base, head, protocol)
        send_parcel(self.channel, parcel)
        self.report.transferred(parcel.kind, whole.size)
        verdict = self.channel.receive("verdict")
        if verdict.text("status") == "full" and parcel.kind != FULL:
            send_parcel(self.channel, whole)
            self.report.transferred(FULL, whole.size)
            self.channel.receive("verdict")
