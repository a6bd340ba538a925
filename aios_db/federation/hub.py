"""What a server does with the versions that agents push: the head of a card moves on."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from aios_db.federation.aggregation import Contribution, aggregate
from aios_db.federation.card import LoraCard
from aios_db.federation.checks import check_version
from aios_db.federation.debts import Debt, Debts, published_key
from aios_db.federation.delta import Delta, exact_delta, moved, vector
from aios_db.federation.feedback import DECAY, Feedback
from aios_db.federation.library import CardLibrary
from aios_db.federation.messages import SyncError
from aios_db.federation.robust import RULES
from aios_db.federation.sparse import Sparsity
from aios_db.schema.amounts import amount
from aios_db.schema.errors import DataError, ProgrammingError

log = logging.getLogger("aios_db.federation")

_REMEMBERED = 16  # versions of an agent that are not counted twice
_LOOK_S = 0.25  # how often someone who waits looks whether a round has become too old


@dataclass(frozen=True)
class Rounds:
    """How the versions of several agents become one.

    Attributes
    ----------
    size
        Agents whose versions make the next one; 1 takes each version as it comes.
    rule
        See `aios_db.federation.robust.judge`.
    sparsity
        How much of what the head changes by is published; by default all of it, exactly.
    decay
        Of what was not published.
    longest_s
        A round ends so long after its first version, with the agents that are there by then.
    """

    size: int = 1
    rule: str = "auto"
    sparsity: Sparsity | None = None
    decay: float = DECAY
    longest_s: float = 3600.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.size < 1 or self.rule not in RULES:
            raise ProgrammingError(
                f"rounds of {amount(self.size, 'agent')} by the rule {self.rule!r} cannot be"
            )
        if not 0 < self.longest_s < math.inf:
            raise ProgrammingError(f"rounds cannot end after {self.longest_s} s: give seconds above 0")


@dataclass(frozen=True)
class Push:
    """A version that an agent has pushed."""

    agent: str
    base: LoraCard | None
    """The common version; None where the card was sent whole."""
    card: LoraCard
    samples: int
    delta: Delta | None = None
    """As it was sent, from ``base``."""


@dataclass
class _Round:
    """The versions that wait for others, by agent: of each the latest."""

    pushes: dict[str, Push] = field(default_factory=dict)
    began: float = 0.0


class Hub:
    """The heads of the cards in a library; safe to use from several threads.

    Versions that wait for a round to be complete are in memory: agents push them again when they were lost.

    Parameters
    ----------
    max_change
        Norm of a change that is taken, as a share of that of its base.
    """

    def __init__(
        self, library: CardLibrary, rounds: Rounds | None = None, *, max_change: float = 1.0
    ) -> None:
        self.library, self.rounds = library, rounds or Rounds()
        self._max_change = max_change
        self._changed = threading.Condition(threading.RLock())
        self._open: dict[str, _Round] = {}
        self._taken: dict[tuple[str, str], deque[str]] = {}
        self._debts = Debts(library.store.path)

    def take(self, push: Push) -> str:
        """Take a version that was pushed.

        Returns
        -------
        str
            ``applied`` once it is the head, or part of it; ``waiting`` for others to make the next head.

        Raises
        ------
        SyncError
            It is no version of the head, or changes its base too much.
        """
        name = push.card.name
        with self._changed:
            head = self.library.head(name)
            check_version(push.card, push.base or head, self._max_change)
            if head is None:
                self._add(push, push.card, None, None, origin="received")
                return "applied"
            if (reason := head.mismatch(push.card)) is not None:
                reason = f"{push.card.version} is no version of {head.version}: {reason}"
                raise SyncError.because("shape", reason)
            if push.base is None and push.card.sha256 != head.sha256:
                reason = f"{push.card.version} and {head.version} have no common version: pull first"
                raise SyncError.because("stale", reason)
            taken = self._taken.setdefault((name, push.agent), deque(maxlen=_REMEMBERED))
            if push.card.sha256 == head.sha256 or push.card.sha256 in taken:
                return "applied"  # the agent did not hear of it
            waiting = self._open.setdefault(name, _Round(began=time.monotonic()))
            waiting.pushes[push.agent] = push
            if len(waiting.pushes) < self.rounds.size:
                return "waiting"
            self._end_round(name, head)
            return "applied"

    def end_round(self, name: str) -> None:
        """Make the next head of the versions that are there, however many agents a round was to have.

        Raises
        ------
        SyncError
            They cannot be joined; they are forgotten.
        """
        with self._changed:
            head = self.library.head(name)
            if name in self._open and head is not None:
                self._end_round(name, head)

    def wait(self, name: str, sha256: str, timeout_s: float) -> None:
        """Return when another version than ``sha256`` is the head of a card, or after so long."""
        until = time.monotonic() + timeout_s
        with self._changed:
            while time.monotonic() < until and self._head_hash(name) in (None, sha256):
                self._end_old_round(name)
                self._changed.wait(_LOOK_S)

    def _end_old_round(self, name: str) -> None:
        waiting, head = self._open.get(name), self.library.head(name)
        if waiting and head and time.monotonic() - waiting.began > self.rounds.longest_s:
            log.warning(
                "a round of %s ends with %d of %s",
                name,
                len(waiting.pushes),
                amount(self.rounds.size, "agent"),
            )
            self._end_round(name, head)

    def _end_round(self, name: str, head: LoraCard) -> None:
        pushes = list(self._open.pop(name).pushes.values())
        push, owed = pushes[0], self._owed(name, head)
        follows = push.base is not None and push.base.sha256 == head.sha256
        if len(pushes) == 1 and follows and (owed is None or self.rounds.sparsity is not None):
            if owed is not None:
                self._debts.write(published_key(name), owed.moved_to(push.card.sha256))
            self._add(push, push.card, head, push.delta, origin="received")
            self._remember(name, pushes)
            return
        contributions = [
            Contribution(each.agent, each.base or head, each.card, each.samples) for each in pushes
        ]
        try:
            made = aggregate(head, contributions, self.rounds.rule)
        except DataError as error:
            raise SyncError.because("value", str(error)) from error
        details = {
            "rule": made.judgement.rule,
            "spread": round(made.judgement.spread, 4),
            "agents": {
                each.agent: round(float(s), 4) for each, s in zip(pushes, made.judgement.scales, strict=True)
            },
            "factors_error": round(made.factors_error, 6),
            "products_error": round(made.products_error, 6),
        }
        log.info("a round of %s has ended", name, extra={"event": "round_ended", **details})
        card, delta, owed = self._publish(head, made.card, owed)
        whole = Push(
            "+".join(sorted(each.agent for each in pushes)), head, card, sum(each.samples for each in pushes)
        )
        self._add(whole, card, head, delta, origin="received" if len(pushes) == 1 else "aggregated")
        self._remember(name, pushes)
        if owed is not None:
            self._debts.write(published_key(name), owed)

    def _owed(self, name: str, head: LoraCard) -> Debt | None:
        """Return what was not published of the changes up to a head."""
        debt = self._debts.read(published_key(name))
        if debt is None or (head.sha256 in debt.after and debt.residual.shape == (head.parameters,)):
            return debt
        log.warning("%s is not what was published last; what was not published is forgotten", head.version)
        self._debts.forget(published_key(name))
        return None

    def _publish(
        self, head: LoraCard, made: LoraCard, owed: Debt | None
    ) -> tuple[LoraCard, Delta | None, Debt | None]:
        """Return the next head, its delta if that is sparse, and what is owed after it."""
        change = vector(made) - vector(head)
        if self.rounds.sparsity is not None:
            feedback = Feedback(self.rounds.decay, None if owed is None else owed.residual)
            delta, card, residual = feedback.send(head, change, self.rounds.sparsity)
            return card, delta, Debt(residual, (card.sha256,))
        if owed is None:
            return made, None, None
        card = moved(made, owed.decayed(self.rounds.decay))
        return card, None, Debt(np.zeros_like(owed.residual), (card.sha256,))

    def _remember(self, name: str, pushes: Sequence[Push]) -> None:
        """Note what is part of a head, and not what a round that failed was to bring."""
        for each in pushes:
            self._taken.setdefault((name, each.agent), deque(maxlen=_REMEMBERED)).append(each.card.sha256)

    def _add(
        self, push: Push, card: LoraCard, head: LoraCard | None, delta: Delta | None, *, origin: str
    ) -> None:
        if delta is None and head is not None and head.sha256 != card.sha256:
            delta = exact_delta(head, card)
        self.library.add(
            card,
            origin=origin,
            parent=head.sha256 if head else None,
            agent=push.agent,
            samples=push.samples,
            delta=delta,
        )
        self._changed.notify_all()

    def _head_hash(self, name: str) -> str | None:
        hashes = self.library.hashes(name)
        return hashes[0] if hashes else None
