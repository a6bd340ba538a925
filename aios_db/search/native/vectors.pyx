# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Inner products of a query with rows of a matrix, and the best of them."""

import numpy as np

from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc

from aios_db.search.native.heap cimport Found, offer, order

cdef extern from *:
    """
    #include <stdlib.h>

    /* The widest vectors that the processor at hand has, where the linker can choose at load time. */
    #if defined(__x86_64__) && defined(__GLIBC__) && (!defined(__clang__) || __clang_major__ >= 14)
    #define EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
    #else
    #define EACH_PROCESSOR
    #endif
    #if defined(__GNUC__)
    #define PREFETCH(address) __builtin_prefetch(address, 0, 0)
    #else
    #define PREFETCH(address)
    #endif

    enum { LANES = 64, AHEAD = 2048 };  /* partial sums, so that none waits for another; floats */

    EACH_PROCESSOR
    static void inner_products(
        const float *rows, const float *query, Py_ssize_t count, Py_ssize_t width, float *products)
    {
        for (Py_ssize_t row = 0; row < count; row++, rows += width) {
            float sums[LANES] = {0}, sum = 0;
            Py_ssize_t i = 0;
            for (; i + LANES <= width; i += LANES) {
                for (int j = 0; j < LANES; j += 16)
                    PREFETCH(rows + i + j + AHEAD);
                for (int j = 0; j < LANES; j++)
                    sums[j] += rows[i + j] * query[i + j];
            }
            for (; i < width; i++)
                sum += rows[i] * query[i];
            for (int half = LANES / 2; half; half /= 2)
                for (int j = 0; j < half; j++)
                    sums[j] += sums[j + half];
            products[row] = sum + sums[0];
        }
    }
    """
    void inner_products(
        const float *rows, const float *query, Py_ssize_t count, Py_ssize_t width, float *products
    ) noexcept nogil

cdef enum:
    BLOCK = 64



def nearest(
    const float[:, ::1] vectors, const int64_t[::1] rows, allowed,
    const int64_t[:, ::1] spans, const float[::1] query, Py_ssize_t k,
):
    cdef Py_ssize_t total = 0, size = 0, width = vectors.shape[1], at, start, stop, i, j
    cdef float[BLOCK] products
    cdef const uint8_t[::1] may = None if allowed is None else allowed.view(np.uint8)
    cdef Found entry
    for i in range(spans.shape[0]):
        if not 0 <= spans[i, 0] <= spans[i, 1] <= min(vectors.shape[0], rows.shape[0]):
            raise IndexError(f"rows {spans[i, 0]}:{spans[i, 1]} of {vectors.shape[0]}")
        total += spans[i, 1] - spans[i, 0]
    k = min(k, total)
    if k == 0:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    cdef Found *heap = <Found *> malloc(k * sizeof(Found))
    if heap is NULL:
        raise MemoryError
    with nogil:
        for i in range(spans.shape[0]):
            start = spans[i, 0]
            while start < spans[i, 1]:
                stop = min(start + BLOCK, spans[i, 1])
                inner_products(&vectors[start, 0], &query[0], stop - start, width, products)
                for j in range(stop - start):
                    at = start + j
                    if may is None or may[at]:
                        entry.score, entry.row = products[j], rows[at]
                        size = offer(heap, size, k, entry)
                start = stop
        order(heap, size)
    found_rows, found_scores = np.empty(size, np.int64), np.empty(size, np.float32)
    cdef int64_t[::1] out_rows = found_rows
    cdef float[::1] out_scores = found_scores
    for i in range(size):
        out_rows[i], out_scores[i] = heap[i].row, heap[i].score
    free(heap)
    return found_rows, found_scores


def products(const float[:, ::1] vectors, const int64_t[::1] documents, const float[::1] query):
    cdef Py_ssize_t i
    found = np.empty(len(documents), np.float32)
    cdef float[::1] out = found
    for i in range(documents.shape[0]):
        if not 0 <= documents[i] < vectors.shape[0]:
            raise IndexError(f"row {documents[i]} of {vectors.shape[0]}")
    with nogil:
        for i in range(documents.shape[0]):
            inner_products(&vectors[documents[i], 0], &query[0], 1, vectors.shape[1], &out[i])
    return found
