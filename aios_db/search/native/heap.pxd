# The k best of many (score, row), best first, ties by row: a binary heap whose root is the worst one kept.

from libc.stdint cimport int64_t


cdef struct Found:
    float score
    int64_t row


cdef inline bint worse(Found one, Found other) noexcept nogil:
    return one.score < other.score or (one.score == other.score and one.row > other.row)


cdef inline void sift(Found *heap, Py_ssize_t size, Found entry) noexcept nogil:
    """Put an entry in the root's place and restore the order below."""
    cdef Py_ssize_t at = 0, child = 1
    while child < size:
        if child + 1 < size and worse(heap[child + 1], heap[child]):
            child += 1
        if not worse(heap[child], entry):
            break
        heap[at] = heap[child]
        at, child = child, 2 * child + 1
    heap[at] = entry


cdef inline Py_ssize_t offer(Found *heap, Py_ssize_t size, Py_ssize_t k, Found entry) noexcept nogil:
    """Keep an entry if it is one of the k best so far; return how many are kept."""
    cdef Py_ssize_t at, parent
    if size == k:
        if worse(heap[0], entry):
            sift(heap, size, entry)
        return size
    at = size
    while at > 0:
        parent = (at - 1) // 2
        if not worse(entry, heap[parent]):
            break
        heap[at] = heap[parent]
        at = parent
    heap[at] = entry
    return size + 1


cdef inline void order(Found *heap, Py_ssize_t size) noexcept nogil:
    """Sort a heap, best first."""
    cdef Found last
    while size > 1:
        size -= 1
        last = heap[size]
        heap[size] = heap[0]
        sift(heap, size, last)
