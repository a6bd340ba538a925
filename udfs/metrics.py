"""What this process has done on the database, as rows of SQL."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pyarrow as pa

from aios_db.schema.metrics import SCHEMA
from aios_db.udfs.functions import ScalarFunction
from aios_db.udfs.types import BOOLEAN

_ROWS = pa.list_(pa.struct(list(SCHEMA)))


class Recorded(Protocol):
    """What has recorded."""

    def rows(self) -> pa.Table:
        """Return a row per operation."""
        ...


class Observed(Protocol):
    """A store that is observed."""

    @property
    def metrics(self) -> Recorded:
        """What was recorded."""
        ...


def metrics(store: Observed, rows: pa.Array) -> pa.Array:
    """Return what was recorded, for each row."""
    found = pa.array(store.metrics.rows().to_pylist(), pa.struct(list(SCHEMA)))
    offsets = pa.array(np.arange(len(rows) + 1) * len(found), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.concat_arrays([found] * len(rows) or [found[:0]]))


FUNCTIONS = (ScalarFunction("aios_metrics", [BOOLEAN], _ROWS, metrics),)
