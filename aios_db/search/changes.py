"""What one change of the tables was for the memories of an index."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import RowIds
from aios_db.search.part import Part


@dataclass
class Changes:
    """What was done to the memories of a view to make the next.

    Attributes
    ----------
    killed
        Documents that died, with their part.
    put
        Row ids of memories that are new, or have become others.
    """

    killed: list[tuple[Part, NDArray[np.int64]]] = field(default_factory=list)
    put: list[RowIds] = field(default_factory=list)
