# cython: language_level=3, wraparound=False, cdivision=True
"""Activation over adjacency lists: one step, and joining it to what was reached before."""

import numpy as np

from aios_db.schema.association_links import KINDS

from libc.math cimport exp, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

cdef int NEXT_IN_SESSION = KINDS.index("next_in_session")
cdef int SIMILAR = KINDS.index("similar")
cdef int SAME_ENTITY = KINDS.index("same_entity")
cdef int RECALLED_TOGETHER = KINDS.index("recalled_together")
cdef int MENTIONED = len(KINDS) + 1
cdef int INCOMING = 128

cdef struct Arrivals:  # by row, in the order in which they were first reached
    int32_t *slots
    Py_ssize_t mask, count
    int64_t *rows
    double *sums
    double *greatest


cdef inline Py_ssize_t hashed(uint64_t key, Py_ssize_t mask) noexcept nogil:
    return <Py_ssize_t> ((key * 0x9e3779b97f4a7c15ULL) >> 32) & mask


cdef inline Py_ssize_t arrive(Arrivals *arrivals, int64_t row) noexcept nogil:
    cdef Py_ssize_t slot = hashed(<uint64_t> row, arrivals.mask)
    cdef int32_t at
    while True:
        at = arrivals.slots[slot]
        if at < 0:
            at = <int32_t> arrivals.count
            arrivals.slots[slot] = at
            arrivals.rows[at], arrivals.sums[at], arrivals.greatest[at] = row, 0, 0
            arrivals.count += 1
            return at
        if arrivals.rows[at] == row:
            return at
        slot = (slot + 1) & arrivals.mask


cdef inline double score(const int64_t[::1] seeds, const double[::1] scores, int64_t row) noexcept nogil:
    cdef Py_ssize_t low = 0, high = seeds.shape[0], middle
    while low < high:
        middle = (low + high) // 2
        if seeds[middle] < row:
            low = middle + 1
        else:
            high = middle
    return scores[low] if low < seeds.shape[0] and seeds[low] == row else 0


cdef struct Link:  # one of a sender's that leads to a subject
    int64_t at  # place of what arrives
    double flow, score, weight
    int32_t subject


cdef struct Subject:  # memories that share what one sender gives
    uint64_t key
    double highest, weight, total
    bint back


cdef struct Sender:
    Link *links
    Subject *subjects
    int32_t *slots
    Py_ssize_t mask, count, known


cdef inline int32_t subject_of(Sender *sender, uint64_t key, bint back) noexcept nogil:
    """Return the place of a subject; one with the key 0 is new, but for the way back."""
    cdef int32_t at
    cdef Py_ssize_t slot = 0
    if key or back:
        slot = hashed(key, sender.mask)
        while True:
            at = sender.slots[slot]
            if at < 0:
                break
            if sender.subjects[at].key == key and sender.subjects[at].back == back:
                return at
            slot = (slot + 1) & sender.mask
        sender.slots[slot] = <int32_t> sender.known
    at = <int32_t> sender.known
    sender.subjects[at].key, sender.subjects[at].back = key, back
    sender.subjects[at].highest, sender.subjects[at].weight, sender.subjects[at].total = -1e308, 0, 0
    sender.known += 1
    return at


cdef void share(Sender *sender, Arrivals *arrivals) noexcept nogil:
    """Divide a sender's gain among its subjects, and a subject's among its memories; forget the sender."""
    cdef Py_ssize_t i
    cdef Link *link
    cdef Subject *subject
    cdef double squares = 0, norm, arrived
    for i in range(sender.count):
        link = &sender.links[i]
        subject = &sender.subjects[link.subject]
        subject.highest = max(subject.highest, link.score)
        subject.weight = max(subject.weight, link.weight)
    for i in range(sender.known):
        if not sender.subjects[i].back:
            squares += sender.subjects[i].weight * sender.subjects[i].weight
    norm = sqrt(squares) if squares > 1 else 1
    for i in range(sender.count):
        link = &sender.links[i]
        subject = &sender.subjects[link.subject]
        link.score = exp(link.score - subject.highest)
        subject.total += link.score
    for i in range(sender.count):
        link = &sender.links[i]
        subject = &sender.subjects[link.subject]
        arrived = link.flow * (link.score / subject.total / (1 if subject.back else norm))
        arrivals.greatest[link.at] = max(arrivals.greatest[link.at], arrived)
    sender.count = sender.known = 0


