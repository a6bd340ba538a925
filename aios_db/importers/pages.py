"""HTML: the text that a reader sees, in sections under its headings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser

from aios_db.importers.base import Format, Record, Source
from aios_db.importers.documents import Headings, Section, read_sections

_HIDDEN = frozenset({"script", "style", "template", "noscript", "svg", "head", "iframe", "object", "math"})
_MARKS = {"br": "\n", "li": "\n- ", "td": "\t", "th": "\t"}
_BLOCKS = frozenset(
    """p div section article main header footer aside nav ul ol dl dt dd table tr blockquote pre form fieldset
    figure figcaption address details summary hr body html""".split()  # noqa: SIM905
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_DATES = ("article:published_time", "date", "dc.date", "dcterms.created", "datepublished", "og:updated_time")
_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)


class PageText(HTMLParser):
    """Collects the sections of a page; unclosed and stray tags are taken as browsers take them."""

    def __init__(self, name: str) -> None:
        super().__init__(convert_charrefs=True)
        self.sections: list[Section] = []
        self.document_title = ""
        self.date: str | None = None
        self.author: str | None = None
        self._name = name
        self._headings = Headings(None)
        self._parts: list[str] = []
        self._heading: list[str] | None = None
        self._hidden: list[str] = []
        self._preformatted = 0
        self._in_title = False
        self._place = "1"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element."""
        named = {name: value or "" for name, value in attrs}
        if tag == "title":
            self._in_title = not self.document_title
        elif tag == "meta":
            self._read_meta(named)
        elif tag == "body":
            self._hidden.clear()
        elif tag in _HIDDEN:
            self._hidden.append(tag)
        elif self._hidden:
            return
        elif tag in _HEADINGS:
            self._end_section()
            self._heading = []
        elif tag in _MARKS:
            self._parts.append(_MARKS[tag])
        elif tag == "img" and named.get("alt"):
            self._parts.append(f" {named['alt']} ")
        elif tag in _BLOCKS:
            self._parts.append("\n\n" if tag in {"p", "blockquote", "pre", "table", "ul", "ol"} else "\n")
        self._preformatted += tag == "pre"

    def _read_meta(self, named: Mapping[str, str]) -> None:
        about = (named.get("name") or named.get("property") or named.get("itemprop") or "").lower()
        if about in _DATES and self.date is None:
            self.date = named.get("content")
        elif about == "author":
            self.author = named.get("content")

    def handle_endtag(self, tag: str) -> None:
        """End an element."""
        if tag == "title":
            self._in_title = False
        elif tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]
        elif tag in _HEADINGS and self._heading is not None:
            self._headings.enter(_HEADINGS[tag], " ".join("".join(self._heading).split()))
            self._heading = None
            self._place = str(self.getpos()[0])
        elif tag in _BLOCKS:
            self._parts.append("\n\n" if tag in {"p", "blockquote", "pre", "table"} else "\n")
        if tag == "pre" and self._preformatted:
            self._preformatted -= 1

    def handle_data(self, data: str) -> None:
        """Take text."""
        if self._in_title:
            self.document_title += data
        elif self._heading is not None:
            self._heading.append(data)
        elif not self._hidden:
            self._parts.append(data if self._preformatted else re.sub(r"\s+", " ", data))

    def close(self) -> None:
        """End the page."""
        super().close()
        if self._heading:
            self._parts = self._heading
        self._end_section()

    def _end_section(self) -> None:
        lines = [re.sub(r"[ \t]*\t[ \t]*", "\t", line).strip() for line in "".join(self._parts).split("\n")]
        text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
        if text:
            title = self._headings.title(" ".join(self.document_title.split()) or self._name)
            self.sections.append(Section(title, text, f"line {self._place}"))
        self._parts = []


def page_text(html: str) -> str:
    """Return the text of a page or of a piece of one."""
    page = PageText("")
    page.feed(html)
    page.close()
    return "\n\n".join(f"{each.title}\n{each.text}" if each.title else each.text for each in page.sections)


def read(source: Source) -> Iterator[Record]:
    """Yield one record a passage, titled by the headings above it."""
    page = PageText(source.path.stem)
    page.feed(_decoded(source))
    page.close()
    yield from read_sections(source, page.sections, date=page.date, author=page.author)


def _decoded(source: Source) -> str:
    """Return the page as text, in the encoding it names when its bytes do not tell."""
    if source.options.encoding is None and not source.encoding.startswith("utf"):
        data = source.path.read_bytes()
        if match := _CHARSET.search(data[:4096]):
            try:
                return data.decode(match[1].decode("ascii"), errors="replace")
            except LookupError:
                pass
    return source.text


HTML = Format("html", lambda source: source.suffix in {".html", ".htm", ".xhtml"}, read)
