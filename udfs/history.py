"""The log of changes as rows of SQL, and taking changes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol

import pyarrow as pa

from aios_db.schema.changes import SCHEMA, ChangeRecord, UndoReport
from aios_db.schema.errors import DataError, ProgrammingError
from aios_db.udfs.functions import ScalarFunction
from aios_db.udfs.lists import for_each
from aios_db.udfs.types import BIGINT, BIGINTS, BOOLEAN, VARCHAR

_ITEM = pa.struct(list(SCHEMA))
_REPORT = pa.struct([(name, pa.int64()) for name in UndoReport.__dataclass_fields__])


class Logged(Protocol):
    """A store with a log of changes."""

    def changes(self) -> Sequence[ChangeRecord]:
        """Return the changes in their order."""
        ...

    def undo(self, change_id: int, *, dry_run: bool = False, confirm: bool = False) -> UndoReport:
        """Take a change back."""
        ...

    def restore(
        self, version: int | None, time: int | None, *, dry_run: bool = False, confirm: bool = False
    ) -> UndoReport:
        """Go back to a version of the memories, or to a moment in microseconds since 1970."""
        ...


def changes(store: Logged, rows: pa.Array) -> pa.Array:
    """Return all changes in the log, for each row."""
    return for_each(rows, pa.array([asdict(each) for each in store.changes()], _ITEM))


def undo(store: Logged, changes: pa.Array, confirm: pa.Array, *, dry_run: bool = False) -> pa.Array:
    """Take a change back; one report."""
    change_id = _only(changes, "undo", "the change_id of a change: FROM undo(12)")
    report = store.undo(change_id, dry_run=dry_run, confirm=bool(confirm[0].as_py()))
    return pa.array([[asdict(report)]], pa.list_(_REPORT))


def restore(store: Logged, points: pa.Array, confirm: pa.Array, *, dry_run: bool = False) -> pa.Array:
    """Go back to a version, or to a moment in microseconds since 1970: a list of both, one of them NULL."""
    wanted = "the number of a version, or a time in ISO 8601: FROM restore(3)"
    version, moment = _only(points, "restore", wanted)
    if version is None and moment is None:
        raise DataError(f"restore: give {wanted}")
    report = store.restore(version, moment, dry_run=dry_run, confirm=bool(confirm[0].as_py()))
    return pa.array([[asdict(report)]], pa.list_(_REPORT))


def _only(values: pa.Array, name: str, wanted: str) -> Any:
    """Return the one value; called per row of a table, it might write some and then fail."""
    if len(values) != 1:
        raise ProgrammingError(f"{name} was called for {len(values)} rows at once; give it {wanted}")
    if not values[0].is_valid:
        raise DataError(f"{name}: give {wanted}")
    return values[0].as_py()


_REPORTS = pa.list_(_REPORT)
_TRY_UNDO, _TRY_RESTORE = partial(undo, dry_run=True), partial(restore, dry_run=True)

FUNCTIONS = (
    ScalarFunction("aios_changes", [BOOLEAN], pa.list_(_ITEM), changes),
    ScalarFunction("aios_undo", [BIGINT, BOOLEAN, VARCHAR], _REPORTS, undo, trial=_TRY_UNDO),
    ScalarFunction("aios_restore", [BIGINTS, BOOLEAN, VARCHAR], _REPORTS, restore, trial=_TRY_RESTORE),
)
