"""How many of something there are, in words: ``1 memory``, ``2 memories``."""

from __future__ import annotations


def amount(count: int, noun: str) -> str:
    """Say how many of what ``noun`` names, in the singular, there are.

    >>> amount(1, "memory"), amount(2, "memory"), amount(0, "link")
    ('1 memory', '2 memories', '0 links')
    """
    return f"{count} {noun if count == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """Return the plural of an English noun that forms it by rule.

    >>> plural("query"), plural("key"), plural("index"), plural("text")
    ('queries', 'keys', 'indexes', 'texts')
    """
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "z", "ch", "sh")) else f"{noun}s"
