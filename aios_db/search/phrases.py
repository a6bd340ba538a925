"""What two memories can share besides their subject: names, numbers, dates, and titles that are mentioned.

All of it is found by its shape, without a model, so that links can be made while a memory is written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

import regex

from aios_db.search.normal_form import folded
from aios_db.search.stop_words import STOP_WORDS as _STOP_WORDS

STOP_WORDS = _STOP_WORDS["english"]

_WORD = re.compile(r"\w+")
_MARKED_WORD = regex.compile(r"[\w\p{M}]+")
_MAY_HAVE_MARKS = re.compile("[\u0300-\u1fff\u2c00-\U0010ffff]")
_SENTENCE = re.compile(r"(?<=[.!?:\n])\s+")
_NAME_WORD = r"[A-ZÀ-ÖØ-Þ][\w'\u2019-]*"
_NAME = re.compile(rf"\b{_NAME_WORD}(?:\s+(?:(?:of|the|de|la|von|van|and)\s+){{0,2}}{_NAME_WORD})*")
_NUMBER = re.compile(r"\b\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b|\b\d+(?:[.,]\d+)+\b|\b\d{3,}\b")
_CAPITAL = re.compile(r"[A-ZÀ-ÖØ-Þ]")
_PARENTHESIS = re.compile(r"\s*\([^)]*\)\s*$")
_MOST_WORDS = 8
_LONGEST_TEXT = 20_000  # names further on add links of ever less meaning


def normalized(text: str) -> str:
    """Return the words of ``text`` in their normal form with single spaces."""
    return " ".join(_words(folded(text)))


def _words(text: str) -> list[str]:
    words: list[str] = _word(text).findall(text)
    return words


def _word(text: str) -> Any:
    """Return the pattern of a word for a text; `regex`, which knows marks, is the slower one."""
    return _MARKED_WORD if _MAY_HAVE_MARKS.search(text) else _WORD


def phrases(text: str) -> list[str]:
    """Return the distinct names, numbers and dates of a text, normalised, in order of appearance.

    A single capitalised word that opens a sentence is taken for a name only when it is no common word.
    """
    found: dict[str, None] = {}
    text = unicodedata.normalize("NFC", text[:_LONGEST_TEXT])
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


def title_name(title: str) -> str | None:
    """Return the name that passages of one title, and its homonyms, have in common; None if it is no name."""
    keys = title_keys(title)
    return keys[-1] if keys else None


def possible_mentions(text: str) -> list[str]:
    """Return every run of up to 8 words that begins with a capital letter or a digit, normalised.

    A title mentioned in the text is among them.
    """
    words = _words(unicodedata.normalize("NFC", text[:_LONGEST_TEXT]))
    lower = [folded(word) for word in words]
    found: dict[str, None] = {}
    for start, word in enumerate(words):
        if not _opens_a_name(word):
            continue
        for stop in range(start + 1, min(start + _MOST_WORDS, len(words)) + 1):
            key = " ".join(lower[start:stop])
            if _can_be_mentioned(key):
                found[key] = None
    return list(found)


def mention_shares(text: str, keys: Iterable[str]) -> dict[str, float]:
    """Return which of some `title_keys` a text mentions, and how sure each match is.

    That is its share of the words of the name around it: "United" is half of what "United States" says, and
    "Paris" all of "Paris".
    """
    wanted: dict[str, list[str]] = {}
    for key in keys:
        if _can_be_mentioned(key):
            wanted.setdefault(key.partition(" ")[0], []).append(key)
    text = unicodedata.normalize("NFC", text[:_LONGEST_TEXT])
    matches = list(_word(text).finditer(text))
    lower = [folded(match[0]) for match in matches]
    starts, stops = _names_around(text, matches, lower)
    shares: dict[str, float] = {}
    for start, first in enumerate(lower):
        if first not in wanted or not _opens_a_name(matches[start][0]):
            continue
        for key in wanted[first]:
            stop = start + key.count(" ") + 1
            if " ".join(lower[start:stop]) == key:
                share = (stop - start) / (max(stops[stop - 1], stop) - min(starts[start], start))
                shares[key] = max(shares.get(key, 0.0), share)
    return shares


def _names_around(text: str, found: list[re.Match[str]], lower: list[str]) -> tuple[list[int], list[int]]:
    """Return where the name that each word belongs to begins and ends: capitals with spaces between them."""
    count = len(found)
    starts, stops = list(range(count)), list(range(1, count + 1))
    in_name = [
        _opens_a_name(match[0]) and word not in STOP_WORDS for match, word in zip(found, lower, strict=True)
    ]
    for i in range(1, count):
        if in_name[i] and in_name[i - 1] and text[found[i - 1].end() : found[i].start()].isspace():
            starts[i] = starts[i - 1]
    for i in range(count - 2, -1, -1):
        if starts[i + 1] == starts[i]:
            stops[i] = stops[i + 1]
    return starts, stops


def _opens_a_name(word: str) -> bool:
    return word[0].isupper() or word[0].isdigit() or not word[0].isascii()


def _can_be_mentioned(key: str) -> bool:
    return " " in key or (len(key) > 3 and key not in STOP_WORDS)
