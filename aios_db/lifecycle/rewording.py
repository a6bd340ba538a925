# ruff: noqa: E501, SIM905 - a rule is one line, a list of words one text
"""A sentence that says that something changed, and the older one that it is about, whatever the words.

What `facts` has no rule for can still be told where the newer sentence speaks of a change ("now", "changed
to"), one is about no more words than the other, and all that they name is the same but for one value of one
kind: a day, a time, an amount, a number, a room or a name. So can what is said to be so no longer, in the
same words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from aios_db.lifecycle.change_words import CHANGES, MOVES, NEW, ONCE, REPLACES
from aios_db.lifecycle.fact_values import AMOUNT, DAY, HOURS, ROOM, TIME, differs, says_as_much
from aios_db.lifecycle.facts import OF_ONE_VALUE
from aios_db.lifecycle.grounding.vocabulary import NUMBERS, UNITS
from aios_db.lifecycle.statements import Statement, Told
from aios_db.search.phrases import STOP_WORDS

_SAYS_LITTLE = frozenset(
    "update heads note news new current currently still always just today week month please remember reminder starting "
    "fyi good back place takes cost set price fee time hour day date amount".split()
)
_UNIT = "|".join(
    sorted((re.escape(each) for each in UNITS if each.isascii() and each.isalpha()), key=len, reverse=True)
)
_COUNTS = "|".join(each for each in NUMBERS if each.isascii())
_NUMBER = re.compile(
    rf"\b(?:{_COUNTS})\b|\b[\w.-]*\d[\w.:/-]*\b(?:\s(?:{_UNIT})\b)?|(?-i:(?<=[a-z] )[B-HJ-Z]\b|(?<=[a-z] )A(?= [a-z]+s?\b)(?= (?:is|was|has|now)))",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<!^)\b[A-Z][\w’'-]+(?:\.? [A-Z][\w’'-]+)*|^[A-Z][\w’'-]+(?: [A-Z][\w’'-]+)+")
_WORD = re.compile(r"[a-z][a-z'-]+")
_PERSON = re.compile(r"\b(?:(I|i|my|me|we|our|us|My|We|Our)|(he|she|his|her|their|He|She|His|Her|Their))\b")
_KINDS = (
    ("day", DAY),
    ("time", TIME),
    ("hours", HOURS),
    ("amount", AMOUNT),
    ("room", ROOM),
    ("number", _NUMBER),
    ("name", _NAME),
)
_PLACED = re.compile(
    r"(?:\b(?P<word>is|are|at|in|on|by|with|to|from|into|under|near|of|called|named|as)"
    r"(?: (?:now|currently|the|an?|my|our|his|her|their))*|[:,])\s*$"
)
"""What stands before a name that is a value; others are done something to, of which there may be more."""
_BEGINS = re.compile(r" (?:is (?:now )?(?:the|our|my)|took over as|takes over as)\b")
_IS = re.compile(r"\b(?:is|are|am)\b")
_LEAST_STEM = 5
_FROM = re.compile(r" from (?P<old>\S[^,;]*?)(?= to )")
_MOST_WORDS = 24
_LEAST_SHARE = 0.9  # of what was said
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
    is_over: bool
    """Whether it says that something is so no longer."""
    happened: bool
    """Whether it tells what happened once."""
    persons: frozenset[str]
    """``first`` and ``third``, as pronouns say."""
    old: str | None
    """What the value was, where that is said."""
    relations: dict[str, str]
    """By name, the word that says how it stands to the rest; empty where there may be more such names."""
    moves: bool
    """Whether a value is said to take the place of another: what is so now may be so besides."""
    is_state: bool
    """Whether it says what is, and not what somebody does."""
    is_whole: bool
    """Whether nothing is said besides."""

    @property
    def named(self) -> frozenset[str]:
        """What it is about, and the names in it."""
        return self.about | self.values["name"]

    def changed(self, older: Wording) -> tuple[str, str] | None:
        """Return the older and the newer value, where this says that just one changed.

        The newer one is empty where it says that the older is so no longer.
        """
        if (
            not self.changes
            or older.happened
            or older.is_over
            or not older.is_whole
            or not self._is_about(older)
        ):
            return None
        other = [kind for kind, _ in _KINDS if self.values[kind] != older.values[kind]]
        if self.is_over:
            is_same = not other and self.about == older.about
            return (" ".join(sorted(older.about)), "") if is_same else None
        if len(other) != 1:
            return None
        was, now = (
            older.values[other[0]] - self.values[other[0]],
            self.values[other[0]] - older.values[other[0]],
        )
        if (
            len(was) != 1
            or len(now) != 1
            or (other == ["name"] and not self._relates(min(now), older, min(was)))
        ):
            return None
        if self.old is not None and not says_as_much(self.old, min(was)):
            return None
        return (min(was), min(now)) if differs(min(now), min(was)) else None

    def _relates(self, name: str, older: Wording, other: str) -> bool:
        """Tell whether a name stands where another stood in an older one, and there is but one such."""
        mine, others = self.relations[name], older.relations[other]
        if not mine or not others or not (self.moves or (self.is_state and older.is_state)):
            return False
        return mine == others or (self.moves and mine == "to")

    def _is_about(self, older: Wording) -> bool:
        """Tell whether this speaks of what an older one does, and of the same person's."""
        mine, others = self.named, older.named
        common = mine & others
        return (
            bool(common)
            and self.about <= older.about
            and len(common) >= _LEAST_COMMON * min(len(mine), len(others))
            and self.first in others
            and ("third" in self.persons) == ("third" in older.persons)
        )


