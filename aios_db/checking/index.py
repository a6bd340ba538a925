"""The search index: every byte of its files, and what it says of each memory and link against the tables.

Inverted lists are compared without holding a second set of them: of each document the sum of a hash of its
(term, count) pairs is made of the lists, and again of its text: 8 bytes of each document.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.checking.faults import REPAIR, Faults
from aios_db.checking.tables import OnBytes
from aios_db.schema.amounts import amount
from aios_db.schema.database import INDEX
from aios_db.search import checksums
from aios_db.search.analyzer import Analyzer
from aios_db.search.attributes import attributes
from aios_db.search.graph import flow_code
from aios_db.search.index import SearchIndex
from aios_db.search.marks import marks
from aios_db.search.part import Part
from aios_db.search.postings import Postings
from aios_db.search.segment_files import about_of, current

_POINTER = "CURRENT"
_MOST = np.iinfo(np.uint16).max
_BLOCK = 1 << 20
_MIX = [np.uint64(each) for each in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)]


def segments(database: Path) -> list[Path]:
    """Return the directories of segments: that of all memories first, then those of scopes."""
    directory = database / INDEX
    return [each for each in (directory, *sorted(directory.glob("scope-*"))) if (each / _POINTER).exists()]


def check_files(faults: Faults, directory: Path, on_bytes: OnBytes) -> bool:
    """Read every file of a segment; tell whether all are what was written."""
    before = len(faults)
    try:
        path = directory / current(directory)
        sums = about_of(path)["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        faults.file(directory, f"names no segment that can be read: {error or type(error).__name__}", REPAIR)
        return False
    for name, known in sums.items():
        try:
            checksums.verify(path, {name: known})
        except FileNotFoundError:
            faults.file(path / name, "is missing", REPAIR)
        except (OSError, ValueError) as error:
            faults.file(path / name, str(error).removeprefix(f"{path / name} "), REPAIR)
        on_bytes(known[0])
    return len(faults) == before


def size_of(directory: Path) -> int:
    """Return the bytes that `check_files` is going to read."""
    try:
        files = json.loads((directory / current(directory) / "segment.json").read_text("utf-8"))["files"]
        return sum(size for size, _ in files.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0


class IndexChecks:
    """Compares an index with the rows of the tables that it is level with.

    Parameters
    ----------
    faults
        Told where they differ.
    index
        The index of all memories.
    """

    def __init__(self, faults: Faults, index: SearchIndex) -> None:
        self._faults, self._index = faults, index
        self._analyzer = Analyzer(index.language)
        self._parts = [(part, _sums(part)) for part in index.parts]
        self._links = np.uint64(0)

    def look(self, file: Path, batch: pa.RecordBatch) -> None:
        """Compare some memories."""
        columns = attributes(batch)
        rows = columns["rows"]
        analyzed = self._analyzer.terms(
            [
                f"{title} {text}" if title else text
                for title, text in zip(batch["title"].to_pylist(), batch["text"].to_pylist(), strict=True)
            ]
        )
        columns |= {"lengths": analyzed.lengths, "languages": analyzed.languages}
        keys, places = marks(batch)
        terms = np.concatenate([analyzed.terms, keys])
        documents = np.concatenate([np.repeat(np.arange(len(batch)), analyzed.counts), places])
        expected = _sums_of(terms, documents.astype(np.int64), len(batch))
        missing = np.ones(len(batch), np.bool_)
        for part, sums in self._parts:
            at = part.positions(rows)
            inside = np.flatnonzero(at >= 0)
            inside = inside[part.alive[at[inside]]]
            missing[inside] = False
            for name, values in columns.items():
                differ = inside[~_same(part.columns[name][at[inside]], values[inside])]
                self._note(
                    file, f"{name} is another one in the search index than in the table", batch, differ
                )
            differ = inside[sums[at[inside]] != expected[inside]]
            self._note(file, "the words are others in the search index than in the table", batch, differ)
        self._note(file, "not in the search index", batch, np.flatnonzero(missing))
        found = self._index.find_ids(batch["memory_id"])
        self._note(
            file, "not found by its id in the search index", batch, np.flatnonzero((found != rows) & ~missing)
        )

    def look_at_links(self, batch: pa.RecordBatch) -> None:
        """Take in some links, to be compared at the `end`."""
        ends = [self._index.find_ids(batch[name]) for name in ("source_id", "target_id")]
        known = (ends[0] >= 0) & (ends[1] >= 0)
        kinds = np.array([flow_code(kind) for kind in batch["kind"].to_pylist()], np.uint8)
        columns = (batch["_rowid"].to_numpy().astype(np.int64), *ends, batch["weight"].to_numpy(), kinds)
        with np.errstate(over="ignore"):
            self._links += _links_sum(*(each[known] for each in columns))

    def end(self, memories: int, *, links: bool) -> None:
        """Compare what is told of all at once; ``links`` when all links were looked at."""
        if len(self._index) != memories:
            what = f"has {amount(len(self._index), 'memory')}, the table {memories}"
            self._faults.file(INDEX, what, REPAIR)
        found = self._index.links()
        if links and _links_sum(*vars(found).values()) != self._links:
            self._faults.file(INDEX, "has other links than their table", REPAIR)

    def _note(self, file: Path, what: str, batch: pa.RecordBatch, numbers: NDArray[np.int64]) -> None:
        remedy = (
            "compare the memory with a backup: one of the two was changed; aios repair makes the index anew "
            "from the table"
        )
        for number in numbers.tolist():
            self._faults.row(file, what, remedy, str(batch["memory_id"][number].as_py()))


def _same(found: NDArray[np.generic], wanted: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Tell of each row whether its values are the same, bit by bit."""
    wanted = wanted.astype(found.dtype, copy=False)
    size = found.dtype.itemsize * int(np.prod(found.shape[1:], dtype=np.int64))
    one, other = (np.ascontiguousarray(each).view(np.uint8).reshape(-1, size) for each in (found, wanted))
    same: NDArray[np.bool_] = (one == other).all(axis=1)
    return same


