"""Which memories no longer hold: a newer one states another value of the same fact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from aios_db.lifecycle.facts import Fact, facts_of
from aios_db.lifecycle.rewording import Wording, wordings_of
from aios_db.lifecycle.statements import told
from aios_db.schema.consolidations import Supersession

if TYPE_CHECKING:
    from aios_db.store.opened import OpenDatabase
    from aios_db.store.snapshot import Level

_COLUMNS = ["memory_id", "text", "speaker", "user_id", "agent_id", "occurred_at", "created_at"]
_MADE = ("principle", "summary")
_MOST_CHANGED = 2  # memories that one says are over; of more, none is known to be meant
_LEAST_SHARE = 0.5  # of a text: what says much besides is not over when one fact in it is

Key = tuple[str | None, str | None, str, str]
"""User, agent, subject, attribute."""


@dataclass(frozen=True)
class _Memory:
    memory_id: str
    text: str
    speaker: str | None
    user_id: str | None
    agent_id: str | None
    time: datetime
    trust: float


@dataclass(frozen=True)
class _Worded:
    """A short text, and the memory that it is."""

    memory_id: str
    time: datetime
    wording: Wording
    trust: float


@dataclass(frozen=True)
class _Stated:
    """A fact, and the memory that states it."""

    memory_id: str
    time: datetime
    fact: Fact
    trust: float


def superseded(database: OpenDatabase, now: Level) -> list[Supersession]:
    """Return the memories that no longer hold, with what holds instead; nothing is written.

    What is trusted less says nothing about what is trusted more, what is held in quarantine says nothing at
    all, and nobody says anything about another user's memories.
    """
    found: dict[str, Supersession] = {}
    by_key: dict[Key, list[_Stated]] = {}
    worded: dict[tuple[str | None, str | None, str], list[_Worded]] = {}
    for memory in _living(database, now):
        said = told(memory.text, memory.speaker)
        for fact in facts_of(said):
            key = memory.user_id, memory.agent_id, fact.subject, fact.attribute
            by_key.setdefault(key, []).append(_Stated(memory.memory_id, memory.time, fact, memory.trust))
        for wording in wordings_of(said):
            owner = memory.user_id, memory.agent_id, (memory.speaker or "").casefold()
            worded.setdefault(owner, []).append(_Worded(memory.memory_id, memory.time, wording, memory.trust))
    for (_, _, subject, attribute), several in by_key.items():
        several.sort(key=lambda each: (each.time, each.memory_id))
        holding: list[_Stated] = []
        for newer in several:
            for older in [each for each in holding if _ends(newer, each)]:
                holding.remove(older)
                if older.fact.share >= _LEAST_SHARE:
                    now_is = "" if newer.fact.gone else newer.fact.value
                    found.setdefault(
                        older.memory_id,
                        Supersession(
                            older.memory_id, newer.memory_id, newer.time, subject, attribute,
                            older.fact.value, now_is,
                        ),
                    )  # fmt: skip
            if not newer.fact.gone:
                holding.append(newer)
    for alike in worded.values():
        for each in _reworded(alike):
            found.setdefault(each.memory_id, each)
    return list(found.values())


def _reworded(several: list[_Worded]) -> Iterator[Supersession]:
    """Yield what newer memories say has changed, where just one older memory is about it."""
    by_word: dict[str, list[_Worded]] = {}
    for newer in sorted(several, key=lambda each: (each.time, each.memory_id)):
        if newer.wording.changes:
            about = {
                older.memory_id: older for word in newer.wording.named for older in by_word.get(word, ())
            }
            changed = [
                (older, values)
                for older in about.values()
                if older.time < newer.time and newer.trust >= older.trust
                if (values := newer.wording.changed(older.wording))
            ]
            for older, (was, now) in changed if len(changed) <= _MOST_CHANGED else ():
                said = " ".join(sorted(older.wording.named & newer.wording.named))
                yield Supersession(older.memory_id, newer.memory_id, newer.time, "", said, was, now)
        for word in newer.wording.named:
            by_word.setdefault(word, []).append(newer)


def _ends(newer: _Stated, older: _Stated) -> bool:
    return (
        newer.memory_id != older.memory_id
        and newer.trust >= older.trust
        and newer.time > older.time
        and newer.fact.conflicts(older.fact, older.time.year)
    )


def _living(database: OpenDatabase, now: Level) -> Iterator[_Memory]:
    """Yield the memories that hold and may say something of others."""
    condition = pc.field("valid_until").is_null() & ~pc.field("kind").isin(list(_MADE))
    if database.scope.condition is not None:
        condition &= database.scope.condition
    held = now.index.held()
    for batch in now.memories.scanner(columns=_COLUMNS, filter=condition).to_batches():
        trust = now.index.trust(now.index.find_ids(batch["memory_id"])).tolist()
        for row, share in zip(batch.to_pylist(), trust, strict=True):
            if row["memory_id"] not in held:
                time = row.pop("occurred_at") or row["created_at"]
                del row["created_at"]
                yield _Memory(**row, time=time, trust=share)
