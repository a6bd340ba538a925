"""The labels of a memory, each a 64-bit key: the names in it, its title and its session."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import RowIds
from aios_db.search.phrases import title_keys, title_name
from aios_db.search.postings import Counts, Docs, GrowingPostings, Postings
from aios_db.search.ranking import digest64

HAS_TITLE = digest64("title")
_ODD = np.uint64(0x9E3779B97F4A7C15)


def name_label(phrase: str) -> int:
    """Return the key of memories that hold a name, number or date."""
    return digest64(f"name\0{phrase}")


def title_label(key: str) -> int:
    """Return the key of memories whose title can be mentioned as ``key``."""
    return digest64(f"title\0{key}")


def shared_name(title: str | None) -> int:
    """Return the label of the name in a title, the same for all titles of that name; 0 without one."""
    name = title_name(title) if title else None
    return title_label(name) if name else 0


@lru_cache(4096)
def session_label(user_id: str | None, agent_id: str | None, session_id: str) -> int:
    """Return the key of the memories of one session."""
    return digest64(f"session\0{user_id or ''}\0{agent_id or ''}\0{session_id}")


def memory_labels(
    title: str | None,
    names: Sequence[str],
    user_id: str | None,
    agent_id: str | None,
    session_id: str | None,
) -> dict[int, int]:
    """Return the labels of a memory that holds these names, each with a count of 1."""
    labels = {name_label(name): 1 for name in names}
    if title:
        labels |= {HAS_TITLE: 1, **{title_label(key): 1 for key in title_keys(title)}}
    if session_id is not None:
        labels[session_label(user_id, agent_id, session_id)] = 1
    return labels


class Labels:
    """Which memories have a label, by row id; dead ones are among them.

    Parameters
    ----------
    segment
        The lists of the memories in the segment.
    """

    def __init__(self, segment: Postings) -> None:
        self._segment = segment
        self.recent = GrowingPostings()
        self._lost: dict[int, frozenset[int]] = {}  # rows that a label's lists still name

    def copy(self) -> Labels:
        """Return labels that may be changed, while these stay as they are from now on."""
        copied = Labels(self._segment)
        copied.recent, copied._lost = self.recent.copy(), dict(self._lost)
        return copied

    def add(self, row: int, labels: dict[int, int], before: dict[int, int] | None = None) -> None:
        """Put a memory under its labels.

        Parameters
        ----------
        row
            The memory.
        labels
            What it has now, each with a count.
        before
            What it had when it was put before, even if it was deleted since: the lists still name it. What
            it no longer has is noted as lost.
        """
        if before:
            for label in before.keys() - labels.keys():
                self._lost[label] = self._lost.get(label, frozenset()) | {row}
            labels = {label: count for label, count in labels.items() if label not in before}
            for label in [label for label in labels if row in self._lost.get(label, ())]:
                self._lost[label] -= {row}
                del labels[label]
        self.recent.add(row, labels)

    @property
    def lost(self) -> NDArray[np.uint64]:
        """`mixed` of each label that a memory has lost and the memory's row, uint64."""
        pairs = [(label, row) for label, rows in self._lost.items() for row in rows]
        labels, rows = zip(*pairs, strict=True) if pairs else ((), ())
        return mixed(np.array(labels, np.uint64), np.array(rows, np.int64))

    def length(self, label: int) -> int:
        """Return how many memories have a label."""
        found = self._segment.length(label) + self.recent.length(label)
        return found - len(self._lost.get(label, ()))

    def present(self, labels: Sequence[int]) -> list[int]:
        """Return those of the labels that any memory has."""
        lengths = self._segment.lengths(np.array(labels, np.uint64)).tolist()
        return [
            label
            for label, length in zip(labels, lengths, strict=True)
            if length or self.recent.length(label)
        ]

    def rows(self, label: int, before: int | None = None) -> RowIds:
        """Return the rows, ascending, of the memories with a label; only those below ``before``."""
        docs = np.concatenate([self._segment.get(label)[0], self.recent.get(label)[0]])
        if before is not None:
            docs = docs[docs < before]
        rows = np.unique(docs).astype(np.int64)
        lost = self._lost.get(label)
        return rows[~np.isin(rows, list(lost))] if lost else rows


def mixed(labels: NDArray[np.uint64], rows: NDArray[np.int64] | Docs) -> NDArray[np.uint64]:
    """Return one number for each label and row; two pairs have the same with a probability of 2^-64."""
    return labels ^ (rows.astype(np.uint64) * _ODD)


def without(
    lost: NDArray[np.uint64], labels: NDArray[np.uint64], rows: Docs, counts: Counts
) -> tuple[NDArray[np.uint64], Docs, Counts]:
    """Return triples of labels, rows and counts less those pairs that are ``lost``, as `mixed`."""
    if not len(lost):
        return labels, rows, counts
    keep = ~np.isin(mixed(labels, rows), lost)
    return labels[keep], rows[keep], counts[keep]
