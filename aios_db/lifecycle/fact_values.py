# ruff: noqa: E501, SIM905 - a rule is one line
"""Values of facts: what days, times, amounts and rooms look like, and whether two values may be one."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from unicodedata import combining, normalize

from aios_db.lifecycle.grounding.values import values_of
from aios_db.lifecycle.places import may_be_in

DAY = re.compile(
    r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b|\b(?:tomorrow|weekend)\b|\b\d{4}-\d\d-\d\d\b|"
    r"\b(?:\d{1,2}(?:st|nd|rd|th)?(?: of)? )?(?:january|february|march|april|may|june|july|august|september|october|"
    r"november|december)\b(?: \d{1,2}(?:st|nd|rd|th)?)?",
    re.IGNORECASE,
)
TIME = re.compile(
    r"\b\d{1,2}(?::\d\d)?\s?(?:am|pm|a\.m\.|p\.m\.|o'clock)|\b\d{1,2}:\d\d\b|\b(?:noon|midnight)\b",
    re.IGNORECASE,
)
ROOM = re.compile(
    r"\b(?:room|office|hall|building|floor|gate|platform|desk|garage)\s+(?=\w*\d|[A-Z]\b)[\w-]+|"
    r"\b(?:ground|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|top|\d+(?:st|nd|rd|th)) floor\b",
    re.IGNORECASE,
)
HOURS = re.compile(r"\b(?:mornings?|afternoons?|evenings?|nights?)\b", re.IGNORECASE)
_EACH = r"(?:(?:\b(?:per|an?|each|every)\s|/\s?)(?:second|minute|hour|day|night|week|fortnight|month|quarter|year|dozen|piece|person|head)\b)"
_RATE = re.compile(
    rf"{_EACH[:-1]}|\b(?:hourly|daily|nightly|weekly|monthly|quarterly|yearly|annually))", re.IGNORECASE
)
_TIMES = r"(?:\s?(?:thousand|million|billion|k|m|bn)\b)?"
AMOUNT = re.compile(
    rf"(?:[$€£¥]\s?\d[\d.,]*{_TIMES}|\b\d[\d.,]*{_TIMES}\s?(?:dollars|euros|pounds|percent|%|usd|eur|gbp))(?:\s?{_EACH})?",
    re.IGNORECASE,
)


def says_as_much(one: str, other: str) -> bool:
    """Tell whether of two values one has all words of the other."""
    mine, others = set(one.replace("-", " ").split()), set(other.replace("-", " ").split())
    return mine <= others or others <= mine


def differs(one: str, other: str) -> bool:
    """Tell whether two values are of the same kinds, units and times ("per hour"), and not the same."""
    if may_be_one_name(one, other) or may_be_in(one, other):
        return False
    rates = [set(_RATE.findall(each)) for each in (one, other)]
    if all(rates) and rates[0] != rates[1]:
        return False
    mine, others = (values_of(each, None)[1] for each in (one, other))
    kinds = [
        {(each.kind, each.form[1] if each.kind == "number" else None) for each in some}
        for some in (mine, others)
    ]
    if kinds[0] != kinds[1]:
        return False
    return not mine or not all(any(a.stands_in(b) or b.stands_in(a) for b in others) for a in mine)


def may_be_one_name(one: str, other: str) -> bool:
    """Tell whether two values may be spellings of one: "2.1" and "2.1.0", initials, "Munich" and "München"."""
    shorter, longer = sorted((_with_ordinals(one), _with_ordinals(other)), key=len)
    return _is_cut_from(shorter, longer) or _has_initials(shorter, longer) or _is_accented(one, other)


_VERSION = re.compile(r"v?\d+(?:\.\d+)*")
_IN_DIGITS = re.compile(r"\+?[\d ()/.-]{6,}")
_ORDINALS = dict(zip("first second third".split(), ("1st", "2nd", "3rd"), strict=True)) | {
    each: f"{number}th"
    for number, each in enumerate("fourth fifth sixth seventh eighth ninth tenth".split(), 4)
}
_LEAST_BEGINNING = 4  # letters of a name by which a longer one may begin and be the same
_LONGEST_SHORT = 4  # letters of an abbreviated word
_ONE_SPELLING = 0.7  # of two names of which one has accents, what they share


def _with_ordinals(value: str) -> str:
    return " ".join(_ORDINALS.get(each, each) for each in value.split())


def _is_cut_from(shorter: str, longer: str) -> bool:
    """Tell whether a version, a number or a name is the beginning or end of a longer one, as is left out at will."""
    if _IN_DIGITS.fullmatch(shorter) and _IN_DIGITS.fullmatch(longer):
        return re.sub(r"\D", "", longer).endswith(re.sub(r"\D", "", shorter))
    if _VERSION.fullmatch(shorter):
        return re.fullmatch(rf"{re.escape(shorter)}(?:\.0)+", longer) is not None
    return shorter.isalpha() and len(shorter) >= _LEAST_BEGINNING and longer.startswith(shorter)


def _has_initials(shorter: str, longer: str) -> bool:
    """Tell whether words of one value are the first letters or an abbreviation of the other's."""
    some, words = (re.split(r"[ -]", each) for each in (shorter, longer))
    if len(words) > 1 and shorter.replace(".", "") == "".join(word[:1] for word in words):
        return True
    if len(words) == len(some) and all(map(_may_be_short_for, some, words)):
        return True
    left = iter(words)
    return bool({*words} & {*some}) and all(any(each in (word, word[:1]) for word in left) for each in some)


def _may_be_short_for(one: str, other: str) -> bool:
    """Tell whether a word may be another one, abbreviated: "St" and "Saint"."""
    short, long = sorted((one.rstrip("."), other.rstrip(".")), key=len)
    left = iter(long)
    return one == other or (
        short.isalpha()
        and len(short) <= min(_LONGEST_SHORT, len(long) - 1)
        and short[:1] == long[:1]
        and short[-1] == long[-1]
        and all(each in left for each in short)
    )


def _is_accented(one: str, other: str) -> bool:
    plain = [_without_accents(each) for each in (one, other)]
    if one.isascii() == other.isascii() or plain[0][:1] != plain[1][:1]:
        return False
    return SequenceMatcher(None, plain[0], plain[1], autojunk=False).ratio() >= _ONE_SPELLING


def _without_accents(text: str) -> str:
    return "".join(each for each in normalize("NFD", text) if not combining(each))
