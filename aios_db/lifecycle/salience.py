# ruff: noqa: SIM905, E501 - a list of words is one text
"""What a summary must keep of a text, and must not invent: names, numbers, dates, negations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from aios_db.search.languages import detect
from aios_db.search.phrases import STOP_WORDS
from aios_db.search.stop_words import STOP_WORDS as _EVERY

_NUMBER = re.compile(r"\d+(?:[.,:/\-]\d+)*")
_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|nowhere|neither|nor|without|cannot)\b|n['’]t\b", re.IGNORECASE
)
# The end of a sentence: its marks and what closes a quotation, before a space and what begins one; or a line.
_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[^\W_a-z])|(?<=[。！？])|\s*\n\s*")
_ABBREVIATED = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|No|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)|\b[A-Z])\.$"
)
_OWNER = re.compile("['’]s?$")
_DAY = re.compile(r"\b\d{1,2}\.$")
_GERMAN_MONTH = re.compile(r"(?:Jan|Feb|Mär|Apr|Mai|Jun|Jul|Aug|Sep|Okt|Nov|Dez)")
_NO_NAME = ("ing", "ly", "tion", "ment", "ness", "ung", "heit", "keit")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_ARTICLES = frozenset(
    "der die das den dem des ein eine einen einem einer eines im am zum zur vom beim ins ans kein keine keinen keinem mein meine meinen meiner dein sein seine seinen seiner ihr ihre ihren ihrer unser unsere diese dieser dieses jede jeden jeder zwei drei vier fünf sechs sieben acht neun zehn elf zwölf".split()
)
EVERY_STOP_WORD = frozenset().union(*(_EVERY[each] for each in ("english", "german", "french", "spanish")))
_PREFIX = 4  # letters by which another form of a word is known


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, each as it stands there."""
    found: list[str] = []
    start = 0
    for end in _END.finditer(text):
        piece = text[start : end.start()]
        if "\n" not in end[0] and (_ABBREVIATED.search(piece) or _is_dated(piece, text[end.end() :])):
            continue
        closing = "" if "\n" in end[0] else end[0].rstrip()
        if piece.strip():
            found.append(piece.strip() + closing)
        start = end.end()
    if text[start:].strip():
        found.append(text[start:].strip())
    return found


def _is_dated(before: str, behind: str) -> bool:
    """Tell whether a full stop stands within a date, as in German: 3. März."""
    return _DAY.search(before) is not None and _GERMAN_MONTH.match(behind) is not None


def numbers(text: str) -> set[str]:
    """Return the numbers, times and dates in digits that a text holds."""
    return set(_NUMBER.findall(text))


def names(text: str) -> set[str]:
    """Return the words in a text that are capitalised where no sentence begins, in lower case.

    In German, where nouns are capitalised as well, those behind an article or an adjective are none.
    """
    german = detect({*_WORD.findall(text)}, text) == "german"
    stop_words = EVERY_STOP_WORD if german else STOP_WORDS
    found = set()
    for sentence in sentences(text):
        words = _WORD.findall(sentence)
        for before, word in pairwise(words):
            lower = word.casefold()
            if word[0].isupper() and lower not in stop_words and not (german and is_before_noun(before)):
                found.add(lower)
    return found - {"i"}


def is_before_noun(word: str) -> bool:
    """Tell whether what follows a German word has a capital for being a noun: an article, or an adjective."""
    return word.casefold() in _ARTICLES or (
        word[0].islower() and word.endswith(("e", "en", "er", "es", "em"))
    )


def negates(text: str) -> bool:
    """Tell whether a text denies something."""
    return _NEGATION.search(text) is not None


def salient(text: str) -> set[str]:
    """Return what a reader would miss of a text: its names and numbers, and that it denies something."""
    return {*numbers(text), *names(text), *(["¬"] if negates(text) else [])}


def invented(text: str, sources: Sequence[str]) -> list[str]:
    """Return the numbers and names of a text that no source has."""
    return sorted({*invented_names(text, sources), *(numbers(text) - numbers("\n".join(sources)))})


def invented_names(text: str, sources: Sequence[str]) -> set[str]:
    """Return the names of a text that no source has.

    A word that begins a sentence may be a name or not: it counts where the sources have no form of it, and
    it is no frequent word, nor of a form that names do not have.
    """
    said = {word.casefold() for word in _WORD.findall("\n".join(sources))}
    forms = {word[:_PREFIX] for word in said}
    openers = {
        words[0].casefold().removesuffix("'s").removesuffix("’s")
        for each in sentences(text)
        if (words := _WORD.findall(each))
    }
    found = {each for each in names(text) - said if not said & {_OWNER.sub("", each), each.removesuffix("s")}}
    return found | {
        each
        for each in openers - EVERY_STOP_WORD
        if each[:_PREFIX] not in forms and not each.endswith(_NO_NAME) and not _HAN.search(each)
    }
