"""What a summary must keep of a text, and must not invent: names, numbers, dates, negations."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aios_db.search.phrases import STOP_WORDS

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
_PREFIX = 4  # letters by which another form of a word is known


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, each as it stands there."""
    found: list[str] = []
    start = 0
    for end in _END.finditer(text):
        piece = text[start : end.start()]
        if "\n" not in end[0] and _ABBREVIATED.search(piece):
            continue
        closing = "" if "\n" in end[0] else end[0].rstrip()
        if piece.strip():
            found.append(piece.strip() + closing)
        start = end.end()
    if text[start:].strip():
        found.append(text[start:].strip())
    return found


def numbers(text: str) -> set[str]:
    """Return the numbers, times and dates in digits that a text holds."""
    return set(_NUMBER.findall(text))


def names(text: str) -> set[str]:
    """Return the words in a text that are capitalised where no sentence begins, in lower case."""
    return {
        word.casefold()
        for sentence in sentences(text)
        for place, word in enumerate(_WORD.findall(sentence))
        if place and word[0].isupper() and word.casefold() not in STOP_WORDS
    } - {"i"}


def negates(text: str) -> bool:
    """Tell whether a text denies something."""
    return _NEGATION.search(text) is not None


def salient(text: str) -> set[str]:
    """Return what a reader would miss of a text: its names and numbers, and that it denies something."""
    return {*numbers(text), *names(text), *(["¬"] if negates(text) else [])}


def invented(text: str, sources: Sequence[str]) -> list[str]:
    """Return the numbers and names of a text that no source has.

    A word that begins a sentence may be a name or not: it counts where the sources have no form of it.
    """
    joined = "\n".join(sources)
    said = {word.casefold() for word in _WORD.findall(joined)}
    forms = {word[:_PREFIX] for word in said}
    openers = {words[0].casefold() for each in sentences(text) if (words := _WORD.findall(each))}
    found = numbers(text) - numbers(joined)
    found |= {each for each in names(text) - said if each.removesuffix("'s").removesuffix("’s") not in said}
    found |= {each for each in openers - STOP_WORDS if each[:_PREFIX] not in forms}
    return sorted(found)
