"""The indices over columns of the tables, by which a filter on an id finds its rows."""

from __future__ import annotations

from pathlib import Path

import lance
import pyarrow as pa
import pyarrow.compute as pc
from lance.file import LanceFileReader

from aios_db.checking.faults import Faults
from aios_db.disk.durable import index_files
from aios_db.disk.failures import operational
from aios_db.schema import association_links, memories
from aios_db.schema.amounts import amount
from aios_db.schema.errors import OperationalError

COLUMNS = {memories.TABLE: (memories.KEY,), association_links.TABLE: ("source_id", "target_id")}
_REMEDY = "aios repair makes it anew"
_IDS = 10_000


def check_lookups(faults: Faults, dataset: lance.LanceDataset) -> None:
    """Read the files of a table's indices, and look every row up."""
    path = Path(dataset.uri)
    try:
        with operational("listing the indices"):
            names = sorted(index_files(dataset))
            wanted = {segment.uuid for each in dataset.describe_indices() for segment in each.segments}
    except OperationalError as error:
        faults.file(path / "_indices", str(error)[:300], _REMEDY)
        return
    for gone in sorted(wanted - {Path(name).parts[1] for name in names}):
        faults.file(path / "_indices" / gone, "is missing", _REMEDY)
    for name in names:
        try:
            with operational("reading it"):
                LanceFileReader(str(path / name)).read_all().to_table().validate(full=True)
        except OperationalError as error:
            faults.file(path / name, str(error)[:300], _REMEDY)
    for column in COLUMNS.get(path.stem, ()):
        if problem := _misses(dataset, column):
            faults.file(path / "_indices", f"the index over {column} {problem}", _REMEDY)


def mend_lookups(table: Path) -> bool:
    """Make the indices of a table anew when something is wrong with them; return whether that was so.

    The caller holds the write lock.

    Raises
    ------
    OperationalError
        The disk fails.
    """
    faults = Faults(table.parent)
    dataset = lance.dataset(table)
    check_lookups(faults, dataset)
    if not len(faults):
        return False
    with operational(f"making the indices of {table} anew"):
        for column in COLUMNS[table.stem]:
            dataset.create_scalar_index(column, "BTREE", replace=True)
    return True


def _misses(dataset: lance.LanceDataset, column: str) -> str:
    """Return what is wrong when rows are looked up by a column; nothing when all are found."""
    try:
        with operational("reading the column"):
            values = dataset.to_table(columns=[column])[column]
    except OperationalError:
        return ""  # it is the rows that cannot be read
    try:
        with operational("looking rows up"):
            distinct = pc.unique(values)
            found = sum(
                dataset.count_rows(filter=pc.field(column).isin(_part(distinct, at)))
                for at in range(0, len(distinct), _IDS)
            )
    except OperationalError as error:
        return f"cannot be used: {str(error)[:300]}"
    return "" if found == len(values) else f"finds {found} of {amount(len(values), 'row')}"


def _part(values: pa.Array, at: int) -> pa.Array:
    return values.slice(at, _IDS)
