"""Cards on Flower (flwr): a strategy that keeps the head of a card, a client mod, and deltas between them.

Flower's messages carry whole arrays. Between these two they carry what changed since a version that the node
has; the `ClientApp` gets arrays and returns arrays, as ever. Who may take part, and how its messages are kept
from others, is up to Flower.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from aios_db.federation.card import LoraCard
from aios_db.federation.card_files import card_bytes, card_from_bytes
from aios_db.federation.delta import Delta, exact_delta, moved, sparse_delta, vector
from aios_db.federation.feedback import DECAY
from aios_db.federation.hub import Hub, Push, Rounds
from aios_db.federation.library import CardLibrary
from aios_db.federation.messages import SyncError
from aios_db.federation.sparse import Sparsity
from aios_db.federation.transfer import Parcel, smallest_parcel
from aios_db.schema.errors import DataError

try:
    from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MessageType, RecordDict
    from flwr.serverapp.strategy import FedAvg
except ImportError as error:
    raise ImportError(f"needs the flower extra: pip install 'aios_db[flower]' ({error})") from error

log = logging.getLogger("aios_db.federation")

RECORD = "aios-card"
"""The key of what is sent in place of arrays, and of what a node keeps."""
_PRECONDITION = 6  # Flower's code for a mod that cannot go on
_EVERYBODY = 1 << 31  # a round is as large as what Flower samples


class CardStrategy(FedAvg):  # type: ignore[misc]
    """Joins what the nodes made of a card, as a `Hub` does, and sends each node what it lacks.

    The head is that of the library; the arrays that `start` is given are not looked at.

    Parameters
    ----------
    rounds
        How versions become one, and how sparse the next head is sent. Its ``size`` is what Flower samples.
    max_change
        Norm of a change that is taken, as a share of that of its base.
    options
        Those of Flower's ``FedAvg``.
    """

    def __init__(
        self,
        library: CardLibrary,
        name: str,
        rounds: Rounds | None = None,
        *,
        max_change: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._library, self._name = library, library.get(name).name
        self._hub = Hub(library, replace(rounds or Rounds(), size=_EVERYBODY), max_change=max_change)
        self._has: dict[int, str] = {}

    @property
    def arrays(self) -> Any:
        """The head, as an ``ArrayRecord``."""
        return to_arrays(self._library.get(self._name))

    def configure_train(self, server_round: int, arrays: Any, config: Any, grid: Any) -> Iterable[Any]:
        """Sample nodes as FedAvg does, and send them the head."""
        return self._sent(super().configure_train(server_round, ArrayRecord(), config, grid))

    def configure_evaluate(self, server_round: int, arrays: Any, config: Any, grid: Any) -> Iterable[Any]:
        """Sample nodes as FedAvg does, and send them the head."""
        return self._sent(super().configure_evaluate(server_round, ArrayRecord(), config, grid))

    def aggregate_train(self, server_round: int, replies: Iterable[Any]) -> tuple[Any, Any]:
        """Make the next head of the replies; those that are refused are left out, and logged."""
        taken = []
        for reply in self._answers(replies):
            try:
                self._take(reply)
            except (SyncError, DataError) as error:
                log.warning("what node %d sent is left out: %s", reply.metadata.src_node_id, error)
            else:
                taken.append(reply.content)
        if not taken:
            return None, None
        self._hub.end_round(self._name)
        return self.arrays, self.train_metrics_aggr_fn(taken, self.weighted_by_key)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Any]) -> Any:
        """Average the metrics as FedAvg does."""
        return super().aggregate_evaluate(server_round, self._answers(replies))

    def _sent(self, messages: Iterable[Any]) -> list[Any]:
        """Put what each node lacks of the head in place of the arrays."""
        head, records = self._library.get(self._name), dict[str | None, Any]()
        sent = []
        for message in messages:
            base = self._has.get(message.metadata.dst_node_id)
            if base not in records:
                known = self._library.by_hash(self._name, base) if base else None
                parcel = (
                    Parcel(head.sha256)
                    if base == head.sha256
                    else smallest_parcel(self._library, known, head)
                )
                records[base] = to_record(parcel, base=base or "", name=self._name)
            others = {key: each for key, each in message.content.items() if key != self.arrayrecord_key}
            message.content = RecordDict({**others, RECORD: records[base]})
            sent.append(message)
        return sent

    def _answers(self, replies: Iterable[Any]) -> list[Any]:
        """Return the replies that are no errors, and note what their nodes have."""
        answers, head = [], self._library.get(self._name).sha256
        for reply in replies:
            node = reply.metadata.src_node_id
            if reply.has_error():
                self._has.pop(node, None)  # it gets the card whole, next time
                log.warning("node %d failed: %s", node, reply.error.reason)
            else:
                self._has[node] = head
                answers.append(reply)
        return answers

    def _take(self, reply: Any) -> None:
        record, metrics = reply.content.get(RECORD), list(reply.content.metric_records.values())
        samples = metrics[0].get(self.weighted_by_key) if len(metrics) == 1 else None
        if not isinstance(samples, (int, float)) or not 0 < samples < _EVERYBODY:
            raise SyncError.because("protocol", f"its metrics hold no {self.weighted_by_key!r}: {samples!r}")
        if not isinstance(record, ConfigRecord):
            raise SyncError.because("protocol", "it is no change of a card: the app needs `DeltaMod`")
        parcel, base = from_record(record), self._library.by_hash(self._name, str(record["base"]))
        if base is None:
            raise SyncError.because("stale", "its base is not here")
        card = parcel.opened(base, self._name)[-1]
        delta = parcel.deltas[0] if len(parcel.deltas) == 1 else None
        self._hub.take(Push(str(reply.metadata.src_node_id), base, card, round(samples), delta))


class DeltaMod:
    """A mod of a ``ClientApp``: arrays there, deltas on the way.

    Add it as the last of the mods, so that others see what is sent. What the node has, and what it owes, is
    in the context's state.

    Parameters
    ----------
    sparsity
        Send only the largest part of a change; the rest is owed. By default changes are exact.
    decay
        What is left of a debt after a round.
    arrays
        The key of the arrays, as the strategy's ``arrayrecord_key``.
    """

    def __init__(
        self, sparsity: Sparsity | None = None, *, decay: float = DECAY, arrays: str = "arrays"
    ) -> None:
        self._sparsity, self._decay, self._arrays = sparsity, decay, arrays

    def __call__(self, message: Any, context: Any, call_next: Any) -> Any:
        """Hand on the message with arrays, and return the reply with a delta."""
        record = message.content.get(RECORD)
        if record is None:
            return call_next(message, context)
        try:
            card = self._received(record, context)
        except DataError as error:
            return Message(Error(_PRECONDITION, f"{error}: the card is needed whole"), reply_to=message)
        training = message.metadata.message_type.partition(".")[0] == MessageType.TRAIN
        others = {key: each for key, each in message.content.items() if key != RECORD}
        arrays = to_arrays(self._with_debt(card, context) if training else card)
        message.content = RecordDict({**others, self._arrays: arrays})
        reply = call_next(message, context)
        if training and not reply.has_error() and self._arrays in reply.content:
            made = with_arrays(card, reply.content[self._arrays])
            others = {key: each for key, each in reply.content.items() if key != self._arrays}
            record = to_record(self._parcel(card, made, context), base=card.sha256, name=card.name)
            reply.content = RecordDict({**others, RECORD: record})
        return reply

    def _received(self, record: Any, context: Any) -> LoraCard:
        """Return the card that a message leads to, and keep it."""
        name, parcel = str(record["name"]), from_record(record)
        state = context.state.get(RECORD)
        here = _kept(context) if state is not None else None
        if parcel.deltas or parcel.content:
            card = parcel.opened(here, name)[-1]
        elif here is not None and here.sha256 == parcel.result:
            card = here
        else:
            raise DataError(f"version {parcel.result[:12]} of {name} is not here")
        owed = state["owed"] if state is not None and state["name"] == name else b""
        context.state[RECORD] = ConfigRecord({"name": name, "card": card_bytes(card), "owed": owed})
        return card

    def _with_debt(self, card: LoraCard, context: Any) -> LoraCard:
        """Return what is trained: what the node owes would be learned again otherwise."""
        owed = np.frombuffer(context.state[RECORD]["owed"], np.float32)
        if self._sparsity is None or owed.shape != (card.parameters,):
            return card
        return moved(card, np.float32(self._decay) * owed)

    def _parcel(self, base: LoraCard, card: LoraCard, context: Any) -> Parcel:
        if self._sparsity is None:
            return min(Parcel.of([exact_delta(base, card)]), Parcel.whole(card), key=lambda each: each.size)
        change = vector(card) - vector(base)
        delta, _, sent = sparse_delta(base, change, self._sparsity)
        context.state[RECORD]["owed"] = (change - sent).tobytes()
        return Parcel.of([delta])


def sent_card(message: Any, context: Any, arrays: str = "arrays") -> LoraCard:
    """Return the card that a node was sent, for a ``ClientApp`` that trains or measures it.

    Raises
    ------
    DataError
        It was sent none: the app has no `DeltaMod`.
    """
    if RECORD not in context.state:
        raise DataError("this node was sent no card: add `DeltaMod` to the app")
    return with_arrays(_kept(context), message.content[arrays])


def _kept(context: Any) -> LoraCard:
    state = context.state[RECORD]
    return card_from_bytes(state["card"], where="the state of this node", name=state["name"])


def to_arrays(card: LoraCard) -> Any:
    """Return the factors of a card as an ``ArrayRecord``, named as `LoraCard.arrays` names them."""
    return ArrayRecord({name: Array(np.asarray(array)) for name, array in card.arrays()})


def with_arrays(card: LoraCard, arrays: Any) -> LoraCard:
    """Return a card with the numbers of an ``ArrayRecord``.

    Raises
    ------
    DataError
        Factors are missing, or have other shapes or types, or numbers that are not finite.
    """
    found = {name: each.numpy() for name, each in arrays.items()}
    if missing := {name for name, _ in card.arrays()} - set(found):
        raise DataError(f"the arrays hold no {min(missing)!r}, which {card.version} has")
    made = card.with_arrays(found)
    if (reason := card.mismatch(made)) is not None:
        raise DataError(f"the arrays are no version of {card.version}: {reason}")
    return made


def to_record(parcel: Parcel, **about: str) -> Any:
    """Return a parcel as a ``ConfigRecord``."""
    return ConfigRecord(
        {
            **about,
            "result": parcel.result,
            "content": parcel.content,
            "kinds": [each.kind for each in parcel.deltas],
            "hashes": [part for each in parcel.deltas for part in (each.base, each.result)],
            "bodies": [each.body for each in parcel.deltas],
        }
    )


def from_record(record: Any) -> Parcel:
    """Return the parcel in a ``ConfigRecord``.

    Raises
    ------
    DataError
        It is none.
    """
    try:
        kinds, hashes, bodies = (list(record[key]) for key in ("kinds", "hashes", "bodies"))
        pairs: Sequence[tuple[str, str]] = list(zip(hashes[::2], hashes[1::2], strict=True))
        deltas = tuple(
            Delta(str(kind), str(base), str(result), bytes(body))
            for kind, (base, result), body in zip(kinds, pairs, bodies, strict=True)
        )
        return Parcel(str(record["result"]), deltas, bytes(record["content"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the record {RECORD!r} holds no card and no deltas: {error!r}") from error
