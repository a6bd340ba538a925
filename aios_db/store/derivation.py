"""What memories were made of: nothing else takes its place, and its source does not withdraw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lance import LanceDataset

from aios_db.schema.errors import IntegrityError
from aios_db.schema.retrieval import RowIds
from aios_db.search.index import SearchIndex
from aios_db.search.ranking import digest64
from aios_db.store.attribution import inheriting
from aios_db.trust.authority import authority, said
from aios_db.trust.policy import SourceTrust


def missing_origins(memories: LanceDataset, index: SearchIndex) -> dict[str, float]:
    """Return what memories were ``derived_from`` that is not there, with the most trust in one of these.

    ``index`` is level with the table.
    """
    rows, made_of = _made_of(memories)
    most: dict[str, float] = {}
    for names, share in zip(made_of, index.trust(rows).tolist(), strict=True):
        for name in names:
            if name:
                most[name] = max(share, most.get(name, 0.0))
    there = index.find_ids(list(most)) >= 0
    return {name: share for (name, share), is_there in zip(most.items(), there, strict=True) if not is_there}


def refuse_withdrawal(
    index: SearchIndex, source: str, gone: RowIds, unseen: LanceDataset | None = None
) -> None:
    """Raise where a source would delete what memories of others were made of.

    They would keep what it said, without its trust, and taking the source back would not find them.

    Parameters
    ----------
    index
        It knows what was made of each memory.
    source
        Who would delete.
    gone
        The rows to delete.
    unseen
        The memories, where the index knows those of a scope alone; all of them are looked at then.

    Raises
    ------
    IntegrityError
        Nothing was changed.
    """
    names = set(index.memory_ids(gone).to_pylist())
    rows, made_of = index.made_of(list(names)) if unseen is None else _made_of(unseen)
    others = ~np.isin(rows, gone) & (index.owners(rows, "source") != np.uint64(digest64(source)))
    for row, origins in compress(zip(rows, made_of, strict=True), others):
        if not names.isdisjoint(origins):
            child = index.memory_ids(np.array([row]))[0].as_py() or "a memory of another scope"
            raise IntegrityError(
                f"cannot delete {min(names.intersection(origins))}: {child}, which is of another source, "
                f"was made of it; nothing was changed. This connection writes as {source!r}; use one without "
                "source"
            )


def _made_of(memories: LanceDataset) -> tuple[RowIds, list[list[str]]]:
    """Return the memories that were made of others, and of which."""
    derived = pc.field("derived_from").is_valid()
    found = memories.to_table(columns=["derived_from"], filter=derived, with_row_id=True)
    return found["_rowid"].to_numpy().astype(np.int64), found["derived_from"].to_pylist()


def trust_of(rows: pa.Table, policy: SourceTrust, index: SearchIndex) -> dict[str, float]:
    """Return the trust that rows will have, by memory_id: no more than what they are derived from."""
    rows = inheriting(rows, index)
    names = rows["memory_id"].to_pylist()
    trust = dict(zip(names, said(rows, authority(rows, "", policy)).tolist(), strict=True))
    made = [
        (name, origins)
        for name, origins in zip(names, rows["derived_from"].to_pylist(), strict=True)
        if origins
    ]
    while True:  # as often as the longest line is long
        before = dict(trust)
        for name, origins in made:
            trust[name] = min(trust[name], *(trust.get(each, 1.0) for each in origins))
        if trust == before:
            return trust


def renamed(rows: pa.Table, columns: Mapping[str, Sequence[str]], moved: Mapping[str, str]) -> pa.Table:
    """Return rows with other columns, and ``derived_from`` with the ids that what is ``moved`` has here."""
    for name, values in columns.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(values, pa.string()))
    if not moved or rows["derived_from"].null_count == len(rows):
        return rows
    origins = [
        names and [moved.get(each, each) for each in names] for names in rows["derived_from"].to_pylist()
    ]
    at = rows.schema.get_field_index("derived_from")
    return rows.set_column(at, "derived_from", pa.array(origins, rows.schema.field(at).type))
