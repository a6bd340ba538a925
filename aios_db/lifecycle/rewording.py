"""A sentence that says that something changed, and the older one that it is about, whatever the words.

What `facts` has no rule for can still be told where the newer sentence speaks of a change ("now", "changed
to", "new"), both are about the same words, and all that they name is the same but for one value of one kind:
a day, a time, an amount, a number, a room or a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from aios_db.lifecycle.facts import AMOUNT, CHANGES, DAY, HEDGED, ROOM, TIME, differs, is_english
from aios_db.lifecycle.salience import sentences
from aios_db.search.phrases import STOP_WORDS

_SAID_OF_CHANGE = frozenset(
    [
        "now",
        "new",
        "change",
        "changed",
        "changes",
        "moved",
        "switched",
        "replaced",
        "updated",
        "rescheduled",
        "postponed",
        "instead",
        "longer",
        "update",
        "heads",
        "note",
        "news",
        "anymore",
        "went",
        "raised",
        "lowered",
        "corrected",
        "renamed",
        "took",
        "takes",
        "over",
        "current",
        "currently",
        "still",
        "always",
        "just",
        "actually",
        "today",
        "week",
        "month",
        "please",
        "remember",
        "correction",
        "reminder",
        "starting",
        "fyi",
        "good",
    ]
)
_NUMBER = re.compile(r"\b[\w.-]*\d[\w.:/-]*\b")
_NAME = re.compile(r"(?<![.!?] )(?<!^)\b[A-Z][\w’'-]+(?: [A-Z][\w’'-]+)*|^[A-Z][\w’'-]+(?: [A-Z][\w’'-]+)+")
_OPENING = re.compile(r"^[A-Z][a-z ]{0,24}:\s+")
_WORD = re.compile(r"[a-z][a-z'-]+")
_KINDS = (
    ("day", DAY),
    ("time", TIME),
    ("amount", AMOUNT),
    ("room", ROOM),
    ("number", _NUMBER),
    ("name", _NAME),
)
_MOST_WORDS = 24
_LEAST_COMMON = 0.5


@dataclass(frozen=True)
class Wording:
    """What a short text is about, and the values that it names."""

    about: frozenset[str]
    first: str
    """Of these words, the first."""
    values: dict[str, frozenset[str]]
    """By their kind."""
    changes: bool

    def changed(self, older: Wording) -> tuple[str, str] | None:
        """Return the older and the newer value, where this says that just one changed."""
        common = self.about & older.about
        if (
            not self.changes
            or len(common) < _LEAST_COMMON * max(min(len(self.about), len(older.about)), 1)
            or not common
            or self.first not in older.about
        ):
            return None
        other = [kind for kind, _ in _KINDS if self.values[kind] != older.values[kind]]
        if len(other) != 1:
            return None
        was, now = (
            older.values[other[0]] - self.values[other[0]],
            self.values[other[0]] - older.values[other[0]],
        )
        return (min(was), min(now)) if len(was) == 1 == len(now) and differs(min(now), min(was)) else None


def wording_of(text: str) -> Wording | None:
    """Return the wording of a text of one sentence that states something; None of others."""
    said = sentences(text)
    if (
        len(said) != 1
        or not is_english(text)
        or len(text.split()) > _MOST_WORDS
        or said[0].endswith("?")
        or HEDGED.search(said[0])
    ):
        return None
    rest, values = _OPENING.sub("", said[0]), {}
    for kind, rule in _KINDS:
        values[kind] = frozenset(" ".join(each[0].casefold().split()) for each in rule.finditer(rest))
        rest = rule.sub(" ", rest)
    words = [_stem(each) for each in _WORD.findall(rest.casefold()) if each not in STOP_WORDS]
    about = [each for each in words if each not in _SAID_OF_CHANGE]
    return Wording(frozenset(about), (about or [""])[0], values, CHANGES.search(said[0]) is not None)


def _stem(word: str) -> str:
    word = word.removesuffix("'s").replace("colour", "color").replace("favour", "favor")
    return word[:-1] if word.endswith("s") and len(word) > 3 else word
