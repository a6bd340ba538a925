"""Which of several equal messages a row is: the part of `content_hash` that the words do not say.

A message is another one when it was said at another time. In one session it is also another one when it
came again: of equal turns in a transcript, untimed or at the same time, the second is number 2. A transcript
that is given again, or in a longer version, so finds each of its turns. Turns given one by one without a time
are *appended*: each is a new one, as nothing says which of the stored ones it could be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.identity import HEX, NUMBER, TIME, external_key, external_suffix

_APPENDED = NUMBER + "+"  # a number that is found when the lock is held


class Turns:
    """How often each turn came so far in a transcript that is given in several calls."""

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()

    def skip(self, rows: pa.Table) -> None:
        """Count turns that were stored before, as from `rows.normalise`."""
        content_identities(rows, self, append=False, fold=False)

    def number(self, turn: str) -> int:
        """Count a turn and return the number it has among its equals, from 1."""
        self._given[turn] += 1
        return self._given[turn]


def numbered(turn: str, number: int) -> str:
    """Return the content hash of a turn that is not the first of its equals."""
    return turn if number == 1 else f"{turn}{NUMBER}{number}"


def content_identities(given: pa.Table, turns: Turns, *, append: bool, fold: bool) -> list[str]:
    """Return the content hash of each row, as if none had an ``external_id``.

    Parameters
    ----------
    given
        As from `rows.normalise`.
    turns
        What the transcript had before.
    append
        Untimed messages of a session are new turns; `settled` numbers them.
    fold
        Equal messages are one memory, whenever they were said.
    """
    hashes = given["content_hash"].combine_chunks()
    if fold:
        return hashes.to_pylist()  # type: ignore[no-any-return]
    messages = pc.equal(given["kind"], "message").combine_chunks()
    timed = pc.and_(messages, given["occurred_at"].combine_chunks().is_valid())
    if pc.any(timed).as_py():
        ticks = given["occurred_at"].combine_chunks().cast(pa.int64()).cast(pa.string())
        hashes = pc.if_else(timed, pc.binary_join_element_wise(hashes, ticks, TIME), hashes)
    found: list[str] = hashes.to_pylist()
    in_session = pc.and_(messages, given["session_id"].combine_chunks().is_valid())
    untimed = pc.invert(timed).to_pylist()
    for row in np.flatnonzero(in_session.to_numpy(zero_copy_only=False)).tolist():
        if append and untimed[row]:
            found[row] += f"{_APPENDED}{row}"
        else:
            found[row] = numbered(found[row], turns.number(found[row]))
    return found


def external_keys(given: pa.Table) -> list[str | None]:
    """Return the key of each row's ``external_id``."""
    if given["external_id"].null_count == len(given):
        return [None] * len(given)
    scopes = zip(*(given[name].to_pylist() for name in ("user_id", "agent_id", "external_id")), strict=True)
    return [None if name is None else external_key(user, agent, name) for user, agent, name in scopes]


def with_external(hashes: Sequence[str], keys: Sequence[str | None]) -> list[str]:
    """Return the hashes as they are stored: a name of the user's stands instead of time and number."""
    return [
        each if key is None else each[:HEX] + external_suffix(key)
        for each, key in zip(hashes, keys, strict=True)
    ]


def settled(hashes: Sequence[str], taken: Callable[[str], bool]) -> list[str]:
    """Give appended turns their numbers, behind what is stored; ``taken`` tells of a hash whether it is."""
    last: dict[str, int] = {}
    found = []
    for each in hashes:
        turn, appended, _ = each.partition(_APPENDED)
        if appended:
            last[turn] = last[turn] + 1 if turn in last else free_number(turn, taken)
        found.append(numbered(turn, last[turn]) if appended else each)
    return found


def free_number(turn: str, taken: Callable[[str], bool]) -> int:
    """Return a number that no stored turn has, in a logarithmic number of steps."""
    below, step = 0, 1
    while taken(numbered(turn, below + step)):
        below, step = below + step, 2 * step
    above = below + step
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if taken(numbered(turn, middle)) else (below, middle)
    return above


def folded(given: pa.Table, of_row: NDArray[np.int64], count: int) -> dict[str, pa.Array]:
    """Return ``occurrences``, ``times`` and ``occurred_at`` of ``count`` memories, each said by some rows.

    ``of_row`` says of each row which memory it is.
    """
    times: list[list[datetime]] = [[] for _ in range(count)]
    for place, time in zip(of_row.tolist(), given["occurred_at"].to_pylist(), strict=True):
        if time is not None:
            times[place].append(time)
    type_ = given.schema.field("occurred_at").type
    return {
        "occurrences": pa.array(np.bincount(of_row, minlength=count), pa.int64()),
        "times": pa.array([sorted(each) or None for each in times], pa.list_(type_)),
        "occurred_at": pa.array([max(each, default=None) for each in times], type_),
    }


def fold_again(stored: pa.Table, given: pa.Table, *, append: bool) -> dict[str, pa.Array]:
    """Return ``occurrences``, ``times`` and ``occurred_at`` of folded memories that are said again.

    What is given is what was said as far as it is stored, as in a transcript; with ``append``, what has no
    time was said once more. The memory happened when it was said last.
    """
    said, times = [], []
    for was, now in zip(*(_spoken(table) for table in (stored, given)), strict=True):
        all_times = sorted((was[0] | now[0]).elements())
        said.append(len(all_times) + (was[1] + now[1] if append else max(was[1], now[1])))
        times.append(all_times or None)
    type_ = stored.schema.field("times").type
    last = pa.array([each[-1] if each else None for each in times], type_.value_type)
    return {"occurrences": pa.array(said, pa.int64()), "times": pa.array(times, type_), "occurred_at": last}


def _spoken(table: pa.Table) -> list[tuple[Counter[datetime], int]]:
    """Return of each memory its times, and how often it was said at an unknown time."""
    rows = table.select(["occurrences", "times", "occurred_at"]).to_pylist()
    found = []
    for row in rows:
        times = Counter(row["times"] or ([row["occurred_at"]] if row["occurred_at"] else []))
        found.append((times, max(row["occurrences"] - times.total(), 0)))
    return found