def _sums(part: Part) -> NDArray[np.uint64]:
    sums = np.zeros(len(part), np.uint64)
    for keys, docs, counts in _triples(part):
        np.add.at(sums, docs, _mixed(keys, counts))
    return sums


def _triples(part: Part) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.uint16]]]:
    """Yield the inverted lists in blocks."""
    lists = part.postings
    if not isinstance(lists, Postings):
        yield lists.triples()
        return
    for start in range(0, len(lists.docs), _BLOCK):
        docs, counts = lists.docs[start : start + _BLOCK], lists.counts[start : start + _BLOCK]
        of = np.searchsorted(lists.offsets, np.arange(start, start + len(docs)), side="right") - 1
        yield lists.keys[of], docs, counts


def _sums_of(terms: NDArray[np.uint64], documents: NDArray[np.int64], size: int) -> NDArray[np.uint64]:
    """Return the sums of documents whose terms are given one by one."""
    distinct, rank = np.unique(terms, return_inverse=True)
    pairs, times = np.unique((rank.astype(np.int64) << 32) | documents, return_counts=True)
    sums = np.zeros(size, np.uint64)
    np.add.at(
        sums,
        pairs & 0xFFFFFFFF,
        _mixed(distinct[pairs >> 32], np.minimum(times, _MOST).astype(np.uint16)),
    )
    return sums


def _mixed(keys: NDArray[Any], *values: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a hash of each key with its values."""
    mixed = keys.astype(np.uint64)
    for value in values:
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX[1] + value.astype(np.uint64) * _MIX[0]
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX[2]
    return mixed ^ (mixed >> np.uint64(31))


def _links_sum(*columns: NDArray[Any]) -> np.uint64:
    rows, sources, targets, weights, kinds = columns
    bits = np.ascontiguousarray(weights, np.float32).view(np.uint32)
    found: np.uint64 = _mixed(rows, sources, targets, bits, kinds).sum(dtype=np.uint64)
    return found
