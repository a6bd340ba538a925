"""The life of a memory in SQL: clusters of what belongs together, summaries, and consolidations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.changes import UndoReport
from aios_db.schema.consolidations import Folding, Report, Supersession
from aios_db.schema.deadlines import check
from aios_db.schema.errors import DataError, ProgrammingError
from aios_db.schema.memories import TIMESTAMP
from aios_db.schema.retrieval import RowIds
from aios_db.udfs.functions import ScalarFunction
from aios_db.udfs.types import BIGINT, BOOLEAN, DOUBLE, FLOAT, VARCHAR, VARCHARS


class Index(Protocol):
    """What is asked of the search index."""

    def find_ids(self, memory_ids: Sequence[str] | pa.StringArray) -> RowIds:
        """Return row ids, -1 for unknown."""
        ...

    def trust(self, row_ids: RowIds) -> NDArray[np.float32]:
        """Return the trust in memories."""
        ...


class Living(Protocol):
    """A store whose memories are consolidated."""

    @property
    def index(self) -> Index:
        """The index over the current snapshot."""
        ...

    def summarize(self, texts: Sequence[str], count: int) -> str:
        """Return the sentences that say most of what some texts say."""
        ...

    def consolidate(self, options: Mapping[str, Any], *, dry_run: bool) -> Sequence[Report]:
        """Consolidate what the plan names, and say what was done."""
        ...

    def supersede(self, *, dry_run: bool = False) -> Sequence[Supersession]:
        """Note of what no longer holds what holds instead."""
        ...

    def fold(self, *, dry_run: bool = False) -> Sequence[Folding]:
        """Make one memory of those that say the same."""
        ...

    def undo_consolidation(self, consolidation_id: str, *, confirm: bool = False) -> UndoReport:
        """Take a consolidation back."""
        ...


_CLUSTERED = pa.struct([("memory_id", pa.string()), ("cluster", pa.int64())])
_REPORT = pa.struct(
    [
        (
            name,
            {"datetime": TIMESTAMP, "int": pa.int64(), "float": pa.float64()}.get(
                str(each.type).split(" ")[0], pa.string()
            ),
        )
        for name, each in Report.__dataclass_fields__.items()
    ]
)
_SUPERSESSION = pa.struct(
    [
        (name, TIMESTAMP if each.type == "datetime" else pa.string())
        for name, each in Supersession.__dataclass_fields__.items()
    ]
)
_FOLDING = pa.struct(
    [("memory_id", pa.string()), ("folded", pa.list_(pa.string())), ("occurrences", pa.int64())]
)
_UNDONE = pa.struct([(name, pa.int64()) for name in UndoReport.__dataclass_fields__])


def clusters(store: Living, pairs: pa.ListArray, most: pa.Array) -> pa.Array:
    """Return for pairs of memories with their affinity which cluster each memory is in, from 0.

    The pairs are joined in the order of their affinity, as long as a cluster has no more than so many
    memories: single linkage, as in Kruskal's algorithm, with a limit of size.
    """
    found = []
    for rows, size in zip(pairs, most.to_pylist(), strict=True):
        check()
        if not rows.is_valid or size is None:
            found.append(pa.array([], _CLUSTERED))
            continue
        first, second, affinity = rows.values.flatten()
        found.append(_clustered(first.to_pylist(), second.to_pylist(), affinity.to_numpy(False), int(size)))
    offsets = list(accumulate(map(len, found), initial=0))
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.concat_arrays([*found, pa.array([], _CLUSTERED)])
    )


def _clustered(first: list[str], second: list[str], affinity: NDArray[np.float64], most: int) -> pa.Array:
    parent: dict[str, str] = {}
    size: dict[str, int] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = name = parent[parent[name]]
        return name

    order = sorted(range(len(first)), key=lambda each: (-affinity[each], first[each], second[each]))
    for each in order:
        one, other = root(first[each]), root(second[each])
        if one != other and size.get(one, 1) + size.get(other, 1) <= most:
            one, other = min(one, other), max(one, other)
            parent[other] = one
            size[one] = size.get(one, 1) + size.get(other, 1)
    names = sorted(parent)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(map(root, names)))}
    return pa.StructArray.from_arrays(
        [pa.array(names, pa.string()), pa.array([numbers[root(name)] for name in names], pa.int64())],
        fields=list(_CLUSTERED),
    )


def trust(store: Living, memory_ids: pa.Array) -> pa.Array:
    """Return the trust in each memory, as it is now."""
    return pa.array(store.index.trust(store.index.find_ids(memory_ids.fill_null(""))), pa.float32())


def summarize(store: Living, texts: pa.ListArray, counts: pa.Array) -> pa.Array:
    """Return the summary of each list of texts; NULL texts are left out."""
    found: list[str | None] = []
    for each, count in zip(texts.to_pylist(), counts.to_pylist(), strict=True):
        check()
        given = [text for text in each or () if text is not None]
        found.append(None if each is None or count is None else store.summarize(given, int(count)))
    return pa.array(found, pa.string())


def consolidate(store: Living, options: pa.StructArray, *, dry_run: bool = False) -> pa.Array:
    """Consolidate what the plan names; a report for each owner and commit."""
    given = {name: value for name, value in _only(options, "consolidate").items() if value is not None}
    reports = store.consolidate(given, dry_run=bool(given.pop("dry_run", False)) or dry_run)
    return pa.array([[asdict(each) for each in reports]], pa.list_(_REPORT))


def report(store: Living, options: pa.StructArray) -> pa.Array:
    """Return what a consolidation would do, and what past queries would lose by it."""
    return consolidate(store, options, dry_run=True)


def try_consolidate(store: Living, options: pa.StructArray) -> pa.Array:
    """Return no report: what it would do takes as long to find out as to do."""
    _only(options, "consolidate")
    return pa.array([[]], pa.list_(_REPORT))


def supersede(store: Living, given: pa.Array) -> pa.Array:
    """Note of what no longer holds what holds instead; a row for each."""
    _only(given, "supersede")
    return pa.array([[asdict(each) for each in store.supersede()]], pa.list_(_SUPERSESSION))


def supersessions(store: Living, given: pa.Array) -> pa.Array:
    """Return what `supersede` would note."""
    found = [asdict(each) for each in store.supersede(dry_run=True)] if len(given) else []
    return pa.array([found] * len(given), pa.list_(_SUPERSESSION))


def try_supersede(store: Living, given: pa.Array) -> pa.Array:
    """Return no row: nothing is noted yet."""
    _only(given, "supersede")
    return pa.array([[]], pa.list_(_SUPERSESSION))


def fold(store: Living, given: pa.Array) -> pa.Array:
    """Make one memory of those that say the same; a row for each."""
    _only(given, "fold")
    return pa.array([[asdict(each) for each in store.fold()]], pa.list_(_FOLDING))


def near_duplicates(store: Living, given: pa.Array) -> pa.Array:
    """Return what `fold` would do."""
    found = [asdict(each) for each in store.fold(dry_run=True)] if len(given) else []
    return pa.array([found] * len(given), pa.list_(_FOLDING))


def try_fold(store: Living, given: pa.Array) -> pa.Array:
    """Return no row: nothing is folded yet."""
    _only(given, "fold")
    return pa.array([[]], pa.list_(_FOLDING))


def undo_consolidation(store: Living, ids: pa.Array, confirm: pa.Array) -> pa.Array:
    """Take a consolidation back; one report."""
    report = store.undo_consolidation(_only(ids, "undo_consolidation"), confirm=bool(confirm[0].as_py()))
    return pa.array([[asdict(report)]], pa.list_(_UNDONE))


def try_undo_consolidation(store: Living, ids: pa.Array, _: pa.Array) -> pa.Array:
    """Return a report of nothing."""
    return pa.array([[asdict(UndoReport(None, 0, 0, 0, 0))]], pa.list_(_UNDONE))


def _only(values: pa.Array, name: str) -> Any:
    if len(values) != 1:
        raise ProgrammingError(f"{name} was called for {len(values)} rows at once; call it once")
    if not values[0].is_valid:
        raise DataError(f"{name}: give the consolidation_id of a row of consolidation_log")
    return values[0].as_py()


OPTIONS = pa.struct(
    [
        ("dry_run", BOOLEAN),
        ("min_age_s", DOUBLE),
        ("min_cluster", BIGINT),
        ("max_cluster", BIGINT),
        ("min_affinity", DOUBLE),
        ("max_clusters", BIGINT),
        ("policy", VARCHAR),
    ]
)
_PAIRS = pa.list_(pa.struct([("first", VARCHAR), ("second", VARCHAR), ("affinity", DOUBLE)]))

FUNCTIONS = (
    ScalarFunction(
        "aios_clusters",
        [_PAIRS, BIGINT],
        pa.list_(_CLUSTERED),
        clusters,
    ),
    ScalarFunction("aios_trust", [VARCHAR], FLOAT, trust),
    ScalarFunction("aios_summarize", [VARCHARS, BIGINT], VARCHAR, summarize),
    ScalarFunction(
        "aios_consolidate",
        [OPTIONS, VARCHAR],
        pa.list_(_REPORT),
        consolidate,
        trial=try_consolidate,
    ),
    ScalarFunction(
        "aios_supersede", [BOOLEAN, VARCHAR], pa.list_(_SUPERSESSION), supersede, trial=try_supersede
    ),
    ScalarFunction("aios_fold", [BOOLEAN, VARCHAR], pa.list_(_FOLDING), fold, trial=try_fold),
    ScalarFunction("aios_near_duplicates", [BOOLEAN], pa.list_(_FOLDING), near_duplicates),
    ScalarFunction("aios_supersessions", [BOOLEAN], pa.list_(_SUPERSESSION), supersessions),
    ScalarFunction("aios_consolidation_report", [OPTIONS], pa.list_(_REPORT), report),
    ScalarFunction(
        "aios_undo_consolidation",
        [VARCHAR, BOOLEAN, VARCHAR],
        pa.list_(_UNDONE),
        undo_consolidation,
        trial=try_undo_consolidation,
    ),
)
