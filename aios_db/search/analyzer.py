"""Texts to index terms, and queries to the terms that find them.

A text is stemmed in its own language, a query in each language that the collection has texts of; words in
other scripts than Latin are stemmed as their script says.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aios_db.search.languages import TOLD_APART, detect
from aios_db.search.lexicon import Lexicon
from aios_db.search.normal_form import cleaned, joined_thousands
from aios_db.search.words import tokens

AUTO = "auto"
_MOST_WORDS = 256  # of a query
_CODES = {language: code for code, language in enumerate(TOLD_APART)}


class Analyzed(NamedTuple):
    """The terms of texts, one text after the other.

    Attributes
    ----------
    terms
        uint64: of each text what its length counts, then what it does not.
    counts
        int64: how many terms each text has.
    lengths
        int32: how many of them count.
    languages
        uint8: the place in `TOLD_APART` of the language that each text was stemmed in.
    """

    terms: NDArray[np.uint64]
    counts: NDArray[np.int64]
    lengths: NDArray[np.int32]
    languages: NDArray[np.uint8]


Word = dict[int, float]
"""A word of a query: the terms that stand for it, each with its weight."""


class Analyzer:
    """Turns texts into terms; one an index, used under its own lock.

    Parameters
    ----------
    language
        The language of all texts in Latin letters, or ``auto`` to tell it from each of them.
    """

    def __init__(self, language: str = AUTO) -> None:
        self.language = language
        self._lexica: dict[str, Lexicon] = {}
        self._lock = threading.Lock()

    def terms(self, texts: Sequence[str]) -> Analyzed:
        """Return the terms of texts to index."""
        terms: list[int] = []
        counts, lengths, languages = [], [], []
        with self._lock:
            for text in texts:
                chunks = joined_thousands(text).split()
                distinct = frozenset(chunks)
                language = self._language(distinct, text)
                lexicon = self._lexicon(language)
                before = len(terms)
                terms.extend(chain.from_iterable(map(lexicon.words.__getitem__, chunks)))
                lengths.append(len(terms) - before)
                terms.extend(set(chain.from_iterable(map(lexicon.others.__getitem__, distinct))))
                counts.append(len(terms) - before)
                languages.append(_CODES.get(language, 0))
        return Analyzed(
            np.array(terms, np.uint64),
            np.array(counts, np.int64),
            np.array(lengths, np.int32),
            np.array(languages, np.uint8),
        )

    def query(self, text: str, present: Sequence[int] = ()) -> list[Word]:
        """Return the terms of each word of a query, weighted; stop words only when there are no others.

        Parameters
        ----------
        text
            The query.
        present
            Places in `TOLD_APART` of the languages that texts of the collection are in.
        """
        with self._lock:
            found = list(dict.fromkeys(tokens(cleaned(text))))[:_MOST_WORDS]
            if self.language == AUTO:
                spoken = self._lexicon(detect(found, text, least=1) or "english")
                lexica = [self._lexicon(TOLD_APART[code]) for code in sorted({0, *present})]
                if spoken.language not in {each.language for each in lexica}:
                    spoken = lexica[0]
            else:
                spoken = self._lexicon(self.language)
                lexica = [spoken]
            words: list[Word] = []
            stop_words: list[Word] = []
            for token in found:
                parsed = spoken.parsed(token)
                for word in parsed.pairs or (*parsed.words, *parsed.others):
                    if word in spoken.stop_words:
                        stop_words.append({term: 1.0 for each in lexica for term in each.stop_forms(word)})
                    else:
                        words.append(_shared(lexica, word))
        return words or stop_words

    def _language(self, words: frozenset[str], text: str) -> str:
        return self.language if self.language != AUTO else detect(words, text) or "english"

    def _lexicon(self, language: str) -> Lexicon:
        lexicon = self._lexica.get(language)
        if lexicon is None:
            lexicon = self._lexica[language] = Lexicon(language)
        return lexicon


def _shared(lexica: Sequence[Lexicon], word: str) -> Word:
    """Return the terms of a word; its spellings in one language share its weight."""
    found: Word = {}
    for lexicon in lexica:
        forms = lexicon.forms(word)
        for term in forms:
            found[term] = max(found.get(term, 0.0), 1 / len(forms))
    return found


def merged(words: Sequence[Word]) -> Word:
    """Return the terms of all words of a query, each with its greatest weight."""
    found: Word = {}
    for word in words:
        for term, weight in word.items():
            found[term] = max(found.get(term, 0.0), weight)
    return found
