"""Letters that the normal form has merged and a language's stemmer tells apart.

What the stemmers of https://snowballstem.org take off hangs on these letters. They are told again for the
stemmer, and merged again in what it returns.
"""

from __future__ import annotations

import re

_BACK, _FRONT = re.compile("[aou]"), re.compile("[eöü]")
_MERGED = str.maketrans({"\u0131": "i", "\u0629": "\u0647"})


def as_stemmed(word: str, language: str) -> str:
    """Return a folded word as the stemmer of a language wants it.

    A Turkish suffix has ı or i by the vowels before it, so a word of back vowels was written with ı
    (``kizlar`` was ``kızlar``).
    """
    if language == "turkish" and "i" in word and _BACK.search(word) and not _FRONT.search(word):
        return word.replace("i", "\u0131")
    return word


def as_folded(stem: str) -> str:
    """Return what a stemmer made of `as_stemmed`, in the letters of the normal form."""
    return stem.translate(_MERGED)