cdef inline int send(
    Sender *sender, Arrivals *arrivals, int64_t target, float weight, int kind, double activation,
    uint64_t own, uint64_t other, const float[::1] gains, const int64_t[::1] seeds, const double[::1] scores,
) except -1 nogil:
    cdef Py_ssize_t at = arrive(arrivals, target)
    cdef bint incoming = kind >= INCOMING
    kind &= INCOMING - 1
    cdef bint entity = kind == SAME_ENTITY
    cdef bint back = entity and incoming and own != 0
    cdef double flow = <double> gains[MENTIONED if back else kind] * weight * activation
    cdef Link *link
    if kind == NEXT_IN_SESSION:
        arrivals.sums[at] += flow
    elif kind == SIMILAR or kind == RECALLED_TOGETHER:
        arrivals.greatest[at] = max(arrivals.greatest[at], flow)
    elif flow > 0 and not (entity and own != 0 and own == other):
        link = &sender.links[sender.count]
        link.at, link.flow, link.weight, link.score = at, flow, weight, score(seeds, scores, target)
        link.subject = subject_of(sender, other if entity and not incoming else 0, back)
        sender.count += 1
    return 0


cdef inline uint64_t value(const uint64_t[::1] table, int64_t row) noexcept nogil:
    return table[row] if 0 <= row < table.shape[0] else 0


def step(
    const int64_t[::1] rows, const double[::1] activation, given, adjacency, more, const uint64_t[::1] names,
    const float[::1] gains,
):
    cdef const int64_t[::1] seeds, offsets, more_targets, order, more_starts
    cdef const double[::1] scores
    cdef const int32_t[::1] targets
    cdef const float[::1] weights, more_weights
    cdef const uint8_t[::1] kinds, more_kinds
    seeds, scores = given
    offsets, targets, weights, kinds = adjacency
    more_origins, more_targets, more_weights, more_kinds = more
    order = np.argsort(more_origins, kind="stable")
    more_starts = np.searchsorted(more_origins, np.arange(rows.shape[0] + 1), sorter=np.asarray(order))
    cdef Py_ssize_t entries = more_targets.shape[0], most = 0, size = 16, i, j, at, links
    cdef Py_ssize_t packed = offsets.shape[0] - 1
    cdef uint64_t own
    cdef Arrivals arrivals
    cdef Sender sender
    for i in range(rows.shape[0]):
        links = more_starts[i + 1] - more_starts[i]
        if rows[i] < packed:
            at = offsets[rows[i] + 1] - offsets[rows[i]]
            entries, links = entries + at, links + at
        most = max(most, links)
    while size < 2 * entries:
        size *= 2
    reached, summed, greatest = np.empty(entries, np.int64), np.empty(entries), np.empty(entries)
    if entries == 0:
        return reached, summed
    cdef int64_t[::1] out_rows = reached
    cdef double[::1] out_sums = summed, out_greatest = greatest
    arrivals.rows, arrivals.sums, arrivals.greatest = &out_rows[0], &out_sums[0], &out_greatest[0]
    arrivals.mask, arrivals.count = size - 1, 0
    arrivals.slots = <int32_t *> malloc(size * sizeof(int32_t))
    sender.slots = <int32_t *> malloc(size * sizeof(int32_t))
    sender.links = <Link *> malloc(most * sizeof(Link))
    sender.subjects = <Subject *> malloc(most * sizeof(Subject))
    sender.count = sender.known = 0
    try:
        if not (arrivals.slots and sender.slots and sender.links and sender.subjects):
            raise MemoryError
        memset(arrivals.slots, 0xFF, size * sizeof(int32_t))
        with nogil:
            for i in range(rows.shape[0]):
                links = more_starts[i + 1] - more_starts[i]
                if rows[i] < packed:
                    links += offsets[rows[i] + 1] - offsets[rows[i]]
                sender.mask = 16
                while sender.mask < 2 * links:
                    sender.mask *= 2
                memset(sender.slots, 0xFF, sender.mask * sizeof(int32_t))
                sender.mask -= 1
                own = value(names, rows[i])
                if rows[i] < packed:
                    for at in range(offsets[rows[i]], offsets[rows[i] + 1]):
                        if weights[at] > 0:
                            send(
                                &sender, &arrivals, targets[at], weights[at], kinds[at], activation[i], own,
                                value(names, targets[at]), gains, seeds, scores,
                            )
                for j in range(more_starts[i], more_starts[i + 1]):
                    at = order[j]
                    if more_weights[at] > 0:
                        send(
                            &sender, &arrivals, more_targets[at], more_weights[at], more_kinds[at],
                            activation[i], own, value(names, more_targets[at]), gains, seeds, scores,
                        )
                share(&sender, &arrivals)
    finally:
        free(arrivals.slots)
        free(sender.slots)
        free(sender.links)
        free(sender.subjects)
    total = summed[: arrivals.count] + greatest[: arrivals.count]
    ascending = reached[: arrivals.count].argsort()
    return reached[: arrivals.count][ascending], total[ascending]


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
