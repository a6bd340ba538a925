"""Numbers, times, dates and days of the week in a text, whatever they are written as."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from aios_db.lifecycle.grounding.vocabulary import MONTHS, NUMBERS, RELATIVES, UNITS, WEEKDAYS

TOKEN = re.compile(
    r"[€$£¥%]|(?<![\w.,])[-−]?\.?\d+(?:[.,:/\-]\d+)*|\d+(?:[.,:/\-]\d+)*|"
    r"[\u3040-\u30ff\u4e00-\u9fff]*[\u3040-\u30ff][\u3040-\u30ff\u4e00-\u9fff]*|[\u4e00-\u9fff]|"
    r"(?:(?![\u4e00-\u9fff])[^\W\d_])+(?:['’-](?:(?![\u4e00-\u9fff])[^\W\d_])+)*"
)
"""A word, a number or a Chinese sign; what is written with kana is one."""
HAN = re.compile(r"[\u4e00-\u9fff]+")
_MONTH = "|".join(sorted(MONTHS, key=len, reverse=True))
_DATES = (
    re.compile(r"\b(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)\b"),
    re.compile(r"\b(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})\b"),
    re.compile(r"(?:(?P<y>\d{4})年)?(?<!\d)(?P<m>\d{1,2})月(?:(?P<d>\d{1,2})[日号])?"),
    re.compile(
        rf"\b(?:(?P<d>\d{{1,2}})(?:st|nd|rd|th|er|\.)?(?: of| de)? )?(?P<month>{_MONTH})\b\.?"
        r"(?: (?P<after>\d{1,2})(?:st|nd|rd|th)?\b(?!:))?(?:,? (?:de |del )?(?P<y>\d{4})\b)?",
        re.IGNORECASE,
    ),
    re.compile(r"\b(?P<y>(?:19|20)\d\d)\b"),
)
_TIME = re.compile(
    r"\b(?P<h>\d{1,2})(?:(?::|h|\.(?=\d\d ?(?:am|pm|uhr)))(?P<min>\d\d))?\s?"
    r"(?P<half>am|pm|a\.m\.|p\.m\.|uhr|o'clock|heures)\b"
    r"|\b(?P<h2>\d{1,2})(?::|h)(?P<min2>\d\d)\b|(?P<h3>\d{1,2})点",
    re.IGNORECASE,
)
_HAN_NUMBER = re.compile(
    f"({'|'.join(each for each in sorted(NUMBERS, key=len, reverse=True) if HAN.match(each))})"
    f"({'|'.join(each for each in UNITS if HAN.match(each))})"
)


@dataclass(frozen=True)
class Value:
    """A number, a time, a date or a day of the week."""

    kind: str
    form: tuple[object, ...]
    """What it is, whatever it was written as; None is not said."""

    def stands_in(self, other: Value) -> bool:
        """Tell whether another value says as much: all that this one says, and the same."""
        if self.kind == "number" == other.kind and other.form[1] is None and self.form[1] == "year":
            return self.form[0] == other.form[0]  # somebody turns seven
        if self.kind == "time" == other.kind:
            (mine, half), (others, other_half) = self.form, other.form
            return mine == others if half and other_half else int(mine) % 720 == int(others) % 720  # type: ignore[call-overload]
        return self.kind == other.kind and all(
            a is None or a == b for a, b in zip(self.form, other.form, strict=True)
        )


def bare(word: str) -> str:
    """Return a word in lower case, without an owner's ending."""
    return word.casefold().replace("’", "'").removesuffix("'s").removesuffix("'")


def values_of(text: str, said: date | None) -> tuple[str, set[Value]]:
    """Return a text without its values, and these."""
    found: set[Value] = set()
    for rule in _DATES:
        for match in rule.finditer(text):
            parts = match.groupdict()
            month = parts.get("m") or MONTHS.get((parts.get("month") or "").casefold())
            day = parts.get("d") or parts.get("after")
            if (
                parts.get("month", "").casefold() in ("may", "mar", "mars")
                and not day
                and not parts.get("month", "")[0].isupper()
            ):
                continue
            year = parts.get("y") or (said.year if said else None)
            form = tuple(None if each is None else int(each) for each in (year, month, day))
            found.add(Value("date", form))
        text = rule.sub(lambda match: match[0] if match[0] in ("may", "mar", "mars") else " ", text)
    for match in _TIME.finditer(text):
        hour = int(match["h"] or match["h2"] or match["h3"])
        half = (match["half"] or "").replace(".", "").casefold()
        hour = hour % 12 + 12 * (half == "pm") if half in ("am", "pm") else hour
        found.add(
            Value(
                "time",
                (hour * 60 + int(match["min"] or match["min2"] or 0), half in ("am", "pm") or hour > 12),
            )
        )
    text = _TIME.sub(" ", text)
    for match in _HAN_NUMBER.finditer(text):
        found.add(Value("number", (float(NUMBERS[match[1]]), UNITS[match[2]])))
    text = _HAN_NUMBER.sub(" ", text)
    kept = []
    tokens = [*TOKEN.finditer(text)]
    for place, match in enumerate(tokens):
        word = bare(match[0])
        if word in WEEKDAYS:
            found.add(Value("weekday", (WEEKDAYS[word],)))
        elif any(map(str.isdecimal, word)) or word in NUMBERS:
            number = float(NUMBERS[word]) if word in NUMBERS else _number(word)
            found.add(Value("number", (number, _unit(tokens, place))))
        elif (
            word in UNITS
            and place
            and (tokens[place - 1][0][-1].isdecimal() or bare(tokens[place - 1][0]) in NUMBERS)
        ):
            continue
        else:
            kept.append(match[0])
    found |= _days_of(text, said)
    return " ".join(kept), found


def _unit(tokens: list[re.Match[str]], place: int) -> str | None:
    behind = tokens[place].string[tokens[place].end() :].lstrip(" -")
    if HAN.match(behind):
        return next(
            (unit for word, unit in UNITS.items() if HAN.match(word) and behind.startswith(word)), None
        )
    before = tokens[place - 1][0] if place else ""
    word = TOKEN.match(behind)
    return UNITS.get(word[0].casefold() if word else "") or UNITS.get(before if before in "€$£¥" else "")


def _number(word: str) -> float:
    plain = re.sub(r"(?<=\d)[.,](?=\d{3}(?:\D|$))", "", word).replace(",", ".").replace("−", "-")
    try:
        return float(plain)
    except ValueError:
        return float(int("".join(each for each in word if each.isdecimal())))


def days_around(day: date, first: int, last: int) -> Iterator[date]:
    """Yield the days from so many behind a day to so many, as far as there are such."""
    for each in range(first, last + 1):
        if date.min.toordinal() <= day.toordinal() + each <= date.max.toordinal():
            yield day + timedelta(days=each)


def _days_of(text: str, said: date | None) -> set[Value]:
    """Return the dates that words like "yesterday" mean."""
    if said is None:
        return set()
    words = {each.casefold() for each in re.findall(r"[\w']+", text)} | {
        each for each in RELATIVES if not each.isascii() and each in text
    }
    spans = [RELATIVES[each] for each in words if each in RELATIVES]
    if any(each in WEEKDAYS for each in words):
        spans.append((-7, 7))
    days = [day for first, last in spans for day in days_around(said, first, last)]
    near = [day for first, last in spans if last - first < 2 for day in days_around(said, first, last)]
    return {Value("date", (day.year, day.month, day.day)) for day in days} | {
        Value("weekday", (day.weekday(),)) for day in near
    }
