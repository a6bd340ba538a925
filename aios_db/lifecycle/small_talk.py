# ruff: noqa: E501, SIM905 - a list of words is one text
"""Sentences that greet, thank or praise, and say nothing that is worth keeping."""

from __future__ import annotations

import re

from aios_db.lifecycle.salience import EVERY_STOP_WORD, negates, numbers

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
