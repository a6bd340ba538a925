from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aios_db.engine.encoders.batching import DEVICE_MULTIPLE, MULTIPLE, length_batches, pad

LENGTHS = st.lists(st.integers(1, 300), max_size=60).map(lambda values: np.array(values, np.int64))


@given(LENGTHS, st.integers(1, 2000), st.sampled_from([MULTIPLE, DEVICE_MULTIPLE]))
def test_batches_hold_every_row_once_within_the_limit(
    lengths: np.ndarray, batch_tokens: int, multiple: int
) -> None:
    batches = list(length_batches(lengths, batch_tokens, multiple))
    assert sorted(np.concatenate(batches).tolist() if batches else []) == list(range(len(lengths)))
    for batch in batches:
        ids, _ = pad([[7] * lengths[i] for i in batch], limit=10_000, multiple=multiple)
        assert ids.size <= batch_tokens or len(batch) == 1
    longest = [int(lengths[batch].max()) for batch in batches]
    assert longest == sorted(longest)


@given(
    st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=20), min_size=1, max_size=8),
    st.integers(20, 30),
    st.sampled_from([MULTIPLE, DEVICE_MULTIPLE]),
)
def test_pad_keeps_the_rows_and_masks_the_rest(rows: list[list[int]], limit: int, multiple: int) -> None:
    ids, mask = pad(rows, limit, multiple)
    assert ids.dtype == mask.dtype == np.int64
    longest = max(map(len, rows))
    assert longest <= ids.shape[1] <= min(limit, longest + multiple - 1)
    for row, padded, kept in zip(rows, ids, mask, strict=True):
        assert padded.tolist() == row + [0] * (ids.shape[1] - len(row))
        assert kept.tolist() == [1] * len(row) + [0] * (ids.shape[1] - len(row))
