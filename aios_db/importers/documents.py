"""Markdown and plain text: one memory a section, long sections cut between paragraphs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aios_db.importers.base import Format, Record, Row, Source
from aios_db.importers.fields import memory_fields, parse_time

# A passage of this many characters is about what a text encoder of 256 tokens reads at once.
PASSAGE_CHARACTERS = 1000

_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_DATES = ("date", "created", "occurred_at")


@dataclass
class _Section:
    """Lines under one heading."""

    title: str
    first: int
    lines: list[str]


def read_markdown(source: Source) -> Iterator[Record]:
    """Yield one record a section; its title is the path of the headings above it: ``Guide › Install``."""
    front, lines, first = _front_matter(source.text.splitlines())
    for section in _sections(lines, first, front.get("title"), source.path.stem):
        yield from _passages(source, section, first + len(lines), front.get("date"))


def read_text(source: Source) -> Iterator[Record]:
    """Yield one record a passage; the title is the file's name without its ending."""
    lines = source.text.splitlines()
    yield from _passages(source, _Section(source.path.stem, 1, lines), len(lines) + 1, None)


def _sections(lines: list[str], first: int, document: str | None, name: str) -> Iterator[_Section]:
    section = _Section(document or name, first, [])
    path: list[tuple[int, str]] = []
    fence = ""
    for number, line in enumerate(lines, start=first):
        if match := _FENCE.match(line):
            fence = "" if fence and match[1].startswith(fence) else fence or match[1]
        heading = None if fence else _HEADING.match(line)
        if heading is None:
            section.lines.append(line)
            continue
        yield section
        level = len(heading[1])
        path = [*((depth, above) for depth, above in path if depth < level), (level, heading[2])]
        titles = ([document] if document else []) + [above for _, above in path]
        section = _Section(" › ".join(titles), number + 1, [])
    yield section


def _passages(source: Source, section: _Section, total: int, date: datetime | None) -> Iterator[Record]:
    """Yield the paragraphs of a section, as many together as make up a passage."""
    passage: list[str] = []
    start = section.first

    def record() -> Row:
        fields = {
            "kind": "document",
            "title": section.title,
            "text": "\n\n".join(passage),
            "session_id": source.name,  # so that neighbouring passages are linked
            "occurred_at": date,
            "source": source.name,
        }
        return Row(memory_fields(fields), f"{source.name}:{start}", min(1.0, start / total))

    for number, paragraph in _paragraphs(section):
        if passage and sum(map(len, passage)) + len(paragraph) > PASSAGE_CHARACTERS:
            yield record()
            passage = []
        if not passage:
            start = number
        passage.append(paragraph)
    if passage:
        yield record()


def _paragraphs(section: _Section) -> Iterator[tuple[int, str]]:
    block: list[str] = []
    for number, line in enumerate([*section.lines, ""], start=section.first):
        if line.strip():
            block.append(line)
        elif block:
            yield number - len(block), "\n".join(block)
            block = []


def _front_matter(lines: list[str]) -> tuple[dict[str, Any], list[str], int]:
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
    except (yaml.YAMLError, RecursionError):
        return {}, lines, 1  # not front matter after all: a rule, text, another rule
    if isinstance(block, dict):
        if isinstance(block.get("title"), str):
            found["title"] = block["title"]
        for name in _DATES:
            try:
                found.setdefault("date", parse_time(block.get(name)))
            except ValueError:
                continue
    return found, lines[end + 1 :], end + 2


MARKDOWN = Format("markdown", lambda source: source.suffix in {".md", ".markdown"}, read_markdown)
TEXT = Format("text", lambda source: source.suffix in {".txt", ".text"}, read_text)
