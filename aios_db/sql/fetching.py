"""Taking the rows of a result: as PEP 249 has it, and as DuckDB's pandas, polars, NumPy and Arrow."""

from __future__ import annotations

import itertools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pyarrow as pa

if TYPE_CHECKING:
    from pandas import DataFrame as PandasFrame
    from polars import DataFrame as PolarsFrame
else:  # both are extras, and who reads types at run time need not have them
    PandasFrame = PolarsFrame = Any

# DuckDB 2 recommends relations for Arrow; one result object that can do all is `Cursor`'s purpose.
warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning, r"aios_db\.")

Row = tuple[Any, ...]
_T = TypeVar("_T")
_BATCH = 1_000_000


class Fetching(ABC):
    """What has the rows of a result that are left, and hands them out."""

    @abstractmethod
    def _take(self, how: Callable[[Any], _T]) -> _T:
        """Return what ``how`` makes of DuckDB's result.

        Raises
        ------
        ProgrammingError
            There is no result.
        """

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied, or sent to another process: what is open belongs to one."""
        what = type(self).__name__
        raise TypeError(f"a {what} cannot be copied or pickled; open another one with aios_db.connect(path)")

    def fetchone(self) -> Row | None:
        """Return the next row, or None when there is none left."""
        row: Row | None = self._take(lambda rows: rows.fetchone())
        return row

    def fetchall(self) -> list[Row]:
        """Return all rows that are left."""
        rows: list[Row] = self._take(lambda rows: rows.fetchall())
        return rows

    def arrow(self) -> pa.Table:
        """Return the rows that are left as an Arrow table."""
        return self._take(lambda rows: rows.to_arrow_table())

    def df(self, *, date_as_object: bool = False) -> PandasFrame:
        """Return the rows that are left as a pandas data frame; dates as Python's where asked for."""
        return self._take(lambda rows: rows.df(date_as_object=date_as_object))

    def pl(self) -> PolarsFrame:
        """Return the rows that are left as a polars data frame; of equal names the later get a number."""
        import polars

        table = self.arrow()
        frame = polars.from_arrow(table.rename_columns(distinct_names(table.column_names)))
        assert isinstance(frame, polars.DataFrame)
        return frame

    def fetchnumpy(self) -> dict[str, Any]:
        """Return the rows that are left as a NumPy array per column, by the column's name."""
        return self._take(lambda rows: rows.fetchnumpy())

    def fetch_df_chunk(self, vectors_per_chunk: int = 1, *, date_as_object: bool = False) -> PandasFrame:
        """Return the next ``vectors_per_chunk`` times 2,048 rows as a pandas data frame; empty at the end."""
        return self._take(lambda rows: rows.fetch_df_chunk(vectors_per_chunk, date_as_object=date_as_object))

    def to_arrow_reader(self, batch_size: int = _BATCH) -> pa.RecordBatchReader:
        """Return an Arrow reader of the rows that are left, for as long as no other statement is run."""
        return self._take(lambda rows: rows.to_arrow_reader(batch_size))

    def fetchdf(self, *, date_as_object: bool = False) -> PandasFrame:
        """Return the same as `df`."""
        return self.df(date_as_object=date_as_object)

    def fetch_df(self, *, date_as_object: bool = False) -> PandasFrame:
        """Return the same as `df`."""
        return self.df(date_as_object=date_as_object)

    def to_arrow_table(self) -> pa.Table:
        """Return the same as `arrow`."""
        return self.arrow()

    def fetch_arrow_table(self) -> pa.Table:
        """Return the same as `arrow`."""
        return self.arrow()

    def fetch_record_batch(self, rows_per_batch: int = _BATCH) -> pa.RecordBatchReader:
        """Return the same as `to_arrow_reader`."""
        return self.to_arrow_reader(rows_per_batch)


def distinct_names(names: Sequence[str]) -> list[str]:
    """Return column names, those that came before with ``_1``, ``_2`` … added, as DuckDB does for pandas."""
    taken = set(names)
    seen: set[str] = set()
    distinct = []
    for name in names:
        free = name
        if name in seen:
            free = next(each for n in itertools.count(1) if (each := f"{name}_{n}") not in taken)
        seen.add(name)
        taken.add(free)
        distinct.append(free)
    return distinct
