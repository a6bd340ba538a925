"""Grouping vectors into the lists of an inverted file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aios_db.search.vectors import Clusters, Matrix


def cluster(vectors: Matrix) -> tuple[NDArray[np.int64], Clusters | None]:
    """Return an order of the rows that puts list after list, and the lists; None for few vectors."""
    return np.arange(len(vectors)), None
