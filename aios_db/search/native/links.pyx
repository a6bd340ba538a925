# cython: language_level=3, wraparound=False, cdivision=True
"""Activation over adjacency lists: one step, and joining it to what was reached before."""

import numpy as np

from libc.math cimport sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

cdef struct Sums:  # by row, in the order in which they were first added to
    int32_t *slots
    Py_ssize_t mask, count
    int64_t *rows
    double *totals


cdef inline void add(Sums *sums, int64_t row, double value) noexcept nogil:
    cdef Py_ssize_t slot = <Py_ssize_t> ((<uint64_t> row * 0x9e3779b97f4a7c15ULL) >> 32) & sums.mask
    cdef int32_t at
    while True:
        at = sums.slots[slot]
        if at < 0:
            sums.slots[slot] = <int32_t> sums.count
            sums.rows[sums.count], sums.totals[sums.count] = row, value
            sums.count += 1
            return
        if sums.rows[at] == row:
            sums.totals[at] += value
            return
        slot = (slot + 1) & sums.mask


cdef inline double degree(const float[::1] packed, const double[::1] recent, int64_t row) except -1 nogil:
    cdef double sum = 0
    if row < recent.shape[0]:
        sum = recent[row]
    if row < packed.shape[0]:
        sum += packed[row]
    return sum if sum > 1 else 1


def step(
    const int64_t[::1] rows, const double[::1] activation, adjacency, more, const double[::1] recent_degrees,
    const float[::1] gains, shared,
):
    cdef const int64_t[::1] offsets
    cdef const int32_t[::1] targets
    cdef const uint8_t[::1] shares = shared.view(np.uint8)
    cdef const float[::1] weights, degrees, more_weights
    cdef const uint8_t[::1] kinds, more_kinds
    cdef const int64_t[::1] more_origins, more_targets
    offsets, targets, weights, kinds, degrees = adjacency
    more_origins, more_targets, more_weights, more_kinds = more
    cdef Py_ssize_t entries = more_targets.shape[0], size = 16, i, at
    cdef Py_ssize_t packed = offsets.shape[0] - 1
    cdef double own, share
    cdef Sums sums
    for i in range(rows.shape[0]):
        if rows[i] < packed:
            entries += offsets[rows[i] + 1] - offsets[rows[i]]
    while size < 2 * entries:
        size *= 2
    reached, arrived = np.empty(entries, np.int64), np.empty(entries, np.float64)
    if entries == 0:
        return reached, arrived
    cdef int64_t[::1] out_rows = reached
    cdef double[::1] out_totals = arrived
    sums.rows, sums.totals, sums.mask, sums.count = &out_rows[0], &out_totals[0], size - 1, 0
    sums.slots = <int32_t *> malloc(size * sizeof(int32_t))
    if sums.slots is NULL:
        raise MemoryError
    memset(sums.slots, 0xFF, size * sizeof(int32_t))
    try:
        with nogil:
            for i in range(rows.shape[0]):
                if rows[i] >= packed:
                    continue
                own = degree(degrees, recent_degrees, rows[i])
                for at in range(offsets[rows[i]], offsets[rows[i] + 1]):
                    if weights[at] > 0:
                        share = 1
                        if shares[kinds[at]]:
                            share = sqrt(own * degree(degrees, recent_degrees, targets[at]))
                        add(&sums, targets[at], gains[kinds[at]] * weights[at] / share * activation[i])
            for at in range(more_targets.shape[0]):
                if more_weights[at] > 0:
                    i = more_origins[at]
                    share = 1
                    if shares[more_kinds[at]]:
                        share = sqrt(
                            degree(degrees, recent_degrees, rows[i])
                            * degree(degrees, recent_degrees, more_targets[at])
                        )
                    add(&sums, more_targets[at], gains[more_kinds[at]] * more_weights[at] / share * activation[i])
    finally:
        free(sums.slots)
    order = reached[: sums.count].argsort()
    return reached[order], arrived[order]


def merge(
    const int64_t[::1] rows, const double[::1] arrived, const int64_t[::1] distances,
    const int64_t[::1] frontier, const double[::1] activation, int64_t hop,
):
    cdef Py_ssize_t i = 0, j = 0, count = 0, one = rows.shape[0], two = frontier.shape[0]
    merged = np.empty(one + two, np.int64), np.empty(one + two, np.float64), np.empty(one + two, np.int64)
    cdef int64_t[::1] out_rows = merged[0]
    cdef double[::1] out_arrived = merged[1]
    cdef int64_t[::1] out_distances = merged[2]
    with nogil:
        while i < one or j < two:
            if j == two or (i < one and rows[i] <= frontier[j]):
                out_rows[count], out_arrived[count], out_distances[count] = rows[i], arrived[i], distances[i]
                if j < two and rows[i] == frontier[j]:
                    out_arrived[count] += activation[j]
                    j += 1
                i += 1
            else:
                out_rows[count], out_arrived[count], out_distances[count] = frontier[j], activation[j], hop
                j += 1
            count += 1
    return tuple([column[:count] for column in merged])
