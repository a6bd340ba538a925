"""Text files that are conversations: WhatsApp's exports, chat logs with times, and plain transcripts.

A message begins with a line such as ``20/05/2023, 22:15 - Ann: …``, ``[20.05.23, 22:15:01] Ann: …``,
``2023-05-20 22:15 <Ann> …`` or, all through the file, ``Ann: …``; lines without such a beginning belong to
the message above.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo
from itertools import pairwise

from aios_db.importers.base import Format, Record, Skipped, Source
from aios_db.importers.messengers import why_wordless, without_marks
from aios_db.importers.records import make_record
from aios_db.times import day_comes_first, parse_time

_SAMPLE_LINES = 200
_INVISIBLE = "\u200e\u200f\u202a\u202c\ufeff"
_CLOCK = (
    r"(?:오전|오후|上午|下午|午前|午後)?\s?\d{1,2}[:.]\d{2}(?:[:.]\d{2}(?:[.,]\d+)?)?"
    r"(?:\s?[APap]\.?\s?[Mm]\.?)?"
)
_START = re.compile(
    rf"[{_INVISIBLE}]*(?P<open>\[)?(?P<day>\d{{1,4}}[./-]\s?\d{{1,2}}[./-]\s?\d{{2,4}}\.?),?(?:\s+|T)"
    rf"(?:um |at )?(?P<clock>{_CLOCK}(?:\s?(?:Z|UTC|[+-]\d\d:?\d\d))?)(?(open)\])"
    rf"(?P<dash>\s+[-–—]\s|[:,]\s)?\s*"
    rf"[{_INVISIBLE}]*(?:<(?P<nick>[^<>\n]{{1,60}})>\s?|(?P<who>[^:\n<>\[\]]{{1,60}}):(?:\s|$))?(?P<text>.*)",
    re.DOTALL,
)
_SPEAKER = re.compile(r"(?P<who>[^\W\d_][\w .'’()-]{0,39}):\s+(?P<text>\S.*)", re.DOTALL)
_LEVEL = re.compile(
    r"\W*(?:trace|debug|info|notice|warn|warning|error|critical|fatal|severe)\b", re.IGNORECASE
)
_EVENT = re.compile(r"\b(?:changed the|changed this|created group|added|joined using|left$|was added)\b")
_ATTACHED = re.compile(r"(?:<attached: )?(?P<file>\S[^<>\n]*\.\w{2,5})(?: \([^()\n]*\)|>)(?:\n|$)")


@dataclass
class _Message:
    line: int
    day: str
    clock: str
    who: str | None
    text: str


def detect(source: Source) -> bool:
    """Return whether a text file is a log of messages, by its first lines."""
    if source.suffix not in {".txt", ".text", ".log"}:
        return False
    lines = [line for line in source.text.split("\n") if line.strip()][:_SAMPLE_LINES]
    return _is_log(lines) or _is_transcript(lines)


def read(source: Source) -> Iterator[Record]:
    """Yield one record a message; lines that nobody said, and media without words, are skipped."""
    lines = source.text.split("\n")
    messages = list(_messages(lines, timed=_is_log([line for line in lines if line.strip()][:_SAMPLE_LINES])))
    day_first, zone = _day_first(messages), source.options.zone
    for message in messages:
        location, progress = f"{source.name}:{message.line}", message.line / len(lines)
        text, media, wordless = _words(message.text)
        if message.who is None:
            yield Skipped(location, "an event, not a message", progress)
        elif wordless:
            yield Skipped(location, wordless, progress)
        else:
            record = {
                "text": text,
                "speaker": message.who,
                "session_id": source.name,
                "occurred_at": _time(message, day_first, zone),
                "kind": "message",
                "media_uri": media,
                "metadata": {"conversation": source.path.stem},
            }
            yield make_record(source, record, location, progress)


def _is_log(lines: list[str]) -> bool:
    found = [match for line in lines if (match := _START.match(line))]
    said = [match for match in found if match["nick"] or (match["who"] and not _LEVEL.match(match["who"]))]
    if not said or not _START.match(lines[0]):
        return False
    names = Counter(match["nick"] or match["who"] for match in said)
    # WhatsApp's comma between day and clock, brackets or a dash are a sign by themselves.
    sure = sum(bool(match["open"] or match["dash"] or match["nick"]) for match in said) >= 0.9 * len(said)
    return (sure and len(said) > 0.3 * len(found)) or (len(said) > 3 and len(names) <= len(said) / 2)


def _is_transcript(lines: list[str]) -> bool:
    names = Counter(match["who"] for line in lines if (match := _SPEAKER.match(line)))
    return (
        len(lines) >= 4
        and sum(names.values()) >= 0.9 * len(lines)
        and 2 <= len(names) <= 8
        and min(names.values()) > 1
        and not any(map(_LEVEL.match, names))
    )


def _messages(lines: list[str], *, timed: bool) -> Iterator[_Message]:
    current: _Message | None = None
    for number, raw in enumerate(lines, start=1):
        line = raw.rstrip("\r")
        match = (_START if timed else _SPEAKER).match(line)
        if match is None:
            if current is not None:
                current.text += "\n" + line
            elif line.strip():
                current = _Message(number, "", "", None, line)
            continue
        if current is not None:
            yield current
        who = match["who"] or (match["nick"] if timed else None)
        if who and _EVENT.search(who):
            who = None
        day, clock = (match["day"], match["clock"]) if timed else ("", "")
        current = _Message(number, day, clock, who and who.strip(_INVISIBLE + " ~"), match["text"])
    if current is not None:
        yield current


def _words(text: str) -> tuple[str, str | None, str | None]:
    """Return the words of a message, the name of the file that came with it, and why it has no words."""
    text = without_marks(text.strip(_INVISIBLE + " \n\t\r"))
    if match := _ATTACHED.match(text):
        words = text[match.end() :].strip()
        return words, match["file"], None if words else "no words, only media"
    return text, None, why_wordless(text) if text else "empty"


def _day_first(messages: list[_Message]) -> bool | None:
    """Return the order of day and month: by days over 12, else the one in which time does not run back."""
    told = day_comes_first("\n".join(message.day.rstrip(".") for message in messages).encode())
    if told is not None:
        return told
    backward = {}
    for order in (True, False):
        times = [time for message in messages if (time := _time(message, order))]
        backward[order] = sum(later < earlier for earlier, later in pairwise(times))
    if backward[True] != backward[False]:
        return backward[True] < backward[False]
    return not any(re.search("[AaPp]", message.clock) for message in messages)


def _time(message: _Message, day_first: bool | None, zone: tzinfo = timezone.utc) -> datetime | None:
    clock = message.clock
    if ":" not in clock:
        clock = re.sub(r"(?<=\d)\.(?=\d\d)", ":", clock, count=2)
    try:
        return parse_time(f"{message.day.rstrip('.')} {clock}", day_first=day_first, zone=zone)
    except ValueError:
        return None


LOG = Format("log", detect, read)
