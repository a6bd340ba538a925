"""PDF and Word documents, read by pypdf and python-docx: the ``documents`` extra."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aios_db.importers.base import Format, Record, Source, UnreadableError, first_line
from aios_db.importers.documents import Headings, Section, read_sections

_INSTALL = "needs the documents extra: pip install 'aios_db[documents]'"


def read_pdf(source: Source) -> Iterator[Record]:
    """Yield one record a passage of each page."""
    try:
        from pypdf import PdfReader
    except ModuleNotFoundError:
        raise UnreadableError(source.name, _INSTALL) from None
    # A library over a format this wide raises anything on a damaged file.
    try:
        reader = PdfReader(source.path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise ValueError("it is encrypted")
        about = reader.metadata
        title = str((about and about.title) or "").strip() or source.path.stem
        date = about.creation_date if about else None
        pages = [(number, page.extract_text()) for number, page in enumerate(reader.pages, start=1)]
    except Exception as error:
        raise UnreadableError(source.name, f"is not a PDF that can be read: {first_line(error)}") from None
    if pages and not any(text.strip() for _, text in pages):
        raise UnreadableError(
            source.name, "holds no text, only pictures of pages; run it through an OCR program"
        )
    sections = (
        Section(title, text, f"page {number}", number / len(pages)) for number, text in pages if text.strip()
    )
    yield from read_sections(source, sections, date=date)


def read_docx(source: Source) -> Iterator[Record]:
    """Yield one record a passage, titled by the headings above it; tables row by row."""
    try:
        import docx
    except ModuleNotFoundError:
        raise UnreadableError(source.name, _INSTALL) from None
    try:
        document = docx.Document(str(source.path))
        about = document.core_properties
        sections = list(_sections(document, about.title or None, source.path.stem))
        date, author = about.created, about.author or None
    except Exception as error:
        raise UnreadableError(source.name, f"is not a Word document: {first_line(error)}") from None
    yield from read_sections(source, sections, date=date, author=author)


def _sections(document: Any, title: str | None, name: str) -> Iterator[Section]:
    headings = Headings(title)
    block: list[str] = []
    start = number = 1
    for number, part in enumerate(document.iter_inner_content(), start=1):
        if hasattr(part, "rows"):
            block += ["\t".join(cell.text for cell in row.cells) for row in part.rows]
            continue
        style = part.style.name if part.style is not None else ""
        level = (
            1
            if style == "Title"
            else int(style[8:])
            if style[:8] == "Heading " and style[8:].isdigit()
            else 0
        )
        if level:
            yield Section(headings.title(name), "\n\n".join(block), f"paragraph {start}")
            headings.enter(level, part.text.strip())
            block, start = [], number + 1
        else:
            block.append(part.text)
    yield Section(headings.title(name), "\n\n".join(block), f"paragraph {start}")


PDF = Format("pdf", lambda source: source.suffix == ".pdf", read_pdf)
DOCX = Format("docx", lambda source: source.suffix == ".docx", read_docx)
