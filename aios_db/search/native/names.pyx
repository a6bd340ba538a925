# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A small cache from memory_id to row id: sets of eight names, of which the oldest goes."""

import numpy as np

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

cdef enum:
    WORDS = 5
    LONGEST = 36  # a UUID
    SETS = 1024
    WAYS = 8

cdef struct Name:
    uint64_t[WORDS] text  # and its length, so that none is the beginning of another
    int64_t row


cdef class Names:
    cdef Name[SETS][WAYS] kept
    cdef uint8_t[SETS] oldest

    def __init__(self):
        self.clear()

    def clear(self):
        memset(self.kept, 0, sizeof(self.kept))
        memset(self.oldest, 0, sizeof(self.oldest))

    cdef Name *place(self, const Name *wanted, bint replace) noexcept nogil:
        """Return where a name is kept; if it is not, NULL or the place of the oldest of its set."""
        cdef uint64_t digest = 0
        cdef Py_ssize_t i, j, number
        cdef Name *names
        for i in range(WORDS):
            digest = (digest ^ wanted.text[i]) * 0x9e3779b97f4a7c15ULL
            digest ^= digest >> 32
        number = <Py_ssize_t> (digest % SETS)
        names = self.kept[number]
        for i in range(WAYS):
            for j in range(WORDS):
                if names[i].text[j] != wanted.text[j]:
                    break
            else:
                return &names[i]
        if not replace:
            return NULL
        i = self.oldest[number]
        self.oldest[number] = <uint8_t> ((i + 1) % WAYS)
        return &names[i]

    def put(self, names, const int64_t[::1] rows):
        cdef const int8_t[::1] raw, data
        cdef const int32_t *offsets
        cdef Py_ssize_t i
        cdef Name name
        _, starts, text = names.buffers()
        if text is None or not len(text):
            return
        raw, data = starts, text
        offsets = (<const int32_t *> &raw[0]) + <Py_ssize_t> names.offset
        for i in range(rows.shape[0]):
            if read(&name, data, offsets[i], offsets[i + 1]):
                name.row = rows[i]
                self.place(&name, True)[0] = name

    def find(self, names):
        cdef const int8_t[::1] raw, data
        cdef const int32_t *offsets
        cdef Py_ssize_t i
        cdef Name name
        cdef Name *kept
        found = np.full(len(names), -1)
        cdef int64_t[::1] out = found
        _, starts, text = names.buffers()
        if text is None or not len(text):
            return found
        raw, data = starts, text
        offsets = (<const int32_t *> &raw[0]) + <Py_ssize_t> names.offset
        for i in range(out.shape[0]):
            if read(&name, data, offsets[i], offsets[i + 1]):
                kept = self.place(&name, False)
                if kept is not NULL:
                    out[i] = kept.row
        return found


cdef inline bint read(Name *name, const int8_t[::1] data, int32_t start, int32_t stop) noexcept nogil:
    """Fill in a name's text; return whether it is one that can be kept."""
    if not 0 <= start < stop <= min(<Py_ssize_t> start + LONGEST, data.shape[0]):
        return False
    memset(name.text, 0, sizeof(name.text))
    memcpy(name.text, &data[start], stop - start)
    name.text[WORDS - 1] |= <uint64_t> (stop - start) << 56
    return True
