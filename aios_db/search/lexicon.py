"""From tokens to terms in one language: stemming, stop words, and the spellings without diacritics.

A term is the 64-bit hash of a stem, so that a dictionary of terms is a sorted array that can be mapped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import Stemmer

from aios_db.search.languages import BY_SCRIPT, script_of
from aios_db.search.normal_form import cleaned, folded, spelled_out, without_diacritics
from aios_db.search.ranking import digest64
from aios_db.search.spelling import as_folded, as_stemmed
from aios_db.search.stop_words import STOP_WORDS
from aios_db.search.words import LONGEST, Token, parse, tokens

Terms = tuple[int, ...]
_CACHE_SIZE = 1 << 17
_WITH_STEMMER = frozenset(Stemmer.algorithms())
_SCRIPT_OF = {language: script for script, language in BY_SCRIPT.items()} | {"persian": "Arabic"}
_OTHER_SCRIPTS: frozenset[str] = frozenset().union(
    *(STOP_WORDS.get(language, frozenset()) for language in BY_SCRIPT.values())
)


class Remembered(dict[str, Terms]):
    """Terms by chunk, made when first asked for; a chunk known from earlier texts costs one look-up."""

    def __init__(self, make: Callable[[str], Terms]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, chunk: str) -> Terms:
        terms = self._make(chunk)
        self.keep(chunk, terms)
        return terms

    def keep(self, chunk: str, terms: Terms) -> None:
        """Remember the terms of a chunk, unless it is so long that it will hardly come again."""
        if len(self) >= _CACHE_SIZE:
            self.clear()
        if len(chunk) <= LONGEST:
            self[chunk] = terms


class Lexicon:
    """The words of a language; those in another script are of the language that `BY_SCRIPT` names for it.

    Attributes
    ----------
    words
        Terms of a chunk, what stands between spaces, that make up a text's length, as often as they occur.
    others
        Terms of a chunk beside them, that a text has once: stop words, and other spellings.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self.stop_words = _stop_words(language)
        by_script = {**BY_SCRIPT, "Latin": "english"}
        by_script[_SCRIPT_OF.get(language, "Latin")] = language
        self._stemmers = {
            script: Stemmer.Stemmer(each) for script, each in by_script.items() if each in _WITH_STEMMER
        }
        self.words = Remembered(self._words)
        self.others = Remembered(lambda chunk: self._learn(chunk)[1])

    def forms(self, word: str) -> Terms:
        """Return a word's own term and those of its spellings without diacritics."""
        word = word.replace("'", "")[:LONGEST]
        stem = self._stem(word)
        if word.isascii():
            return (digest64(stem),)
        bare = without_diacritics(word)
        found = {without_diacritics(stem), self._stem(bare)}
        if word.endswith("\u0647"):
            found.add(self._stem(word[:-1] + "\u0629"))
        if (spelled := spelled_out(word)) != word:
            found.add(self._stem(without_diacritics(spelled)))
        found.discard(stem)
        return (digest64(stem), *map(digest64, sorted(found)))

    def stop_forms(self, word: str) -> Terms:
        """Return the terms of a stop word, by which it is found when a query has nothing else.

        Those of a contraction are its own: who looks for "ill" does not want "I'll".
        """
        return (digest64(word),) if "'" in word and not word.endswith("n't") else self.forms(word)

    def parsed(self, token: str) -> Token:
        """Return `parse` of a token, a contraction that is a stop word as one word."""
        if "'" in token and (whole := folded(token)) in self.stop_words:
            return Token((whole,))
        return parse(token)

    def _words(self, chunk: str) -> Terms:
        words, others = self._learn(chunk)
        self.others.keep(chunk, others)
        return words

    def _learn(self, chunk: str) -> tuple[Terms, Terms]:
        words: list[int] = []
        others: dict[int, None] = {}
        for parsed in map(self.parsed, tokens(cleaned(chunk))):
            if parsed.pairs:
                words.extend(map(digest64, parsed.words))
                continue
            for word in parsed.words:
                if word in self.stop_words:
                    others.update(dict.fromkeys(self.stop_forms(word)))
                else:
                    own, *spellings = self.forms(word)
                    words.append(own)
                    others.update(dict.fromkeys(spellings))
            for word in parsed.others:
                others.update(dict.fromkeys(self.forms(word)))
        return tuple(words), tuple(others)

    def _stem(self, word: str) -> str:
        stemmer = self._stemmers.get(script_of(word))
        return as_folded(stemmer.stemWord(as_stemmed(word, self.language))) if stemmer else word


@cache
def _stop_words(language: str) -> frozenset[str]:
    return frozenset(map(folded, STOP_WORDS.get(language, frozenset()) | _OTHER_SCRIPTS))
