"""The labels of a memory, each a 64-bit key: the names in it, its title and its session."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from aios_db.schema.retrieval import Rows
from aios_db.search.phrases import title_keys
from aios_db.search.postings import GrowingPostings, Postings
from aios_db.search.ranking import digest64

HAS_TITLE = digest64("title")


def name_label(phrase: str) -> int:
    """Return the key of memories that hold a name, number or date."""
    return digest64(f"name\0{phrase}")


def title_label(key: str) -> int:
    """Return the key of memories whose title can be mentioned as ``key``."""
    return digest64(f"title\0{key}")


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

    def add(self, row: int, labels: dict[int, int]) -> None:
        """Give a memory labels."""
        self.recent.add(row, labels)

    def length(self, label: int) -> int:
        """Return how many memories have a label."""
        return self._segment.length(label) + self.recent.length(label)

    def present(self, labels: Sequence[int]) -> list[int]:
        """Return those of the labels that any memory has."""
        lengths = self._segment.lengths(np.array(labels, np.uint64)).tolist()
        return [
            label
            for label, length in zip(labels, lengths, strict=True)
            if length or self.recent.length(label)
        ]

    def rows(self, label: int, before: int | None = None) -> Rows:
        """Return the rows, ascending, of the memories with a label; only those below ``before``."""
        docs = np.concatenate([self._segment.get(label)[0], self.recent.get(label)[0]])
        if before is not None:
            docs = docs[docs < before]
        return np.unique(docs).astype(np.int64)
