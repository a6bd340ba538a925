# ruff: noqa: E501, SIM905 - a list of words is one text
"""Sentences that greet, thank, praise, ask or react, and say nothing that is worth keeping."""

from __future__ import annotations

import re

from aios_db.lifecycle.salience import EVERY_STOP_WORD, names, negates, numbers

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_OPENS = frozenset(
    "hi hey hello thanks thank thx wow awesome great cool yeah yes yep ok okay sure bye congrats congratulations nice "
    "absolutely totally exactly definitely glad haha lol oh aww good sounds sorry welcome cheers take see "
    "hallo danke tschüss super toll genau klar gerne bonjour salut merci bravo hola gracias adiós vale genial".split()
)
"""Words that a greeting, thanks or praise begins with, in English, German, French and Spanish."""
_EMPTY = frozenset(
    "awesome great cool nice amazing wonderful lovely sweet kind good best luck day night morning evening afternoon "
    "care see soon later talk chat bye thanks thank appreciate much hear happy glad fun totally really sounds love look "
    "know keep welcome friend time back sure know way that's it's you're i'm what's let's congrats congratulations wow "
    "yeah guys everyone well proud support cheers always again agree idea "
    "danke tag morgen abend bis bald freut schön merci beaucoup jour bientôt gracias día bien luego pronto".split()
)
"""Words of which it consists."""
_SIGNS = ("你好", "谢谢", "再见", "早上好", "晚安", "太好了")
_MOST_WORDS = 14
_MOST_ELSE = 1  # of other words: a name that is addressed


def is_small_talk(sentence: str) -> bool:
    """Tell whether a sentence greets, thanks or praises, and has at most one word besides."""
    words = [each.casefold().replace("’", "'") for each in _WORD.findall(sentence)]
    if not words or len(words) > _MOST_WORDS or numbers(sentence) or negates(sentence):
        return False
    if sentence.startswith(_SIGNS) and len(sentence) <= 2 * max(map(len, _SIGNS)):
        return True
    if words[0] not in _OPENS:
        return False
    return len({*words} - _OPENS - _EMPTY - EVERY_STOP_WORD) <= _MOST_ELSE


_ADDRESSED = re.compile(
    r"(?:(?<=, )|(?<=^)(?!(?i:wow|whoa|woah|thanks|thank|cool|great|nice|awesome)\b)|(?<=\b[Hh]ey )|(?<=\b[Hh]i )|(?<=\b[Ww]ow )|(?<=\b[Ww]hoa )|(?<=\b[Tt]hanks )|(?<=\b[Yy]eah )|(?<=\b[Yy]es )|(?<=\b[Oo]h ))[A-Z][\w-]+(?=\s*(?:[,!.?…–—]| - |$))"
)
"""A name that is called, set off by commas or behind a greeting."""
_REACTS = frozenset(
    "that this it you your yours so such what how way looks sounds can't couldn't must love keep hope glad these those".split()
)
"""Words that speak of what was said or of who is spoken to, and begin what is said of it."""
_TELLS = frozenset(
    "i my mine me we our us he she they his her their him them everyone nobody today yesterday tomorrow".split()
)
"""Words of which a sentence tells something of its own."""
_INTERJECTION = re.compile(
    r"^(?:(?:wow|whoa|woah|oh|aww?|haha+|yeah|yes|yep|ok|okay|sure|hey|hi|hello|thanks?|cool|great|nice|awesome|well|man|totally|absolutely|definitely|exactly|and|but|so)\b[\s,!.–—-]*)+",
    re.IGNORECASE,
)
_PRAISES = frozenset(
    "awesome great cool nice amazing wonderful lovely sweet kind good best fun glad happy proud fantastic incredible "
    "beautiful inspiring impressive brilliant superb terrific".split()
)
_EXCLAIMS = re.compile(r"\b(?:wow|whoa|woah|aww?|haha+|thanks?|cool|great|nice|awesome)\b", re.IGNORECASE)
_QUESTION = re.compile(r"[?？][\"'”’)]*\s*$")


def tells_something(sentence: str) -> bool:
    """Tell whether a sentence tells a fact: it neither asks, nor greets, thanks or praises, nor reacts to one.

    A reaction speaks of what was said before ("that sounds like fun") or of who said it ("you did an awesome
    job"), with praise or an interjection, and names nobody and no number but whom it addresses.
    """
    said = _ADDRESSED.sub("", sentence.replace("’", "'"))
    if _QUESTION.search(sentence) or is_small_talk(sentence) or is_small_talk(said):
        return False
    rest = _INTERJECTION.sub("", said.lstrip(" ,"))
    words = [each.casefold() for each in _WORD.findall(rest)]
    if not words:
        return not _WORD.search(said)
    heads = {each.split("'")[0] for each in words}
    reacts = words[0] in _REACTS or words[0].split("'")[0] in _REACTS
    praises = _EXCLAIMS.search(said[: len(said) - len(rest)]) is not None or not _PRAISES.isdisjoint(words)
    return not (
        reacts and praises and heads.isdisjoint(_TELLS) and not numbers(rest) and not names(f"x {rest}")
    )
