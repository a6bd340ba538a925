"""Clauses of a text: what each is about, the names and values in it, and whether it denies."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from aios_db.lifecycle.grounding.vocabulary import (
    AGREEING_DENIALS,
    DATED,
    DENIALS,
    DENYING_SIGNS,
    GIVING,
    HEDGES,
    MONTHS,
    NUMBERS,
    RECEIVING,
    RELATIVES,
    SPEAKING,
    STOPS,
    TURNING,
    UNITS,
    WEEKDAYS,
)
from aios_db.lifecycle.salience import names, sentences

_PREFIX = 5  # letters by which another form of a word is known
_CUT = re.compile(
    r"\s*(?:[;—–()]|[:,](?=\s)|，|、|；|\s-\s|\b(?:and|but|while|whereas|which|because|though|und|aber|während|weil|et|mais|"
    r"tandis que|parce que|y|pero|mientras|porque)\b)\s*",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"[€$£¥%]|\d+(?:[.,:/\-]\d+)*|[^\W\d_]+(?:['’-][^\W\d_]+)*")
_HAN = re.compile(r"[\u4e00-\u9fff]+")
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
_OWNS = re.compile(
    r"\b(?:(?P<owner>[^\W\d_]+)(?:['’]s|(?<=\w)s)|"
    r"(?P<mine>my|our|meine?[nrms]?|unsere?[nrms]?|mon|ma|mes|notre|mis?|nuestr[oa])|"
    r"(?P<theirs>his|her|their|its|seine?[nrms]?|ihre?[nrms]?|son|sa|ses|sus?)) (?P<thing>[^\W\d_]+)"
    r"|\b(?P<possessed>[^\W\d_]+) (?:of|de|von) (?P<of>[^\W\d_]+)",
    re.IGNORECASE,
)
_HAN_NUMBER = re.compile(
    f"({'|'.join(each for each in sorted(NUMBERS, key=len, reverse=True) if _HAN.match(each))})"
    f"({'|'.join(each for each in UNITS if _HAN.match(each))})"
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


@dataclass(frozen=True)
class Clause:
    """A part of a sentence."""

    words: frozenset[str]
    """Beginnings of the words that say what it is about."""
    names: tuple[str, ...]
    """In their order, in lower case; the speaker's in the place of "I"."""
    meant: frozenset[str]
    """Names, those of the sentence before it, and the speaker's."""
    values: frozenset[Value]
    denies: bool
    hedges: bool
    turns: frozenset[str]
    """Words that turn round who does what."""
    receives: bool | None = None
    """Whether it is said from the side of who gets something; None of neither side."""
    owned: frozenset[tuple[str, str]] = field(default=frozenset())
    """Whose is what: a name, empty for "her" and the like, and the beginning of a word."""
    by: frozenset[str] = field(default=frozenset())
    """The speaker, in lower case."""


def clauses(
    text: str, known: Collection[str], speaker: str | None = None, said: date | None = None
) -> list[Clause]:
    """Return the clauses of a text.

    Parameters
    ----------
    known
        Names in lower case, which are names where they begin a sentence, too.
    speaker
        Who says it, and means herself by "I".
    said
        When, for dates of which a part is left out, and for "yesterday".
    """
    found = []
    by = frozenset([speaker.casefold()]) if speaker else frozenset()
    for sentence in sentences(text):
        before: frozenset[str] = by
        for part in _CUT.split(sentence):
            if part and part.strip():
                each = _clause(part, known, before, by, said, opens=sentence.startswith(part[:1]))
                before = each.meant
                found.append(each)
    return found


def names_of(text: str) -> set[str]:
    """Return the names in a text, in lower case, without what is a day, a month or a unit."""
    return {_bare(each) for each in names(text)} - DATED


def _bare(word: str) -> str:
    return word.casefold().replace("’", "'").removesuffix("'s").removesuffix("'")


def _stem(word: str) -> str:
    return re.split("['’]", word.casefold(), maxsplit=1)[0]


