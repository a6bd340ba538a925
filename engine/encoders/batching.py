"""Batches of token rows of similar length, so that little padding is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

# Lengths are rounded up to a multiple of this: the fewer shapes, the fewer kernels a back end prepares.
MULTIPLE = 4
# On a GPU, which records graphs by shape, and whose attention copies masks of other lengths in each layer.
DEVICE_MULTIPLE = 16


def length_batches(
    lengths: NDArray[np.int64], batch_tokens: int, multiple: int = MULTIPLE
) -> Iterator[NDArray[np.int64]]:
    """Yield the positions of rows of similar length: at most ``batch_tokens`` with padding, or one row.

    ``multiple`` is that of `pad`.
    """
    order = np.argsort(lengths, kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        more = end + 1 - start
        if end == len(order) or _rounded(int(lengths[order[end]]), multiple) * more > batch_tokens:
            yield order[start:end]
            start = end


def pad(
    rows: Sequence[Sequence[int]], limit: int, multiple: int = MULTIPLE
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return token ids and attention mask, both int64 (len(rows), length), padded with zeros on the right.

    The length is that of the longest row, rounded up to a multiple but not above ``limit``, the longest the
    model takes.
    """
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    longest = int(lengths.max())
    ids = np.zeros((len(rows), max(longest, min(_rounded(longest, multiple), limit))), dtype=np.int64)
    for padded, row in zip(ids, rows, strict=True):
        padded[: len(row)] = row
    mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
    return ids, mask


def _rounded(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
