"""Inner products of a query with rows of a matrix, and the best of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import RowIds
from aios_db.search.ranking import best


def nearest(  # noqa: PLR0917
    vectors: NDArray[np.float32],
    rows: RowIds,
    allowed: NDArray[np.bool_] | None,
    spans: NDArray[np.int64],
    query: NDArray[np.float32],
    k: int,
) -> tuple[RowIds, NDArray[np.float32]]:
    """Return the rows with the greatest inner products with a query in some slices of a matrix.

    Parameters
    ----------
    vectors
        float32 ``(n, dimension)``.
    rows
        int64 ``(n,)``: what the rows of the matrix are called.
    allowed
        bool ``(n,)``: which may be found; all when absent.
    spans
        int64 ``(m, 2)``: first row and end of each slice; they do not overlap.
    query
        float32 ``(dimension,)``.
    k
        How many, at least 1.

    Returns
    -------
    rows, products
        int64 and float32, best first, ties by row.
    """
    slices = [slice(start, stop) for start, stop in spans.tolist()]
    found = np.concatenate([np.empty(0, np.int64), *(rows[span] for span in slices)])
    products = np.concatenate([np.empty(0, np.float32), *(vectors[span] @ query for span in slices)])
    if allowed is not None:
        keep = np.concatenate([np.empty(0, np.bool_), *(allowed[span] for span in slices)])
        found, products = found[keep], products[keep]
    return best(found, products, k)


def products(
    vectors: NDArray[np.float32], documents: NDArray[np.int64], query: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return float32 ``(len(documents),)``: the inner product of a query with each of some rows."""
    found: NDArray[np.float32] = np.einsum("ij,j->i", vectors[documents], query)
    return found
