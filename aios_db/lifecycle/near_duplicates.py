"""Memories that say the same again: the same words and signs in the same order.

"So, the ferry is late." and "The ferry is late!" are; "The ferry is not late." and "The ferry is late?" are
not, nor what another user, agent, speaker or source says, nor what is trusted otherwise. In doubt nothing is
folded: the sign before a number counts, and the article in "Vitamin A", and the capital in "5 MW".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.consolidations import Folding
from aios_db.schema.memories import KEY

if TYPE_CHECKING:
    from aios_db.store.opened import OpenDatabase
    from aios_db.store.snapshot import Level

_WORD = re.compile(r"\d+(?:[.,:/\-]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*|[^\w\s]|_")
_MARKS = re.compile(r"[.,;!…]+(?=\s|$)|[\"“”]")
_STARTS = frozenset(["The", "It", "This", "That", "There"])  # a capital of theirs says nothing
_OPENING = re.compile(r"\s*(?:so|well|hey|and|also|anyway|btw),\s", re.IGNORECASE)
_EMPTY = (
    "valid_until", "expires_at", "superseded_by", "external_id", "media_uri", "audio_uri",
)  # fmt: skip
"""What is NULL of a memory that may be folded: what has a name, an end or a medium of its own stays."""
_FEWEST = 3  # that are folded by hand, unless the configuration says
SAID_BY = ("user_id", "agent_id", "kind", "speaker", "source", "title")
"""What memories that are folded have in common, beside their words, and keep."""
_LIKE = (*SAID_BY, "tier", "importance")
_COUNTED = ("occurrences", "times", "occurred_at", "expires_at")


@dataclass(frozen=True)
class _Said:
    memory_id: str
    happened_at: datetime
    occurrences: int


def words_of(text: str, speaker: str | None = None) -> tuple[str, ...]:
    """Return the words by which a text is the same as another; none where it says too little."""
    said = text.removeprefix(f"{speaker}:") if speaker else text
    while opening := _OPENING.match(said):
        said = said[opening.end() :]
    first, *others = [each.replace("’", "'") for each in _WORD.findall(_MARKS.sub(" ", said))] or [""]
    return (first.lower() if first in _STARTS else first, *others) if first else ()


def said_again(database: OpenDatabase, now: Level) -> list[Folding]:
    """Return what says the same as newer memories; nothing is written."""
    groups: dict[tuple[object, ...], list[_Said]] = {}
    condition = (pc.field("tier") == "short") & ~pc.field("pinned")
    for name in _EMPTY:
        condition &= pc.field(name).is_null()
    if database.scope.condition is not None:
        condition &= database.scope.condition
    held = now.index.held()
    columns = [KEY, "text", "derived_from", "modalities", "created_at", "occurred_at", "occurrences", *_LIKE]
    for batch in now.memories.scanner(columns=columns, filter=condition).to_batches():
        trust = now.index.trust(now.index.find_ids(batch[KEY])).tolist()
        for row, share in zip(batch.to_pylist(), trust, strict=True):
            words = words_of(row["text"], row["speaker"])
            if words and not row["derived_from"] and row["modalities"] == ["text"] and row[KEY] not in held:
                key = (words, share, *(row[name] for name in _LIKE))
                said = _Said(row[KEY], row["occurred_at"] or row["created_at"], row["occurrences"])
                groups.setdefault(key, []).append(said)
    least = max(database.config.consolidation.fold_from or _FEWEST, 2)
    return [_folding(each) for each in groups.values() if len(each) >= least]


def _folding(group: list[_Said]) -> Folding:
    *older, newest = sorted(group, key=lambda each: (each.happened_at, each.memory_id))
    count = sum(each.occurrences for each in group)
    return Folding(newest.memory_id, [each.memory_id for each in older], count)


def folded_columns(now: Level, foldings: Sequence[Folding]) -> tuple[NDArray[np.int64], dict[str, pa.Array]]:
    """Return the rows that a folding changes, and what of them."""
    rows = now.index.find_ids([name for each in foldings for name in (*each.folded, each.memory_id)])
    stored = now.memories._take_rows(rows.tolist(), columns=list(_COUNTED))
    columns = {name: stored[name].to_pylist() for name in _COUNTED}
    moment, start = datetime.now(timezone.utc), 0
    for each in foldings:
        end = start + len(each.folded)
        own = slice(start, end + 1)
        at = (
            known or [time]
            for known, time in zip(columns["times"][own], columns["occurred_at"][own], strict=True)
        )
        times = sorted(time for some in at for time in some if time is not None)
        columns["times"][end] = times or None
        columns["occurrences"][end] = each.occurrences
        columns["expires_at"][start:end] = [moment] * len(each.folded)
        start = end + 1
    changed = ("occurrences", "times", "expires_at")
    return rows, {name: pa.array(columns[name], stored.schema.field(name).type) for name in changed}
