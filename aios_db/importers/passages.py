"""Cutting a text into passages of bounded length, at the best place there is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

# A passage of this many characters is about what a text encoder of 256 tokens reads at once.
PASSAGE_CHARACTERS = 1000

# Where a passage may end, the best first: paragraphs, lines, sentences, words.
_BREAKS = (
    re.compile(r"\n[^\S\n]*\n\s*"),
    re.compile(r"\n\s*"),
    re.compile(r"[.!?…][\"'”’»)\]]*\s+|[。！？．][”’」』）]*\s*|[।॥؟۔]\s*"),
    re.compile(r"\s+|[、，；,;]|(?<=[-–—/])"),
)
_BLANK_LINES = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+\n|\n[^\S\n]+\n")
_JOINER = "\u200d"
_LEAST = 0.25  # of the limit: no crumbs where a lesser break gives a decent piece


def cut(text: str, limit: int = PASSAGE_CHARACTERS) -> Iterator[tuple[int, str]]:
    """Yield the passages of a text with where they start; nothing but blanks is left out between them.

    Parameters
    ----------
    text
        Any text.
    limit
        The most characters of a passage. A character that consists of several code points is not cut, unless
        it is longer than that by itself.
    """
    start = _past_blanks(text, 0)
    while start < len(text):
        end = _end(text, start, limit)
        passage = text[start:end].rstrip()
        if passage:
            yield start, _BLANK_LINES.sub("\n\n", passage)
        start = _past_blanks(text, end)


def _past_blanks(text: str, position: int) -> int:
    """Return where the next words begin, with the indentation of their line."""
    found = re.compile(r"\s*").match(text, position)
    end = found.end() if found else position
    line = text.rfind("\n", position, end) + 1
    return max(line, position) if line or position == 0 else end


def _end(text: str, start: int, limit: int) -> int:
    if len(text) - start <= limit:
        return len(text)
    window = text[start : start + limit + 1]
    crumbs = 0
    for pattern in _BREAKS:
        best = 0
        for match in pattern.finditer(window):
            words_end = match.start() + len(match[0].rstrip())
            if words_end <= limit:
                best = max(best, words_end)
        if best >= limit * _LEAST:
            return start + best
        crumbs = max(crumbs, best)
    end = limit
    while end > max(1.0, limit * _LEAST) and _joined(window[end - 1], window[end]):
        end -= 1
    if _joined(window[end - 1], window[end]):
        end = limit
    return start + (end if end > crumbs else crumbs)


def _joined(before: str, after: str) -> bool:
    """Return whether two code points are parts of one character (a plain form of Unicode's rules)."""
    if _JOINER in (before, after) or unicodedata.category(after) in {"Mn", "Mc", "Me"}:
        return True
    skin = "\U0001f3fb" <= after <= "\U0001f3ff"
    flags = "\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= after <= "\U0001f1ff"
    jamo = "\u1100" <= before <= "\u11ff" and "\u1160" <= after <= "\u11ff"
    return skin or flags or jamo or (before == "\r" and after == "\n")
