"""What two memories can share besides their subject: names, numbers, dates, and titles that are mentioned.

All of it is found by its shape, without a model, so that links can be made while a memory is written.
"""

from __future__ import annotations

import re

from aios_db.search.analyzer import STOP_WORDS

_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"(?<=[.!?:\n])\s+")
_NAME_WORD = r"[A-Z][\w'\u2019-]*"
_NAME = re.compile(rf"\b{_NAME_WORD}(?:\s+(?:(?:of|the|de|la|von|van|and)\s+){{0,2}}{_NAME_WORD})*")
_NUMBER = re.compile(r"\b\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b|\b\d+(?:[.,]\d+)+\b|\b\d{3,}\b")
_CAPITAL = re.compile(r"[A-Z]")
_PARENTHESIS = re.compile(r"\s*\([^)]*\)\s*$")
_MOST_WORDS = 8
_LONGEST_TEXT = 20_000  # names further on add links of ever less meaning


def normalized(text: str) -> str:
    """Return the words of ``text`` in lower case with single spaces."""
    return " ".join(_WORD.findall(text.lower()))


def phrases(text: str) -> list[str]:
    """Return the distinct names, numbers and dates of a text, normalised, in order of appearance.

    A single capitalised word that opens a sentence is taken for a name only when it is no common word.
    """
    found: dict[str, None] = {}
    text = text[:_LONGEST_TEXT]
    if not _CAPITAL.search(text) and not _NUMBER.search(text):
        return []
    for sentence in _SENTENCE.split(text):
        for match in _NAME.finditer(sentence):
            phrase = normalized(match[0])
            opens = match.start() == 0 and " " not in phrase
            if len(phrase) > 2 and phrase not in STOP_WORDS and not (opens and len(phrase) < 4):
                found[phrase] = None
        for match in _NUMBER.finditer(sentence):
            found[match[0]] = None
    return list(found)


def title_keys(title: str) -> list[str]:
    """Return the forms under which a title is mentioned: itself, and without a parenthesis at its end."""
    keys = {normalized(title): None, normalized(_PARENTHESIS.sub("", title)): None}
    return [key for key in keys if _can_be_mentioned(key)]


def possible_mentions(text: str) -> list[str]:
    """Return every run of up to 8 words that begins with a capital letter or a digit, normalised.

    A title mentioned in the text is among them.
    """
    words = _WORD.findall(text[:_LONGEST_TEXT])
    lower = [word.lower() for word in words]
    found: dict[str, None] = {}
    for start, word in enumerate(words):
        if not (word[0].isupper() or word[0].isdigit() or not word[0].isascii()):
            continue
        for stop in range(start + 1, min(start + _MOST_WORDS, len(words)) + 1):
            key = " ".join(lower[start:stop])
            if _can_be_mentioned(key):
                found[key] = None
    return list(found)


def mentions(text: str, title: str) -> bool:
    """Tell whether ``text`` mentions ``title`` by one of its keys."""
    keys = set(title_keys(title))
    return bool(keys) and not keys.isdisjoint(possible_mentions(text))


def _can_be_mentioned(key: str) -> bool:
    return " " in key or (len(key) > 3 and key not in STOP_WORDS)
