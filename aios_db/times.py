"""One reader of times, for `remember` and the importers.

ISO 8601, mail dates, dates in words, years, serials of spreadsheets, seconds.

A number is read by its size: a year (1000 to 2999), a day of a spreadsheet (20,000 to 80,000, counted from
1899-12-30), ``20230520`` and ``20230520101112`` as dates, and otherwise seconds, milli-, micro- or
nanoseconds since 1970. Of a date such as ``03/04/2023`` the caller may know which number is the day; without
that, dates with slashes begin with the month and those with dots or hyphens with the day. No zone means UTC,
unless the caller knows another one.
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from types import MappingProxyType
from zoneinfo import ZoneInfo

_LONGEST = 80
_UNITS = ((1e11, 1), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))
_SMALLEST_SECONDS = 1e6
_DAY = timedelta(days=1)
_EXCEL_EPOCH = datetime(1899, 12, 30)

_MONTHS = MappingProxyType(
    {
        name: number
        for number, names in enumerate(
            (
                "jan january", "feb february", "mar march", "apr april", "may", "jun june", "jul july",
                "aug august", "sep sept september", "oct october", "nov november", "dec december",
            ),
            start=1,
        )
        for name in names.split()
    }
)  # fmt: skip
# Hours from UTC of the names that mean one zone only.
_ZONES = MappingProxyType(
    {
        "z": 0, "utc": 0, "gmt": 0, "ut": 0, "wet": 0, "west": 1, "bst": 1, "cet": 1, "mez": 1, "cest": 2,
        "mesz": 2, "eet": 2, "eest": 3, "msk": 3, "jst": 9, "kst": 9, "aest": 10, "aedt": 11, "nzst": 12,
        "nzdt": 13, "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7,
    }
)  # fmt: skip

_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_WEEKDAY = re.compile(
    r"\b(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?\b\.?,?", re.IGNORECASE
)
_CLOCK = re.compile(
    r"(?<![\d:.])(?P<hour>\d{1,2})(?::(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,:](?P<part>\d{1,12}))?)?)?"
    r"(?P<half>\s*[ap]\.?\s?m\b\.?)?(?![\d:])",
    re.IGNORECASE,
)
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:[T _-]?(\d\d)(\d\d)(\d\d)?)?")
_OFFSET = re.compile(r"(?:(?:UTC|GMT)\s*)?([+-])(\d{1,2})(?::?(\d\d))?(?::\d\d)?$", re.IGNORECASE)
_HALF_BEFORE = re.compile(r"(?:(오전|上午|午前)|(오후|下午|午後))\s*(\d{1,2}:\d{2}(?::\d{2})?)")
_REGION = re.compile(r"\[?\b([A-Z][A-Za-z_]+/[A-Za-z_/+-]+\d*|(?<=\[)(?:UTC|GMT))\]?$")
_YEAR_FIRST = re.compile(r"(\d{4})(?:[-/.]\s?|年\s?)(\d{1,2})(?:(?:[-/.]\s?|月\s?)(\d{1,2})日?|月)?\.?$")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])\s?(\d{1,2})\2\s?(\d{4}|\d{2})$")
_DAY_MONTH = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?\.?[\s-]+(?:of\s+)?([A-Za-z]+)\.?[\s-]+'?(\d{4}|\d{2})$")
_MONTH_DAY = re.compile(r"([A-Za-z]+)\.?[\s-]+(\d{1,2})(?:st|nd|rd|th)?\.?[\s-]+'?(\d{4})$")
_MONTH_YEAR = re.compile(r"([A-Za-z]+)\.?[\s-]+(\d{4})$")
_FILE_DATE = re.compile(rb"(?<![\d./-])(\d{1,2})([/.-])(\d{1,2})\2(?:\d{4}|\d{2})(?![\d/])")


def parse_time(value: object, *, day_first: bool | None = None, zone: tzinfo = timezone.utc) -> datetime:
    """Return the time in UTC that a value names.

    Parameters
    ----------
    value
        Text, a number, a date or a datetime.
    day_first
        Whether ``03/04/2023`` is the third of April; None when nothing is known about it.
    zone
        That of a time that names none.

    Raises
    ------
    ValueError
        When it is no time, or one outside of the years 1 to 9999.
    """
    found: datetime | None = None
    try:
        if isinstance(value, datetime):
            found = value
        elif isinstance(value, date):
            found = datetime.combine(value, time())
        elif isinstance(value, str):
            found = _from_text(value, day_first)
        elif isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            found = _from_number(value)
        if found is not None:
            return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(timezone.utc)
    except (ValueError, OverflowError, OSError):
        pass
    shown = repr(value)
    raise ValueError(f"is not a time: {shown if len(shown) <= _LONGEST else shown[:_LONGEST] + '…'}")


def day_comes_first(content: bytes) -> bool | None:
    """Return what the dates of a file say about the order of day and month; None when nothing tells."""
    first = second = 0
    for match in _FILE_DATE.finditer(content):
        one, two = int(match[1]), int(match[3])
        first += 12 < one <= 31 and two <= 12
        second += 12 < two <= 31 and one <= 12
    return None if first == second else first > second


def _from_number(value: float | Decimal) -> datetime | None:
    number = float(value)
    if not math.isfinite(number):
        return None
    if number == int(number) and (found := _from_digits(str(int(number)))):
        return found
    size = abs(number)
    if 20_000 <= number <= 80_000:
        return _EXCEL_EPOCH + timedelta(seconds=round(number * 86_400))
    if size < _SMALLEST_SECONDS:
        return None
    for limit, unit in _UNITS:
        if size < limit:
            exact = timedelta(microseconds=int(Decimal(str(value)) * 1_000_000 / Decimal(unit)))
            return datetime(1970, 1, 1, tzinfo=timezone.utc) + exact
    return None


def _from_digits(digits: str) -> datetime | None:
    """Return the time that 4 digits (a year), 8 (a date), 12 or 14 (with a clock) write out."""
    if len(digits) == 4:
        return datetime(int(digits), 1, 1) if 1000 <= int(digits) < 3000 else None
    if len(digits) not in {8, 12, 14} or not 1900 <= int(digits[:4]) <= 2100:
        return None
    parts = [int(digits[at : at + 2]) for at in range(4, len(digits), 2)]
    try:
        return datetime(int(digits[:4]), *parts)  # type: ignore[arg-type]
    except ValueError:
        return None


def _from_text(text: str, day_first: bool | None) -> datetime | None:
    if len(text) > _LONGEST:
        return None
    text = " ".join(_INVISIBLE.sub("", text).split())
    try:
        return _from_number(Decimal(text.replace("_", "x")))
    except ArithmeticError:
        pass
    text = _HALF_BEFORE.sub(lambda match: f"{match[3]} {'am' if match[1] else 'pm'}", text)
    text = " ".join(_WEEKDAY.sub(" ", re.sub(r"\([^()]*\)", " ", text)).split()).strip(" ,")
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    text, zone = _without_zone(text)
    if compact := _COMPACT.fullmatch(text):
        found = _from_digits("".join(filter(None, compact.groups())))
        return found.replace(tzinfo=zone) if found else None
    text, clock = _without_clock(text)
    day = _date(text, day_first)
    return None if day is None else datetime.combine(day, time(), zone) + clock


def _without_zone(text: str) -> tuple[str, timezone | ZoneInfo | None]:
    region: timezone | ZoneInfo | None = None
    unknown = False
    if match := _REGION.search(text):
        text = text[: match.start()].rstrip(" [")
        try:
            region = ZoneInfo(match[1])
        except (OSError, ValueError, KeyError):
            unknown = True
    word = re.search(r"(?<=[\d\s])([A-Za-z]{1,4})$", text)
    hours = _ZONES.get(word[1].lower()) if word else None
    if word and hours is not None:
        text = text[: word.start()].rstrip()
        region = region or timezone(timedelta(hours=hours))
    # A hyphen and two digits end a date, too; an offset follows a clock.
    if (":" in text or "T" in text) and (match := _OFFSET.search(text)) and match.start():
        shift = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
        if shift < timedelta(hours=24):
            return text[: match.start()].rstrip(), timezone(-shift if match[1] == "-" else shift)
    if unknown and region is None:
        raise ValueError("a zone there is not")
    return text, region


def _without_clock(text: str) -> tuple[str, timedelta]:
    """Return what is left of a text and the time since midnight: up to 24:00, and with a leap second."""
    for match in _CLOCK.finditer(text.replace("T", " ")):
        if match["minute"] is None and match["half"] is None:
            continue
        hour, second = int(match["hour"]), int(match["second"] or 0)
        half = (match["half"] or "").strip().lower()
        if half:
            if not 1 <= hour <= 12:
                raise ValueError("not an hour of half a day")
            hour = hour % 12 + (12 if half.startswith("p") else 0)
        minute, part = int(match["minute"] or 0), int((match["part"] or "").ljust(6, "0")[:6])
        since = timedelta(hours=hour, minutes=minute, seconds=second, microseconds=part)
        # A leap second ends an hour of UTC; zones are off by quarters of one.
        if minute > 59 or second > 60 or (second == 60 and minute % 15 != 14) or (hour > 23 and since > _DAY):
            raise ValueError("not a time of day")
        rest = f"{text[: match.start()]} {text[match.end() :]}".replace("T ", " ")
        rest = re.sub(r"\b(?:at|on|um)\b|,", " ", rest, flags=re.IGNORECASE)
        return " ".join(rest.split()).strip(" -–"), since
    return " ".join(text.replace(",", " ").split()), timedelta()


def _date(text: str, day_first: bool | None) -> date | None:
    if match := _YEAR_FIRST.match(text):
        return date(int(match[1]), int(match[2]), int(match[3] or 1))
    if match := _YEAR_LAST.match(text):
        one, two = int(match[1]), int(match[3])
        if day_first is None:
            day_first = match[2] != "/"
        if (one > 12) != (two > 12):
            day_first = one > 12
        day, month = (one, two) if day_first else (two, one)
        return date(_full_year(match[4]), month, day)
    if match := _DAY_MONTH.match(text):
        return _in_words(match[3], match[2], match[1])
    if match := _MONTH_DAY.match(text):
        return _in_words(match[3], match[1], match[2])
    if match := _MONTH_YEAR.match(text):
        return _in_words(match[2], match[1], "1")
    return None


def _in_words(year: str, month: str, day: str) -> date | None:
    number = _MONTHS.get(month.lower())
    return None if number is None else date(_full_year(year), number, int(day))


def _full_year(year: str) -> int:
    number = int(year)
    return number if len(year) == 4 else number + (2000 if number < 70 else 1900)
