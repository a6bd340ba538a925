"""A view that follows its table: a PyArrow dataset whose every scan asks for the version to read.

DuckDB reads a registered dataset by calling ``scanner`` on it with the columns and the filter it wants, so
one registration serves all later versions, and projection and filter still reach Lance. DuckDB relies on the
filter being applied; what Lance cannot take is filtered here by Arrow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.dataset as pads

from aios_db.schema.errors import Error


class Counts(Protocol):
    """Numbers of memories that are kept beside their table."""

    def counted(self) -> bool:
        """Whether any row has other values than the table says."""
        ...

    def with_counts(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return rows of the table with the values they have."""
        ...


class Wall(Protocol):
    """What is left out of a table for a connection that does not see all of it."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at."""
        ...

    def visible(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows that may be seen."""
        ...


COUNTED = ("access_count", "last_access_at")
_KEY = "memory_id"
_MADE = "content_hash"  # of compressed memories the table does not have all of it


class LiveDataset(pads.Dataset):  # type: ignore[misc]
    """Delegates to the dataset that ``current`` returns when a scan starts.

    Parameters
    ----------
    current
        Returns the dataset to read now.
    counts
        Returns what knows the columns `COUNTED` better than the table; None for other tables.
    wall
        What rows are left out; None where all are shown.
    failing
        Returns the error to raise where one of ours is raised, since DuckDB passes on only its text.
    """

    def __init__(
        self,
        current: Callable[[], pads.Dataset],
        counts: Callable[[], Counts] | None = None,
        wall: Wall | None = None,
        failing: Callable[[Error], Error] = lambda error: error,
    ) -> None:
        self._current, self._counts, self._wall, self._failing = current, counts, wall, failing

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the current version."""
        return self._current().schema

    def scanner(
        self, columns: list[str] | None = None, filter: pads.Expression | None = None, **options: Any
    ) -> pads.Scanner:
        """Return a scanner over the current version; arguments as `pyarrow.dataset.Dataset.scanner`."""
        try:
            return self._scanner(columns, filter, options)
        except Error as error:
            raise self._failing(error) from error

    def _scanner(
        self, columns: list[str] | None, filter: pads.Expression | None, options: dict[str, Any]
    ) -> pads.Scanner:
        dataset = self._current()
        names = dataset.schema.names if columns is None else columns
        condition = "" if filter is None else str(filter)  # names each field that it looks at
        filtered = [field for field in dataset.schema if field.name in condition]
        counts = self._counts_of({*names, *(field.name for field in filtered)})
        here = any(
            not _is_plain(field.type) or field.name == _MADE or (counts and field.name in COUNTED)
            for field in filtered
        )
        wall = self._wall
        if counts is None and not here and wall is None:
            return dataset.scanner(columns=columns, filter=filter, **options)
        wanted = {*names, *(field.name for field in filtered), *([_KEY] if counts else [])}
        wanted.update(wall.columns if wall else ())
        read = [name for name in dataset.schema.names if name in wanted]
        stored = dataset.scanner(columns=read, filter=None if here else filter, **options)
        batches = stored.to_batches()
        if wall is not None:
            batches = map(wall.visible, batches)
        return pads.Scanner.from_batches(
            map(counts.with_counts, batches) if counts else batches,
            schema=stored.projected_schema,
            columns=names,
            filter=filter if here else None,
        )

    def _counts_of(self, names: set[str]) -> Counts | None:
        """Return the numbers kept beside the table, when there are any for these columns."""
        counts = self._counts() if self._counts and not names.isdisjoint(COUNTED) else None
        return counts if counts is not None and counts.counted() else None


def _is_plain(type_: pa.DataType) -> bool:
    """Tell whether Lance compares values of this type as DuckDB does: no bytes, no lists, no structs."""
    types = pa.types
    return bool(
        types.is_string(type_)
        or types.is_integer(type_)
        or types.is_floating(type_)
        or types.is_boolean(type_)
        or types.is_timestamp(type_)
    )
