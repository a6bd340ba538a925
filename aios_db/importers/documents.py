"""Documents as sections under headings: Markdown, plain text, and what other readers make into sections."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aios_db.importers.base import Format, Record, Source
from aios_db.importers.passages import cut
from aios_db.importers.records import make_record

_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)\s*$")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_DATES = ("date", "created", "occurred_at", "published", "pubDate", "last_modified_at")


@dataclass(frozen=True)
class Section:
    """Text under one heading."""

    title: str
    text: str
    place: str
    """Where it starts: a line, a page."""
    progress: float = 1.0


class Headings:
    """The path of headings above what is read: ``Guide › Install``."""

    def __init__(self, document: str | None) -> None:
        self._document = document
        self._path: list[tuple[int, str]] = []

    def enter(self, level: int, heading: str) -> None:
        """Go below a heading; those of its level and deeper ones have ended."""
        self._path = [*((depth, above) for depth, above in self._path if depth < level), (level, heading)]

    def title(self, otherwise: str) -> str:
        """Return the path, or what stands for it before the first heading."""
        above = [heading for _, heading in self._path if heading]
        titles = [self._document, *above] if self._document else above
        return " › ".join(titles) or otherwise


def read_sections(
    source: Source, sections: Iterable[Section], *, date: object = None, author: str | None = None
) -> Iterator[Record]:
    """Yield one record a passage of each section, in order."""
    counts: dict[str, int] = {}
    for section in sections:
        line = int(section.place) if section.place.isdigit() else None
        for offset, passage in cut(section.text):
            counts[section.title] = counts.get(section.title, 0) + 1
            where = section.place if line is None else str(line + section.text.count("\n", 0, offset))
            fields = {
                "kind": "document",
                "title": section.title,
                "text": passage,
                "session_id": source.name,  # so that neighbouring passages are linked
                "occurred_at": date,
                "speaker": author,
                "source": source.name,
            }
            place = f"{section.title} {counts[section.title]}"
            yield make_record(source, fields, f"{source.name}:{where}", section.progress, place=place)


def read_markdown(source: Source) -> Iterator[Record]:
    """Yield one record a section; its title is the path of the headings above it: ``Guide › Install``."""
    front, lines, first = _front_matter(source.text.splitlines(), source.moment)
    sections = _sections(lines, first, front.get("title"), source.path.stem)
    yield from read_sections(source, sections, date=front.get("date"))


def read_text(source: Source) -> Iterator[Record]:
    """Yield one record a passage; the title is the file's name without its ending."""
    yield from read_sections(source, [Section(source.path.stem, source.text, "1")])


def _sections(lines: list[str], first: int, document: str | None, name: str) -> Iterator[Section]:
    headings = Headings(document)
    block: list[str] = []
    start, fence, total = first, "", first + len(lines)

    def section() -> Section:
        return Section(headings.title(name), "\n".join(block), str(start), min(1.0, number / total))

    number = first
    for number, line in enumerate(lines, start=first):
        if match := _FENCE.match(line):
            fence = "" if fence and match[1].startswith(fence) else fence or match[1]
        heading = None if fence else _HEADING.match(line)
        underline = None if fence or heading else _UNDERLINE.match(line)
        if heading:
            level, title, above = len(heading[1]), heading[2], block
        elif underline and block and block[-1].strip() and (len(block) == 1 or not block[-2].strip()):
            level, title, above = (1 if "=" in line else 2), block[-1].strip(), block[:-1]
        else:
            block.append(line)
            continue
        block = above
        yield section()
        headings.enter(level, title)
        block, start = [], number + 1
    yield section()


def _front_matter(
    lines: list[str], moment: Callable[[object], datetime]
) -> tuple[dict[str, Any], list[str], int]:
    """Return the title and date of a YAML block at the top, the lines below, and the number of the first."""
    if not lines or lines[0].strip() != "---":
        return {}, lines, 1
    end = next(
        (number for number, line in enumerate(lines[1:], start=1) if line.strip() in {"---", "..."}), None
    )
    if end is None:
        return {}, lines, 1
    import yaml

    found: dict[str, Any] = {}
    try:
        block = yaml.load("\n".join(lines[1:end]), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}, lines, 1  # not front matter after all: a rule, text, another rule
    if isinstance(block, dict):
        if isinstance(block.get("title"), str):
            found["title"] = block["title"]
        dates = (_time(block.get(name), moment) for name in _DATES)
        found["date"] = next((date for date in dates if date is not None), None)
    return found, lines[end + 1 :], end + 2


def _time(value: object, moment: Callable[[object], datetime]) -> datetime | None:
    try:
        return moment(value)
    except ValueError:
        return None


MARKDOWN = Format("markdown", lambda source: source.suffix in {".md", ".markdown", ".mdx"}, read_markdown)
TEXT = Format("text", lambda source: source.suffix in {".txt", ".text"}, read_text)
