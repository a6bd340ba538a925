"""An agent's part of an exchange: greet, push the head, pull the server's; whole where deltas do not do."""

from __future__ import annotations

import logging

from aios_db.federation.card import LoraCard
from aios_db.federation.debts import Debt, Debts, carry_over, settled
from aios_db.federation.delta import exact_delta, sparse_delta, vector
from aios_db.federation.feedback import DECAY
from aios_db.federation.library import CardLibrary
from aios_db.federation.messages import Channel, Frame, SyncError
from aios_db.federation.sparse import Sparsity
from aios_db.federation.sync_log import SyncReport
from aios_db.federation.transfer import FULL, Parcel, receive_parcel, send_parcel
from aios_db.schema.errors import DataError, OperationalError

log = logging.getLogger("aios_db.federation")

_MOST_HASHES = 64


class Exchange:
    """An exchange of one card, over a channel that is open; what happens is noted in a report."""

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
        if self._server_has is not None:
            self._report.base_version = f"{self._name}@{str(self._server_has)[:12]}"

    def push(self, samples: int, sparsity: Sparsity | None, decay: float, *, whole: bool) -> None:
        """Send the head, with what is owed."""
        card = settled(self._library, self._debts, self._name, decay)
        if card.sha256 == self._welcome.header.get("head"):
            self._debts.forget(self._name)
            self._report.transferred("none", 0)
            self._report.version = card.version
            return
        base = self._base(self._server_has)
        parcel, sent = self._smallest(None if whole else base, card, sparsity)
        verdict = self._offer(parcel, samples)
        if verdict.text("status") == "full" and parcel.kind != FULL:
            sent = card
            verdict = self._offer(Parcel.whole(card), samples)
        if verdict.text("status") not in ("applied", "waiting"):
            raise SyncError.because("protocol", f"the verdict is {verdict.text('status')!r}")
        if sent.sha256 == card.sha256:
            self._debts.forget(self._name)
        else:
            owed = Debt(vector(card) - vector(sent), (sent.sha256,), card.sha256)
            self._debts.write(self._name, owed)
        if verdict.header.get("head") == sent.sha256:
            self._server_has = sent.sha256
        if sent.sha256 != card.sha256 and self._server_has == sent.sha256:
            self._library.add(sent, origin="pushed", parent=base.sha256 if base else None)
        self._report.version = sent.version

    def pull(self, wait_s: int, decay: float = DECAY, *, whole: bool = False) -> None:
        """Receive the server's head."""
        self._ask(wait_s, full=whole)
        frame = self._channel.receive("offer", "nothing")
        if frame.kind == "nothing":
            self._report.transferred("none", 0)
            versions = self._library.versions(self._name)
            self._report.version = versions[-1].version if versions else None
            return
        parcel = receive_parcel(self._channel, frame, self._most)
        try:
            received = self._opened(parcel)[-1]
        except DataError as error:
            if parcel.kind == FULL:
                raise SyncError.because("value", str(error)) from error
            self._channel.send("verdict", status="full", reason=str(error))
            parcel = receive_parcel(self._channel, self._channel.receive("offer"), self._most)
            try:
                received = self._opened(parcel)[-1]
            except DataError as again:
                raise SyncError.because("value", str(again)) from again
        before = self._library.hashes(self._name)
        parent = parcel.deltas[-1].base if parcel.deltas else (before[0] if before else None)
        follows = self._server_has is not None
        carry_over(self._library, self._debts, received, decay, follows=follows)
        self._library.add(received, origin="pulled", parent=parent)
        self._channel.send("verdict", status="applied")
        self._report.transferred(parcel.kind, Parcel.whole(received).size)
        self._report.version = received.version

    def _base(self, sha256: str | None) -> LoraCard | None:
        """Return a version to make a difference from; one that is damaged here is as good as none."""
        try:
            return self._library.by_hash(self._name, sha256) if sha256 else None
        except OperationalError as error:
            log.warning("the card is sent whole: %s", error, extra={"event": "full_exchange"})
            return None

    def _ask(self, wait_s: int, *, full: bool) -> None:
        known = self._server_has if self._server_has in self._library.hashes(self._name) else None
        self._channel.send("pull", base=known, wait_s=int(wait_s), full=full)

    def _opened(self, parcel: Parcel) -> list[LoraCard]:
        base = self._base(parcel.deltas[0].base) if parcel.deltas else None
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

    def _smallest(
        self, base: LoraCard | None, card: LoraCard, sparsity: Sparsity | None
    ) -> tuple[Parcel, LoraCard]:
        """Return what to send, and the version that the server then has."""
        whole = Parcel.whole(card)
        if base is None or base.mismatch(card) is not None:  # another rank, shapes or modules
            return whole, card
        if sparsity is None or (self._report.protocol or 0) < 2:
            delta, sent = exact_delta(base, card), card
        else:
            delta, sent, _ = sparse_delta(base, vector(card) - vector(base), sparsity)
        if len(delta.body) >= whole.size:
            return whole, card
        self._note(sent, card, base)
        return Parcel.of([delta]), sent
