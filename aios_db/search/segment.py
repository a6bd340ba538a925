"""A segment: all the index knows at one version of the tables, as arrays, most often mapped from files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.search.coded_vectors import is_cold
from aios_db.search.graph import LinkArrays, LinkGraph
from aios_db.search.joint import JointArrays
from aios_db.search.keys import KeyTable
from aios_db.search.keywords import Collection, steady_norm
from aios_db.search.languages import TOLD_APART
from aios_db.search.linkrun import NO_LINKS, Links
from aios_db.search.part import COLUMNS, Part, sums
from aios_db.search.portable.keywords import Norm, impacts
from aios_db.search.postings import Postings
from aios_db.search.stored_rows import StoredRows
from aios_db.search.totals import Totals
from aios_db.search.vectors import Clusters, Statistics

_POSTINGS = ("keys", "offsets", "docs", "counts")
_JOINT = ("rows", "vectors", "sets", "version")
_LINKS = ("offsets", "targets", "weights", "kinds", "entries")


@dataclass(frozen=True)
class Version:
    """The versions of the two tables that an index reflects; -1 is before the first."""

    memories: int = -1
    links: int = -1


class Segment(Part):
    """A part whose arrays are mapped or read, and the structures beside it, by name.

    Its documents stay what they are. Which are dead, their attributes and the weights of links change in this
    process's memory, and never in the files.
    """

    def __init__(
        self,
        arrays: dict[str, NDArray[Any]],
        version: Version,
        reach: float,
        batches: Sequence[pa.RecordBatch],
    ) -> None:
        self.arrays, self.batches = arrays, batches
        self.version = version
        self.columns = {name: arrays[name] for name in COLUMNS}
        self.terms: Postings = _postings(arrays, "term")
        self.labels = _postings(arrays, "label")
        centroids = arrays["cluster_centroids"]
        self.clusters = Clusters(centroids, arrays["cluster_offsets"], reach) if len(centroids) else None
        self._moments = steady_norm(Collection(*self.size()).mean_length), arrays["term_moments"]

    @classmethod
    def empty(cls, dimension: int) -> Segment:
        """Return a segment of nothing, the state of a new database."""
        columns = {
            name: np.empty((0, dimension) if name == "vectors" else 0, dtype)
            for name, dtype in COLUMNS.items()
        }
        return cls(
            assemble(
                columns,
                Postings.empty(),
                Postings.empty(),
                np.empty((0, 2)),
                NO_LINKS,
                {},
                Statistics.empty(dimension),
                None,
                JointArrays.empty(),
            ),
            Version(),
            0,
            [],
        )

    def stored_rows(self) -> StoredRows:
        """Return new rows over the segment's."""
        return StoredRows(self.batches, self.positions, len(self.arrays["positions"]))

    @property
    def ids(self) -> KeyTable:
        """A new look-up by memory_id."""
        return KeyTable(self.arrays["id_digests"], self.arrays["id_rows"])

    @property
    def hashes(self) -> KeyTable:
        """A new look-up by content hash."""
        return KeyTable(self.arrays["hash_digests"], self.arrays["hash_rows"])

    @property
    def others(self) -> KeyTable:
        """A new look-up by `contents.other_keys`."""
        return KeyTable(self.arrays["other_digests"], self.arrays["other_rows"])

    def graph(self) -> LinkGraph:
        """Return a new graph over the segment's links."""
        graph = LinkGraph(LinkArrays(*(self.arrays[f"link_{name}"] for name in _LINKS)))
        graph.name(self.rows, self.columns["names"])
        return graph

    def joint(self) -> JointArrays:
        """Return the vectors of the joint space."""
        return JointArrays(*(self.arrays[f"joint_{name}"] for name in _JOINT))

    def copy(self) -> Segment:
        """Return a segment that may be changed, while this one stays as it is from now on."""
        copied = copy(self)
        copied.columns, copied._own = dict(self.columns), frozenset()
        return copied

    @property
    def postings(self) -> Postings:
        """Inverted lists of the terms."""
        return self.terms

    def size(self) -> tuple[int, int]:
        """Return the number of documents and of terms in them."""
        _, documents, terms = self.arrays["statistics_counts"].tolist()
        return documents, terms

    def totals(self) -> Totals:
        """Return a copy of the totals of all documents."""
        languages = np.bincount(self.columns["languages"], minlength=len(TOLD_APART))
        total, outer = self.arrays["statistics_total"], self.arrays["statistics_outer"]
        count = int(self.arrays["statistics_counts"][0])
        return Totals(*self.size(), languages, Statistics(total.copy(), outer.copy(), count))

    def positions(self, row_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the document of each row id, or -1."""
        table = self.arrays["positions"]
        inside = row_ids.view(np.uint64) < len(table)  # a negative one is beyond every end
        if inside.all():
            return table[row_ids].astype(np.int64)
        found = np.full(len(row_ids), -1, np.int64)
        found[inside] = table[row_ids[inside]]
        return found

    def moments(self, term: int, norm: Norm, counted: NDArray[np.bool_] | None = None) -> tuple[float, float]:
        """Return the moments of a term: those of its whole list, which are kept, less what has died."""
        at = self.terms.find(term)
        if at < 0:
            return 0.0, 0.0
        if counted is not None:
            return super().moments(term, norm, counted)
        docs, counts = self.terms.get(term)
        moments = self._moments_with(norm)
        first, second = moments[at].tolist()
        if math.isnan(first):
            first, second = moments[at] = sums(impacts(norm, self.lengths, docs, counts))
        gone = self.gone(docs)
        less, less_squared = sums(impacts(norm, self.lengths, docs[gone], counts[gone]))
        return first - less, second - less_squared

    def _moments_with(self, norm: Norm) -> NDArray[np.float64]:
        """Return the moments of all lists with a norm: NaN of those that have not been asked for yet."""
        own, moments = self._moments
        if norm != own:
            moments = np.full((len(self.terms.keys), 2), np.nan)
            self._moments = norm, moments
        return moments

    @property
    def is_cold(self) -> bool:
        """Whether nearly all memories in it are compressed."""
        return is_cold(self.vectors, self.columns["tier"])


def assemble(  # noqa: PLR0917
    columns: dict[str, NDArray[Any]],
    terms: Postings,
    labels: Postings,
    moments: NDArray[np.float64],
    links: Links,
    keys: dict[str, KeyTable],
    statistics: Statistics,
    clusters: Clusters | None,
    joint: JointArrays,
) -> dict[str, NDArray[Any]]:
    """Return the arrays of a segment by name."""
    rows = columns["rows"]
    positions = np.full(int(rows.max(initial=-1)) + 1, -1, np.int32)
    positions[rows] = np.arange(len(rows), dtype=np.int32)
    arrays: dict[str, NDArray[Any]] = {**columns, "positions": positions, "term_moments": moments}
    for prefix, postings in (("term", terms), ("label", labels)):
        arrays |= {f"{prefix}_{name}": getattr(postings, name) for name in _POSTINGS}
    adjacency = LinkArrays.build(links)
    arrays |= {f"link_{name}": getattr(adjacency, name) for name in _LINKS}
    for prefix in ("id", "hash", "other"):
        arrays[f"{prefix}_digests"], arrays[f"{prefix}_rows"] = keys.get(prefix, KeyTable()).packed()
    arrays |= {f"joint_{name}": getattr(joint, name) for name in _JOINT}
    arrays["statistics_total"], arrays["statistics_outer"] = statistics.total, statistics.outer
    arrays["statistics_counts"] = np.array(
        [statistics.count, len(rows), columns["lengths"].sum(dtype=np.int64)]
    )
    dimension = columns["vectors"].shape[1]
    arrays["cluster_centroids"] = clusters.centroids if clusters else np.empty((0, dimension), np.float32)
    arrays["cluster_offsets"] = clusters.offsets if clusters else np.zeros(1, np.int64)
    return arrays


def _postings(arrays: dict[str, NDArray[Any]], prefix: str) -> Postings:
    return Postings(*(arrays[f"{prefix}_{name}"] for name in _POSTINGS))
