# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""BM25 over inverted lists: MaxScore, a window of documents at a time."""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from aios_db.search.native.heap cimport Found, offer, order

cdef extern from *:
    """
    #if defined(_MSC_VER) && !defined(__clang__)
    #include <intrin.h>
    static int lowest_bit(unsigned long long bits) {
        unsigned long at;
        _BitScanForward64(&at, bits);
        return (int) at;
    }
    #else
    static int lowest_bit(unsigned long long bits) { return __builtin_ctzll(bits); }
    #endif
    """
    int lowest_bit(uint64_t bits) noexcept nogil

cdef enum:
    WINDOW = 4096
    WORD = 64
    WORDS = 64  # in a window

cdef struct Term:
    const int32_t *docs
    const uint16_t *counts
    Py_ssize_t at, stop
    float weight

cdef struct Norm:  # see `portable.keywords.impacts`
    const int32_t *lengths
    double a_term, constant
    float factor


cdef inline float impact(const Term *term, Py_ssize_t at, const Norm *norm) noexcept nogil:
    cdef float count = term.counts[at]
    cdef double below = norm.lengths[term.docs[at]] * norm.a_term + norm.constant + count
    return term.weight * <float> (<double> (count * norm.factor) / below)


cdef inline bint advance(Term *term, int32_t document) noexcept nogil:
    """Move to the first entry that is not before a document, in steps that double; return whether it is its."""
    cdef Py_ssize_t step = 1, low = term.at, high, middle
    if low < term.stop and term.docs[low] < document:
        while low + step < term.stop and term.docs[low + step] < document:
            low += step
            step *= 2
        high = min(low + step, term.stop)
        while low + 1 < high:
            middle = (low + high) // 2
            if term.docs[middle] < document:
                low = middle
            else:
                high = middle
        term.at = high
    return term.at < term.stop and term.docs[term.at] == document


cdef Term *terms_of(lists, const float[::1] weights) except NULL:
    cdef const int32_t[::1] docs
    cdef const uint16_t[::1] counts
    cdef Py_ssize_t i
    cdef Term *terms = <Term *> calloc(len(lists) + 1, sizeof(Term))
    if terms is NULL:
        raise MemoryError
    for i in range(len(lists)):
        docs, counts = lists[i]
        if len(docs):
            terms[i].docs, terms[i].counts, terms[i].stop = &docs[0], &counts[0], len(docs)
        terms[i].weight = weights[i]
    return terms


cdef Norm norm_of(const int32_t[::1] lengths, norm):
    cdef Norm made
    made.lengths = &lengths[0]
    made.a_term, made.constant, made.factor = norm
    return made


cdef Py_ssize_t search(
    Term *terms, Py_ssize_t count, const double *bounds, const Norm *norm,
    const int64_t *rows, const uint8_t *allowed, Py_ssize_t documents, Found *heap, Py_ssize_t k,
) noexcept nogil:
    """Fill a heap with the k best documents; return how many there are."""
    cdef float[WINDOW] totals
    cdef uint64_t[WORDS] touched
    cdef uint64_t bits
    cdef Py_ssize_t size = 0, read = count, i, word
    cdef int32_t first, document
    cdef uint32_t width  # of this window; what lies outside of all documents, in a damaged list, ends it
    cdef double least = -1
    cdef Found entry
    cdef Term *term
    for i in range(WINDOW):
        totals[i] = 0
    for i in range(WORDS):
        touched[i] = 0
    while True:
        # The terms from `read` on cannot lift a document that lacks the others among the best.
        while read > 0 and bounds[read - 1] < least:
            read -= 1
        first = 0x7fffffff
        for i in range(read):
            if terms[i].at < terms[i].stop:
                first = min(first, terms[i].docs[terms[i].at])
        if first < 0 or first >= documents:
            return size
        width = <uint32_t> min(WINDOW, documents - first)
        for i in range(read):
            term = &terms[i]
            while term.at < term.stop and <uint32_t> (term.docs[term.at] - first) < width:
                document = term.docs[term.at] - first
                totals[document] += impact(term, term.at, norm)
                touched[document // WORD] |= <uint64_t> 1 << (document % WORD)
                term.at += 1
        for word in range(WORDS):
            bits, touched[word] = touched[word], 0
            while bits:
                document = <int32_t> (word * WORD + lowest_bit(bits))
                bits &= bits - 1
                entry.score, totals[document] = totals[document], 0
                document += first
                if allowed is not NULL and not allowed[document]:
                    continue
                i = read
                while i < count and entry.score + bounds[i] >= least:
                    if advance(&terms[i], document):
                        entry.score += impact(&terms[i], terms[i].at, norm)
                    i += 1
                if entry.score + bounds[i] >= least:
                    entry.row = rows[document]
                    size = offer(heap, size, k, entry)
                    if size == k:
                        least = heap[0].score


def best(
    list lists, const float[::1] weights, const double[::1] bounds, norm, const int32_t[::1] lengths,
    const int64_t[::1] rows, allowed, Py_ssize_t k,
):
    cdef Py_ssize_t size = 0, count = len(lists), i
    cdef Norm how = norm_of(lengths, norm)
    cdef const uint8_t[::1] may = None if allowed is None else allowed.view(np.uint8)
    k = min(k, sum([len(docs) for docs, _ in lists]))
    cdef Term *terms = terms_of(lists, weights)
    cdef Found *heap = <Found *> malloc((k + 1) * sizeof(Found))
    if heap is NULL:
        free(terms)
        raise MemoryError
    if k:
        with nogil:
            size = search(
                terms, count, &bounds[0], &how, &rows[0], NULL if may is None else &may[0],
                min(rows.shape[0], lengths.shape[0]), heap, k,
            )
            order(heap, size)
    found_rows, found_scores = np.empty(size, np.int64), np.empty(size, np.float32)
    cdef int64_t[::1] out_rows = found_rows
    cdef float[::1] out_scores = found_scores
    for i in range(size):
        out_rows[i], out_scores[i] = heap[i].row, heap[i].score
    free(heap)
    free(terms)
    return found_rows, found_scores


def scores(
    list lists, const float[::1] weights, norm, const int32_t[::1] lengths, const int32_t[::1] documents
):
    cdef Py_ssize_t i, j
    cdef Norm how = norm_of(lengths, norm)
    cdef Term *terms = terms_of(lists, weights)
    found = np.zeros(len(documents), np.float32)
    cdef float[::1] out = found
    with nogil:
        for i in range(weights.shape[0]):
            for j in range(documents.shape[0]):
                if advance(&terms[i], documents[j]):
                    out[j] += impact(&terms[i], terms[i].at, &how)
    free(terms)
    return found
