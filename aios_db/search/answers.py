"""What a search index answers, of one view or of the current one."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from aios_db.search.current import Pinned, Seen
from aios_db.search.joint_searching import JointSearching
from aios_db.search.kinship import Kinship
from aios_db.search.lookups import Lookups
from aios_db.search.searching import Searching
from aios_db.search.spreading import Spreading
from aios_db.search.trusting import Trusting


class Answers:
    """Names what the parts that answer can do; each is handed the same view, and knows no other.

    Parameters
    ----------
    seen
        The view.
    dimension
        Length of the vectors.
    with_counts
        Returns a batch of `returned_schema` with the recalls added, which are counted elsewhere.

    Attributes
    ----------
    kinship
        What links of new memories are proposed from.
    """

    def __init__(
        self, seen: Seen, dimension: int, with_counts: Callable[[pa.RecordBatch], pa.RecordBatch]
    ) -> None:
        self._seen, self.dimension, self._with_counts = seen, dimension, with_counts
        lookups, trusting = Lookups(seen, with_counts), Trusting(seen)
        self.find_ids, self.find_digests = lookups.find_ids, lookups.find_digests
        self.find_content, self.find_other = lookups.find_content, lookups.find_other
        self.memory_ids, self.memories, self.made_of = lookups.memory_ids, lookups.memories, lookups.made_of
        self.times, self.ends, self.has = lookups.times, lookups.ends, lookups.has
        self.users, self.owners, self.has_others = lookups.users, lookups.owners, lookups.has_others
        self.rows, self.living, self.links = lookups.rows, lookups.living, lookups.links
        self.trust, self.held = trusting.trust, trusting.held
        self.classes, self.has_below = trusting.classes, trusting.has_below
        self.seen_from = trusting.seen_from

        searching, joint, spreading = Searching(seen, dimension), JointSearching(seen), Spreading(seen)
        self.vector_search, self.vector_scores = searching.vector_search, searching.vector_scores
        self.keyword_search, self.keyword_scores = searching.keyword_search, searching.keyword_scores
        self.joint_search, self.joint_scores = joint.joint_search, joint.joint_scores
        self.spread, self.neighbors = spreading.spread, spreading.neighbors
        self.kinship = Kinship(seen)

    def __len__(self) -> int:
        return len(self._seen.view)

    def pinned(self) -> Answers:
        """Return what answers from the view of now, whatever is written meanwhile."""
        return Answers(Pinned(self._seen), self.dimension, self._with_counts)