def _clause(
    part: str,
    known: Collection[str],
    before: frozenset[str],
    by: frozenset[str],
    said: date | None,
    *,
    opens: bool,
) -> Clause:
    rest, values = _values(part, said)
    tokens = _TOKEN.findall(rest)
    lower = [_bare(each) for each in tokens]
    named = tuple(
        next(iter(by)) if by and _stem(each) in SPEAKING else word
        for each, word in zip(tokens, lower, strict=True)
        if word in known or (by and _stem(each) in SPEAKING)
    )
    signs = _HAN.findall(rest)
    named += tuple(sorted((each for each in known if _HAN.match(each) and each in rest), key=rest.index))
    words = {
        word[:_PREFIX]
        for word in lower
        if word not in known
        and word not in STOPS
        and word not in DENIALS | AGREEING_DENIALS
        and not _HAN.match(word)
    }
    words |= {run[at : at + 2] for run in signs for at in range(len(run) - 1)}
    own = {*lower, *re.findall(r"[^\W\d_]+", rest.casefold())}
    spoken = by if own & SPEAKING or any(sign in rest for sign in ("我",)) else frozenset()
    meant = frozenset(named) | spoken
    lowered = part.casefold()
    return Clause(
        frozenset(words),
        named,
        meant or before,
        frozenset(values),
        denies=_denies(rest, lower),
        hedges=any(
            re.search(rf"(?<!\w){re.escape(each)}", lowered) if each.isascii() else each in lowered
            for each in HEDGES
        ),
        turns=frozenset(own & TURNING),
        receives=_side(own),
        owned=frozenset(_owned(part, known, by)),
        by=by,
    )


def _owned(text: str, known: Collection[str], by: Collection[str]) -> Iterator[tuple[str, str]]:
    for match in _OWNS.finditer(text):
        owner, mine, theirs, of = (_bare(match[name] or "") for name in ("owner", "mine", "theirs", "of"))
        thing = _bare(match["thing"] or match["possessed"])[:_PREFIX]
        if (name := owner or of) in known:
            yield name, thing
        elif mine and by:
            yield next(iter(by)), thing
        elif theirs or mine:
            yield "", thing


def _denies(text: str, words: Sequence[str]) -> bool:
    count = sum(word in DENIALS or word.endswith("n't") for word in words)
    agreeing = [word for word in words if word in AGREEING_DENIALS - DENIALS]
    signs = any(each in text for each in DENYING_SIGNS)
    return bool(agreeing) or signs or count % 2 == 1


def _side(words: Collection[str]) -> bool | None:
    if any(word.startswith(RECEIVING) for word in words):
        return True
    return False if any(word.startswith(GIVING) for word in words) else None


def _values(text: str, said: date | None) -> tuple[str, set[Value]]:
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
    tokens = [*_TOKEN.finditer(text)]
    for place, match in enumerate(tokens):
        word = _bare(match[0])
        if word in WEEKDAYS:
            found.add(Value("weekday", (WEEKDAYS[word],)))
        elif word[0].isdecimal() or word in NUMBERS:
            number = float(NUMBERS[word]) if word in NUMBERS else _number(word)
            found.add(Value("number", (number, _unit(tokens, place))))
        elif (
            word in UNITS
            and place
            and (tokens[place - 1][0][0].isdecimal() or _bare(tokens[place - 1][0]) in NUMBERS)
        ):
            continue
        else:
            kept.append(match[0])
    found |= _days_of(text, said)
    return " ".join(kept), found


def _unit(tokens: list[re.Match[str]], place: int) -> str | None:
    behind = tokens[place + 1][0].casefold() if place + 1 < len(tokens) else ""
    before = tokens[place - 1][0] if place else ""
    if _HAN.match(behind):
        return next(
            (unit for word, unit in UNITS.items() if _HAN.match(word) and behind.startswith(word)), None
        )
    return UNITS.get(behind) or (UNITS[before] if before in ("€", "$", "£", "¥") else None)


def _number(word: str) -> float:
    plain = re.sub(r"[.,](?=\d{3}(?:\D|$))", "", word).replace(",", ".")
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
    return {
        Value("date", (day.year, day.month, day.day))
        for first, last in spans
        for day in days_around(said, first, last)
    }
