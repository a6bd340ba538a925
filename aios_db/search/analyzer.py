"""Texts to index terms: stemmed words without stop words; in Chinese, Japanese, Korean characters and pairs.

A term is the 64-bit hash of its stem, so that a dictionary of terms is a sorted array that can be mapped.
"""

from __future__ import annotations

import re
import threading
from collections import Counter

import Stemmer

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

    def counts(self, text: str) -> Counter[int]:
        """Return the terms of a text to index with the number of their occurrences."""
        terms: Counter[int] = Counter()
        with self._lock:
            for token in _TOKEN.findall(text.lower()):
                if _IS_CJK.match(token):
                    terms.update(digest64(character) for character in token)
                    terms.update(digest64(token[i : i + 2]) for i in range(len(token) - 1))
                else:
                    term = self._known.get(token)
                    if term is None:
                        term = self._learn(token)
                    if term:
                        terms[term] += 1
        return terms

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
