"""Vectors of the joint space by row id, and memories ranked by a question for each set of modalities."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.engine.backends.blas import single_threaded
from aios_db.schema.modalities import BITS, FEW, bits_of, made_by, version_number
from aios_db.schema.retrieval import RowIds
from aios_db.search.rowtable import RowTable

EARLIER_S = 60.0
"""How long the vectors of the space before answer questions that were put in it, after the exchange."""
_MEDIA = sum(bit for name, bit in BITS.items() if name != "text")

Question = NDArray[np.float32]
"""float32 (sets, width), see `JointSpace.question`; at [0, 0] stands the `version_number`."""


@dataclass(frozen=True)
class JointArrays:
    """Vectors as a segment keeps them.

    Attributes
    ----------
    rows, vectors, sets
        int64 (n,) row ids, float32 (n, width) vector and hubness, uint8 (n,) modalities as bits.
    version
        Of the weights that made them, UTF-8 as uint8; those of another are not kept.
    """

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]
    sets: NDArray[np.uint8]
    version: NDArray[np.uint8]

    @classmethod
    def empty(cls) -> JointArrays:
        """Return the vectors of no memories."""
        return cls(
            np.empty(0, np.int64), np.empty((0, 0), np.float32), np.empty(0, np.uint8), np.empty(0, np.uint8)
        )

    def of(self, keep: NDArray[np.bool_]) -> JointArrays:
        """Return those that a mask keeps: bool ``(n,)``."""
        return JointArrays(self.rows[keep], self.vectors[keep], self.sets[keep], self.version)


class JointVectors:
    """The vectors of one version of the joint space, which grow; what was deleted is left to the caller.

    Those of the version before are kept for a minute: a question may have been put in its space, and be on
    its way, while all vectors are exchanged.

    Parameters
    ----------
    arrays
        What was saved.
    """

    def __init__(self, arrays: JointArrays) -> None:
        self._arrays = arrays
        self._count = len(arrays.rows)
        self._place = RowTable(np.int64, -1)
        self._place[arrays.rows] = np.arange(self._count)
        # What is mapped, or in a copy, too, is copied before it changes; what lies behind it may be written.
        self._owned, self._grows = False, False
        self._earlier: JointVectors | None = None
        self._exchanged_at = 0.0
        self._number = version_number(arrays.version.tobytes().decode())

    def __len__(self) -> int:
        return self._count

    def copy(self) -> JointVectors:
        """Return vectors that may be changed, while these stay as they are from now on."""
        copied = copy(self)
        copied._place, copied._owned = self._place.copy(), False
        copied._earlier = self._recent_earlier()
        return copied

    def arrays(self) -> JointArrays:
        """Return what there is now, not to be changed."""
        found = self._arrays
        count = self._count
        return JointArrays(
            found.rows[:count].copy(), found.vectors[:count].copy(), found.sets[:count].copy(), found.version
        )

    def put(self, batch: pa.RecordBatch) -> None:
        """Add or replace the vectors of memories; those that have none now are taken out.

        Where they are of another version than those that are kept, they replace all of them: one commit
        exchanges the vectors of a database.
        """
        rows = batch["_rowid"].to_numpy().astype(np.int64)
        there = batch["joint_embedding"].is_valid().to_numpy(zero_copy_only=False)
        gone = self._place[rows[~there]]
        self._sets_of(gone[gone >= 0], 0)
        if not there.any():
            return
        chosen = batch.filter(pa.array(there))
        versions = [made_by(each)[0] for each in chosen["joint_weight_version"].to_pylist()]
        newest = versions[-1]
        if newest.encode() != self._arrays.version.tobytes():
            keep = np.array([each == newest for each in versions])
            chosen = chosen.filter(pa.array(keep))
            self._restart(newest)
        vectors = _matrix(chosen)
        sets = np.array([bits_of(each) for each in chosen["modalities"].to_pylist()], np.uint8)
        self._write(chosen["_rowid"].to_numpy().astype(np.int64), vectors, sets)

    def scores(self, question: Question) -> tuple[RowIds, NDArray[np.uint8], NDArray[np.float64]]:
        """Return row ids, modalities and scores of the memories that a question says something of."""
        earlier = self._recent_earlier()
        if earlier is not None and question[0, 0] != self._number:
            return earlier.scores(question)
        count = self._count
        sets, rows = self._arrays.sets[:count], self._arrays.rows[:count]
        scores = np.full(count, -np.inf)
        asked = question.shape[1] == self._arrays.vectors.shape[1] and question[0, 0] == self._number
        if count and asked:  # by the space that made the vectors
            with single_threaded():
                for bits in np.unique(sets).tolist():
                    if bits and question[bits].any():
                        of = np.flatnonzero(sets == bits)
                        scores[of] = self._arrays.vectors[of] @ question[bits]
        known = np.isfinite(scores)
        return rows[known], sets[known], scores[known]

    def _recent_earlier(self) -> JointVectors | None:
        """Return the vectors before, and let go of them when their time is over."""
        earlier = self._earlier
        if earlier is not None and time.monotonic() >= self._exchanged_at + EARLIER_S:
            self._earlier = earlier = None
        return earlier

    def _restart(self, version: str) -> None:
        self._earlier, self._exchanged_at = copy(self), time.monotonic()
        self._earlier._earlier = None
        empty = JointArrays.empty()
        self._arrays = JointArrays(
            empty.rows, empty.vectors, empty.sets, np.frombuffer(version.encode(), np.uint8)
        )
        self._count, self._place = 0, RowTable(np.int64, -1)
        self._owned = self._grows = True
        self._number = version_number(version)

    def _write(self, rows: RowIds, vectors: NDArray[np.float32], sets: NDArray[np.uint8]) -> None:
        fresh = self._place[rows] < 0
        count = self._count + int(fresh.sum())
        if count > len(self._arrays.rows) or not (self._owned or self._keeps(rows, vectors, sets)):
            self._grow(max(count, 2 * self._count, 64), vectors.shape[1])
        if fresh.any():
            self._place[rows[fresh]] = np.arange(self._count, count)
        at = self._place[rows]
        self._arrays.rows[at], self._arrays.vectors[at], self._arrays.sets[at] = rows, vectors, sets
        self._count = count

    def _keeps(self, rows: RowIds, vectors: NDArray[np.float32], sets: NDArray[np.uint8]) -> bool:
        """Tell whether what is there of these stays as it is, and all else comes behind it."""
        at = self._place[rows]
        old = at >= 0
        same = np.array_equal(self._arrays.sets[at[old]], sets[old])
        return self._grows and same and np.array_equal(self._arrays.vectors[at[old]], vectors[old])

    def _sets_of(self, places: NDArray[np.int64], bits: int) -> None:
        if len(places):
            if not (self._owned or (self._arrays.sets[places] == bits).all()):
                self._grow(max(self._count, 64), self._arrays.vectors.shape[1])
            if self._owned:
                self._arrays.sets[places] = bits

    def _grow(self, size: int, width: int) -> None:
        old, count = self._arrays, self._count
        grown: tuple[NDArray[Any], NDArray[Any], NDArray[Any]] = (
            np.zeros(size, np.int64), np.zeros((size, width), np.float32), np.zeros(size, np.uint8)
        )  # fmt: skip
        rows, vectors, sets = grown
        if count:
            rows[:count], vectors[:count], sets[:count] = (
                old.rows[:count],
                old.vectors[:count],
                old.sets[:count],
            )
        self._arrays = JointArrays(rows, vectors, sets, old.version)
        self._owned = self._grows = True


def standardised(
    scores: NDArray[np.float64], sets: NDArray[np.uint8], counted: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return scores in deviations above the mean of memories of the same modalities.

    A picture is nearer to pictures than any text is. Where there are too few memories of the same modalities
    to measure a deviation, scores stay as they are: a question is scaled so that 1 is about one deviation.

    Parameters
    ----------
    counted
        bool (n,): which memories others are measured by.
    """
    found = scores.copy()
    for bits in np.unique(sets).tolist():
        of = sets == bits
        among = scores[of & counted]
        if len(among) >= FEW:
            deviation = float(among.std())
            found[of] = (scores[of] - among.mean()) / (deviation if deviation > 1e-9 else 1.0)
    return found


def is_medium(sets: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell which sets of modalities, uint8 bits, have more than a text."""
    return (sets & np.uint8(_MEDIA)) > 0


def best(
    rows: RowIds, scores: NDArray[np.float64], k: int, passes: Callable[[RowIds], NDArray[np.bool_]]
) -> tuple[RowIds, NDArray[np.float64]]:
    """Return row ids and scores of the ``k`` best that pass, best first, ties by row id."""
    order = np.lexsort((rows, -scores))
    found: list[NDArray[np.int64]] = []
    left, size = k, max(4 * k, 64)
    for start in range(0, len(order), size):
        some = order[start : start + size]
        some = some[passes(rows[some])][:left]
        found.append(some)
        left -= len(some)
        if left <= 0:
            break
    chosen = np.concatenate(found) if found else order[:0]
    return rows[chosen], scores[chosen]


def _matrix(batch: pa.RecordBatch) -> NDArray[np.float32]:
    """Return vectors and hubness, one after the other: (n, width)."""
    halves = [
        batch[name].flatten().to_numpy(zero_copy_only=False).reshape(len(batch), -1)
        for name in ("joint_embedding", "joint_hubness")
    ]
    return np.hstack(halves).astype(np.float32, copy=False)
