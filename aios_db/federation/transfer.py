"""One transfer within an exchange: an offer that says what comes, chunks, and an acknowledgement of each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from aios_db.federation.card import LoraCard
from aios_db.federation.card_files import card_bytes, card_from_bytes
from aios_db.federation.delta import KINDS, LOSSLESS, SPARSE, Delta, apply_delta, exact_delta
from aios_db.federation.library import CardLibrary
from aios_db.federation.messages import CHUNK, PROTOCOLS, Channel, Frame, SyncError
from aios_db.schema.errors import DataError, NotSupportedError, WeightsError

FULL = "full"
_WINDOW = 8  # chunks on their way
_MOST_DELTAS = 256


@dataclass(frozen=True)
class Parcel:
    """What is sent: the deltas from a common version to another one, or that version whole.

    Attributes
    ----------
    result
        The hash of the version that the receiver then has.
    deltas
        In the order to apply them; empty for a whole card.
    content
        The file of a whole card.
    """

    result: str
    deltas: tuple[Delta, ...] = ()
    content: bytes = b""

    @classmethod
    def whole(cls, card: LoraCard) -> Parcel:
        """Return a parcel of a whole card."""
        return cls(card.sha256, (), card_bytes(card))

    @classmethod
    def of(cls, deltas: Sequence[Delta]) -> Parcel:
        """Return a parcel of deltas that follow each other."""
        return cls(deltas[-1].result, tuple(deltas))

    @property
    def kind(self) -> str:
        """``full``, or the kind of its deltas."""
        if not self.deltas:
            return FULL
        return SPARSE if any(each.kind == SPARSE for each in self.deltas) else self.deltas[0].kind

    @property
    def size(self) -> int:
        """Bytes of its body."""
        return len(self.content) + sum(len(each.body) for each in self.deltas)

    def opened(self, base: LoraCard | None, name: str) -> list[LoraCard]:
        """Return the versions that it leads to, the last of which is what was sent.

        Raises
        ------
        DataError
            It is damaged, or is of another version than ``base``.
        """
        if not self.deltas:
            try:
                most = len(self.content)  # ours are not compressed
                where = f"the card {name} that was sent"
                card = card_from_bytes(self.content, where=where, name=name, most=most)
            except WeightsError as error:
                raise DataError(str(error)) from error
            if card.sha256 != self.result or card.name != name:
                raise DataError(f"{card.version} was sent in place of {name}@{self.result[:12]}")
            return [card]
        if base is None:
            raise DataError("deltas were sent, and there is no version to apply them to")
        cards = []
        for delta in self.deltas:
            base = apply_delta(delta, base)
            cards.append(base)
        return cards


def smallest_parcel(
    library: CardLibrary, base: LoraCard | None, head: LoraCard, protocol: int = max(PROTOCOLS)
) -> Parcel:
    """Return the deltas from ``base`` as they were published, the exact difference, or all of ``head``."""
    whole = Parcel.whole(head)
    if base is None:
        return whole
    published = library.published(head.name, base.sha256) or []
    if protocol < 2 and any(each.kind != LOSSLESS for each in published):
        published = []
    if published and _size(published) * 4 < whole.size:
        return Parcel.of(published)
    try:
        exact = [exact_delta(base, head)]
    except NotSupportedError:
        return whole
    smallest = min((each for each in (published, exact) if each), key=_size)
    return Parcel.of(smallest) if _size(smallest) < whole.size else whole


def send_parcel(channel: Channel, parcel: Parcel, **about: int | str) -> None:
    """Send a parcel, and return when all of it is acknowledged."""
    body = parcel.content + b"".join(each.body for each in parcel.deltas)
    chunks = [body[start : start + CHUNK] for start in range(0, len(body), CHUNK)]
    described = [[each.kind, each.base, each.result, len(each.body)] for each in parcel.deltas]
    digest = hashlib.sha256(body).hexdigest()
    channel.send(
        "offer",
        kind=parcel.kind,
        result=parcel.result,
        size=len(body),
        sha256=digest,
        deltas=described,
        **about,
    )
    acknowledged = 0
    for number, chunk in enumerate(chunks):
        if number - acknowledged >= _WINDOW:
            acknowledged += _acknowledged(channel, acknowledged)
        channel.send("chunk", chunk)
    while acknowledged < len(chunks):
        acknowledged += _acknowledged(channel, acknowledged)


def receive_parcel(channel: Channel, offer: Frame, most: int) -> Parcel:
    """Receive the parcel that was offered, of at most ``most`` bytes.

    Raises
    ------
    SyncError
        It is larger, contradicts itself, or is damaged.
    """
    size = offer.number("size")
    if size > most:
        raise SyncError.because("size", f"{size} bytes are offered; at most {most} are taken")
    parts: list[bytes] = []
    received = 0
    while received < size:
        chunk = channel.receive("chunk").body
        received += len(chunk)
        if received > size or (len(chunk) != CHUNK and received < size):
            raise SyncError.because("protocol", "the chunks are not of the size that was offered")
        parts.append(chunk)
        channel.send("ack", number=len(parts) - 1)
    body = b"".join(parts)
    if hashlib.sha256(body).hexdigest() != offer.text("sha256"):
        raise SyncError.because("damaged", "what was received does not match its hash")
    if offer.text("kind") == FULL:
        return Parcel(offer.text("result"), (), body)
    return Parcel(offer.text("result"), _deltas(offer, body))


def _deltas(offer: Frame, body: bytes) -> tuple[Delta, ...]:
    deltas, start = [], 0
    described = offer.header.get("deltas")
    if not isinstance(described, list) or not 0 < len(described) <= _MOST_DELTAS:
        raise SyncError.because("protocol", "the offer describes no deltas")
    for each in described:
        match each:
            case [str(kind), str(base), str(result), int(size)] if kind in KINDS and 0 <= size <= len(body):
                deltas.append(Delta(kind, base, result, body[start : start + size]))
                start += size
            case _:
                raise SyncError.because("protocol", "the offer describes no deltas that are known here")
    if start != len(body) or deltas[-1].result != offer.text("result"):
        raise SyncError.because("protocol", "the deltas are not what was offered")
    return tuple(deltas)


def _acknowledged(channel: Channel, expected: int) -> int:
    if channel.receive("ack").number("number") != expected:
        raise SyncError.because("protocol", "a chunk was acknowledged out of order")
    return 1


def _size(deltas: Sequence[Delta]) -> int:
    return sum(len(each.body) for each in deltas)
