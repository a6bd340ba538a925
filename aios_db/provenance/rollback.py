"""Taking a source back: its memories, what was made of them, and what they did to the links of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.provenance.replay import MADE
from aios_db.schema.changes import ChangeRecord
from aios_db.schema.errors import ProgrammingError
from aios_db.schema.memories import TIMESTAMP

if TYPE_CHECKING:
    from lance import LanceDataset

    from aios_db.search.index import SearchIndex

_NAMED = 5


@dataclass(frozen=True)
class RollbackReport:
    """What `Connection.rollback_source` did, or with ``dry_run`` would do."""

    source: str
    since: datetime | None
    memory_ids: tuple[str, ...]
    """The memories of the source, and those that were made of them."""
    derived: int
    """How many of them are of other sources, and ``derived_from`` one of the others."""
    links: int
    """Links that start or end at them."""
    links_changed: int
    """Links between the memories that are left which are others now; 0 in a dry run, where nobody looked."""
    dry_run: bool


@dataclass(frozen=True)
class Taken:
    """What is taken back, at one version of the tables."""

    row_ids: NDArray[np.int64]
    first: int
    """The first row that was written with or after any of them."""
    memory_ids: tuple[str, ...]
    derived: int
    links: pa.Table
    """Row ids of the links at them, and the memories that these start at."""


def taken(
    memories: LanceDataset,
    links: LanceDataset,
    source: str,
    since: datetime | None,
    changes: Sequence[ChangeRecord] = (),
) -> Taken:
    """Return the memories of a source that were stored since a moment, and what was made of them.

    ``changes`` says when memories were stored here that say an earlier time themselves.

    Raises
    ------
    ProgrammingError
        No memory is of this source.
    """
    own = memories.to_table(
        columns=["memory_id", "created_at"], filter=pc.field("source") == source, with_row_id=True
    )
    if not len(own):
        raise ProgrammingError(_no_such(source, memories))
    if since is not None:
        stored = _stored_at(own, changes)
        own = own.filter(pa.array(stored >= pa.scalar(since, TIMESTAMP).cast(pa.int64()).as_py()))
    made = memories.to_table(
        columns=["memory_id", "derived_from"],
        filter=pc.field("derived_from").is_valid(),
        with_row_id=True,
    ).to_pylist()
    rows = dict(zip(own["memory_id"].to_pylist(), own["_rowid"].to_pylist(), strict=True))
    count = len(rows)
    while True:  # what was made of what was made
        more = {
            each["memory_id"]: each["_rowid"]
            for each in made
            if each["memory_id"] not in rows and not rows.keys().isdisjoint(each["derived_from"])
        }
        if not more:
            break
        rows |= more
    names = pa.array(sorted(rows), pa.string())
    ends = pc.field("source_id").isin(names) | pc.field("target_id").isin(names)
    found = links.to_table(columns=["source_id"], filter=ends, with_row_id=True)
    row_ids = np.sort(np.fromiter(rows.values(), np.int64, len(rows)))
    return Taken(
        row_ids,
        _first_of_call(memories, row_ids),
        tuple(sorted(rows, key=lambda each: rows[each])),
        len(rows) - count,
        found,
    )


def _stored_at(rows: pa.Table, changes: Sequence[ChangeRecord]) -> NDArray[np.int64]:
    """Return when rows were stored here, in microseconds since 1970: not before they were added."""
    stored: NDArray[np.int64] = rows["created_at"].cast(pa.int64()).to_numpy().copy()
    row_ids = rows["_rowid"].to_numpy().astype(np.int64)
    for each in changes:
        if each.first_row is not None and each.added:
            added = (row_ids >= each.first_row) & (row_ids < each.first_row + each.added)
            stored[added] = np.maximum(stored[added], round(each.changed_at.timestamp() * 1e6))
    return stored


def _no_such(source: str, memories: LanceDataset) -> str:
    """Return the message for a source that no memory has: names are exact, and patterns are no names."""
    known = pc.unique(memories.to_table(columns=["source"])["source"]).drop_null().to_pylist()
    folded = {each.casefold(): each for each in known}
    name = source.casefold()
    fitting = [each for other, each in sorted(folded.items()) if fnmatchcase(other, name)]
    near = fitting or [folded[each] for each in get_close_matches(name, folded, _NAMED)]
    found = f"rollback_source: no memory is of the source {source!r}"
    if not near:
        return f"{found}; what there is: FROM memories SELECT DISTINCT source"
    is_pattern = fitting and name not in folded
    what = "it is a pattern, which is read in trust.sources only; take back" if is_pattern else "there is"
    more = ", …" if len(near) > _NAMED else ""
    return f"{found}; {what} {', '.join(map(repr, near[:_NAMED]))}{more}"


def _first_of_call(memories: LanceDataset, row_ids: NDArray[np.int64]) -> int:
    """Return the first row that was written by the call that wrote the first of these."""
    if not len(row_ids):
        return 0
    moment = memories._take_rows(row_ids[:1].tolist(), columns=["created_at"])["created_at"][0]
    same = memories.to_table(columns=[], filter=pc.field("created_at") == moment, with_row_id=True)["_rowid"]
    return int(pc.min(same).as_py())


def made_since(links: LanceDataset, index: SearchIndex, gone: Taken) -> pa.Table:
    """Return the links that nobody made by hand, of memories written since the first that is taken back.

    Whole rows with their ids; those at what is taken back are not among them.
    """
    found = links.to_table(filter=pc.field("kind").isin(list(MADE)), with_row_id=True).combine_chunks()
    ends = [index.find_ids(_one(found[name])) for name in ("source_id", "target_id")]
    later = np.maximum(*ends) >= gone.first
    between = ~(np.isin(ends[0], gone.row_ids) | np.isin(ends[1], gone.row_ids))
    known = (ends[0] >= 0) & (ends[1] >= 0)
    return found.filter(pa.array(later & between & known))


def _one(column: pa.ChunkedArray) -> pa.StringArray:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
