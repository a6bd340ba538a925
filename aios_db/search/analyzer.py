"""Texts to index terms: stemmed words without stop words; in Chinese, Japanese, Korean characters and pairs.

A term is the 64-bit hash of its stem, so that a dictionary of terms is a sorted array that can be mapped.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence

import numpy as np
import Stemmer
from numpy.typing import NDArray

from aios_db.search.ranking import digest64

# Words that say how a thing is asked and not what is asked for are left out as well: "when" and "what" match
# a question to small talk.
_STOP = """
a an the and or but if then than so as of in on at by for from to into about with without between through
during before after above below up down out off over under again once here there is am are was were be been
being do does did doing done have has had having can could will would shall should may might must i you he
she it we they me him us them my your his her its our their mine yours hers ours theirs this that these those
who whom whose which what when where why how not no nor only own same too very just also such both each few
more most other some any all i'm i've i'll i'd you're you've you'll you'd he's she's it's we're we've we'll
they're they've they'll that's what's where's who's how's there's let's don't doesn't didn't isn't aren't
wasn't weren't hasn't haven't hadn't won't wouldn't can't cannot couldn't shouldn't
"""
STOP_WORDS = frozenset(_STOP.split())

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+(?:['\u2019][^\W_{_CJK}]+)*")
_IS_CJK = re.compile(rf"[{_CJK}]")
_LONGEST = 64
_CACHE_SIZE = 1 << 18


class Analyzer:
    """Turns texts into terms; one an index, used by one thread at a time or under its own lock."""

    def __init__(self) -> None:
        self._stem = Stemmer.Stemmer("english")
        self._known: dict[str, int] = {}
        self._lock = threading.Lock()

    def terms(self, texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Return the terms of texts to index, one text after the other, and how many each text has.

        A word known from earlier texts costs one look-up; that is what the time of indexing goes into.
        """
        terms: list[int] = []
        lengths = []
        known = self._known.get
        with self._lock:
            for text in texts:
                tokens = _TOKEN.findall(text.lower())
                found = list(map(known, tokens))
                before = len(terms)
                terms.extend(filter(None, found))  # 0 is a stop word
                if None in found:
                    new = (token for token, term in zip(tokens, found, strict=True) if term is None)
                    terms.extend(filter(None, (term for token in new for term in self._terms_of(token))))
                lengths.append(len(terms) - before)
        return np.array(terms, np.uint64), np.array(lengths, np.int64)

    def _terms_of(self, token: str) -> list[int]:
        if _IS_CJK.match(token):
            pairs = (token[i : i + 2] for i in range(len(token) - 1))
            return [digest64(each) for each in (*token, *pairs)]
        term = self._known.get(token)
        return [self._learn(token) if term is None else term]

    def query(self, text: str) -> list[int]:
        """Return the distinct terms to look up for a query; of CJK words pairs, not single characters."""
        found: dict[int, None] = {}
        with self._lock:
            for token in _TOKEN.findall(text.lower()):
                if _IS_CJK.match(token):
                    pairs = [token[i : i + 2] for i in range(len(token) - 1)] or [token]
                    found.update((digest64(pair), None) for pair in pairs)
                else:
                    term = self._known.get(token)
                    if term is None:
                        term = self._learn(token)
                    if term:
                        found[term] = None
        return list(found)

    def _learn(self, token: str) -> int:
        word = token.replace("\u2019", "'")
        term = 0
        if word not in STOP_WORDS:
            word = word.removesuffix("'s")
            if word not in STOP_WORDS:
                term = digest64(self._stem.stemWord(word[:_LONGEST]))
        if len(self._known) >= _CACHE_SIZE:
            self._known.clear()
        if len(token) <= _LONGEST:
            self._known[token] = term
        return term
