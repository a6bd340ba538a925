"""Which language a text is in, by its most frequent words and its letters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from types import MappingProxyType

import regex

from aios_db.search.stop_words import LETTERS, STOP_WORDS

# Scripts whose words have a stemmer. A word's script chooses it, whatever the rest of the text is, unless the
# text is in a language of `TOLD_APART` with the same script: Persian.
BY_SCRIPT = MappingProxyType(
    {
        "Cyrillic": "russian",
        "Greek": "greek",
        "Arabic": "arabic",
        "Devanagari": "hindi",
        "Armenian": "armenian",
        "Tamil": "tamil",
        "Hebrew": "hebrew",  # has no stemmer
    }
)
_OTHER_SCRIPTS = frozenset(BY_SCRIPT.values())
TOLD_APART = tuple(language for language in STOP_WORDS if language not in _OTHER_SCRIPTS)
"""The languages that are told apart by their words, English first; a language's code is its place."""

_ENGLISH = STOP_WORDS["english"]
_SPEAKS_FOR: dict[str, tuple[str, ...]] = {
    word: tuple(language for language in TOLD_APART if word in STOP_WORDS[language])
    for word in frozenset().union(*(STOP_WORDS[language] for language in TOLD_APART))
}
_WORDS = frozenset(_SPEAKS_FOR)
_LETTER = re.compile(f"[{''.join(LETTERS)}]")
_SCRIPT = regex.compile("|".join(rf"(?P<{script}>\p{{{script}}})" for script in BY_SCRIPT))
_LEAST = 2  # words or letters that speak for a language other than English
_MOST_LETTERS = 2000  # of a text that are looked at


def script_of(word: str) -> str:
    """Return the script of a word, ``Latin`` for every one that `BY_SCRIPT` does not name."""
    if word.isascii():
        return "Latin"
    found = _SCRIPT.search(word)
    return str(found.lastgroup) if found else "Latin"


def detect(words: Collection[str], text: str, least: int = _LEAST) -> str | None:
    """Return the language of a text, None when nothing speaks for one.

    Parameters
    ----------
    words
        The distinct words of the text; those in lower case are looked at.
    text
        The text itself, whose letters speak, too.
    least
        Words and letters it takes for a language other than English.
    """
    distinct = words if isinstance(words, frozenset) else frozenset(words)
    frequent = distinct & _WORDS
    english = len(frequent & _ENGLISH)
    if english * 5 >= len(distinct) and english * 3 >= 2 * len(frequent):
        return "english" if english else None
    frequent = frozenset(map(str.lower, distinct)) & _WORDS
    votes = Counter(language for word in frequent for language in _SPEAKS_FOR[word])
    letters = frozenset(_LETTER.findall(text[:_MOST_LETTERS].lower()))
    votes.update(language for letter in letters for language in LETTERS[letter])
    english = votes.pop("english", 0)
    if votes:
        best = max(TOLD_APART[1:], key=votes.__getitem__)  # the first of equals
        if votes[best] >= least and votes[best] > english:
            return best
    return "english" if english else None
