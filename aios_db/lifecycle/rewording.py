"""A sentence that says that something changed, and the older one that it is about, whatever the words.

What `facts` has no rule for can still be told where the newer sentence speaks of a change ("now", "changed
to", "new"), both are about the same words, and all that they name is the same but for one value of one kind:
a day, a time, an amount, a number, a room or a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from aios_db.lifecycle.facts import AMOUNT, DAY, HEDGED, ROOM, TIME
from aios_db.lifecycle.salience import sentences
from aios_db.search.phrases import STOP_WORDS

_CHANGES = re.compile(
    r"\b(?:now|(?<!\ba )(?<!\bA )(?<!nother )new|changed?|changes|moved|switched|replaced|"
    r"updated|rescheduled|postponed|"
    r"instead|no longer|"
    r"from now on|as of|anymore|took over|takes over|went up|went down|raised|lowered|corrected|renamed)\b",
    re.IGNORECASE,
)
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
        "fyi",
        "good",
    ]
)
_NUMBER = re.compile(r"\b[\w.-]*\d[\w.:/-]*\b")
_NAME = re.compile(r"(?<![.!?] )(?<!^)\b[A-Z][\w’'-]+(?: [A-Z][\w’'-]+)*")
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
        ):
            return None
        other = [kind for kind, _ in _KINDS if self.values[kind] != older.values[kind]]
        if len(other) != 1:
            return None
        was, now = (
            older.values[other[0]] - self.values[other[0]],
            self.values[other[0]] - older.values[other[0]],
        )
        return (min(was), min(now)) if len(was) == 1 == len(now) else None


def wording_of(text: str) -> Wording | None:
    """Return the wording of a text of one sentence that states something; None of others."""
    said = sentences(text)
    if len(said) != 1 or len(text.split()) > _MOST_WORDS or said[0].endswith("?") or HEDGED.search(said[0]):
        return None
    rest, values = said[0], {}
    for kind, rule in _KINDS:
        values[kind] = frozenset(" ".join(each[0].casefold().split()) for each in rule.finditer(rest))
        rest = rule.sub(" ", rest)
    words = {_stem(each) for each in _WORD.findall(rest.casefold()) if each not in STOP_WORDS}
    return Wording(frozenset(words - _SAID_OF_CHANGE), values, _CHANGES.search(said[0]) is not None)


def _stem(word: str) -> str:
    word = word.removesuffix("'s").replace("colour", "color").replace("favour", "favor")
    return word[:-1] if word.endswith("s") and len(word) > 3 else word