def wordings_of(told: Told) -> list[Wording]:
    """Return the wording of a text's only sentence, or those of the ones that say that something changed.

    There is none of a sentence that states nothing, nor of a long text.
    """
    if len(told.said.split()) > _MOST_WORDS:
        return []
    return [
        _wording(each, told, is_whole=not place and each.share >= _LEAST_SHARE)
        for sentence in told.sentences
        for place, each in enumerate(sentence)
        if (each.changes or (len(told.sentences) == 1 and not place)) and not each.is_hedged
    ]


def _wording(statement: Statement, told: Told, *, is_whole: bool) -> Wording:
    said = told.said if statement is told.sentences[0][0] else statement.text
    small = said.lower()
    is_renewed = "new" in small and _is_renewed(said)
    rest, values = statement.text, {}
    old = _FROM.search(rest)
    rest = _FROM.sub("", rest)
    relations: dict[str, str] = {}
    for kind, rule in _KINDS:
        if kind == "name":
            relations = {
                _folded(each[0]): _relation(rest[: each.start()], rest[each.end() :])
                for each in rule.finditer(rest)
            }
        values[kind] = frozenset(_folded(each[0]) for each in rule.finditer(rest))
        rest = rule.sub(" ", rest)
    happened = ONCE.search(rest) is not None
    rest = CHANGES.sub(" ", rest.lower())
    words = [_stem(each) for each in _WORD.findall(rest) if each not in STOP_WORDS]
    about = [each for each in words if each not in _SAYS_LITTLE]
    return Wording(
        frozenset(about),
        (about or sorted(values["name"]) or [""])[0],
        values,
        changes=statement.is_over or is_renewed or REPLACES.search(small) is not None,
        is_over=statement.is_over,
        happened=happened,
        persons=frozenset("third" if each[2] else "first" for each in _PERSON.finditer(statement.text)),
        old=_folded(old["old"]) if old else None,
        relations=relations,
        moves=is_renewed or MOVES.search(small) is not None,
        is_state=_IS.search(statement.text) is not None,
        is_whole=is_whole,
    )


def _relation(before: str, behind: str) -> str:
    """Return the word that says how a name stands to a sentence; empty where something is done to it."""
    if not before.strip():
        return "is" if _BEGINS.match(behind) else ""
    found = _PLACED.search(before)
    word = (found["word"] or "is") if found else ""
    return "is" if word in ("are", "called", "named", "as") else word


def _is_renewed(text: str) -> bool:
    """Tell whether a text says that what has one value is new, or begins so: "New timetable: …"."""
    found = NEW.search(text)
    if not found:
        return False
    behind = text[found.end() :]
    words = re.findall(r"^(?: [\w'-]+){1,3}", behind)
    return bool(re.match(r" [\w ]{1,24}:", behind)) or any(
        OF_ONE_VALUE.search(" ".join(each.split()[:count])) for each in words for count in (1, 2, 3)
    )


def _folded(value: str) -> str:
    return " ".join(value.casefold().split())


def _stem(word: str) -> str:
    word = word.removesuffix("'").removesuffix("'s").replace("colour", "color").replace("favour", "favor")
    word = word[:-1] if word.endswith("s") and len(word) > 3 else word
    return (word.removesuffix("ing") if len(word) > _LEAST_STEM else word).removesuffix("e")
