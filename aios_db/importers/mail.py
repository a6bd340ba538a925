"""Mail: a mailbox in mbox format, or one message in a file (`.eml`)."""

from __future__ import annotations

import mailbox
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import getaddresses, parseaddr
from typing import Any

from aios_db.importers.base import Format, Record, Rejected, Skipped, Source, UnreadableError, first_line
from aios_db.importers.encoding import find_encoding
from aios_db.importers.pages import page_text
from aios_db.importers.passages import cut
from aios_db.importers.records import make_record


def detect(source: Source) -> bool:
    """Return whether a file is a mailbox or a message."""
    if source.suffix == ".eml":
        return True
    named = not source.suffix and source.path.stem.lower() in {"mbox", "inbox"}
    if named or source.suffix in {".mbox", ".mbx"}:
        with source.path.open("rb") as file:
            return file.read(5) == b"From " or source.suffix != ""
    return False


def read(source: Source) -> Iterator[Record]:
    """Yield one record a message, or one a passage of a long one."""
    if source.suffix == ".eml":
        yield from _read_message(source, source.path.read_bytes(), source.name, 1.0)
        return
    try:
        box = mailbox.mbox(source.path, create=False)
        keys = box.keys()
    except (OSError, mailbox.Error, ValueError) as error:
        raise UnreadableError(source.name, f"is not a mailbox: {first_line(error)}") from None
    try:
        if not keys and source.path.stat().st_size:
            raise UnreadableError(source.name, "is not a mailbox: no line begins with 'From '")
        for number, key in enumerate(keys, start=1):
            location, progress = f"{source.name}:message {number}", number / len(keys)
            yield from _read_message(source, box.get_bytes(key), location, progress)
    finally:
        box.close()


def _read_message(source: Source, data: bytes, location: str, progress: float) -> Iterator[Record]:
    # The parser of the standard library fails in many ways on headers that no mail program writes.
    try:
        message = message_from_bytes(data, policy=policy.default)
        text = _text(message).replace("\r\n", "\n").strip()
        fields = _fields(message)
    except Exception as error:
        reason = f"is no mail that can be read: {type(error).__name__}: {first_line(error)}"
        yield Rejected(location, reason, data.decode("utf-8", "replace"), progress)
        return
    if not text:
        yield Skipped(location, "no words", progress)
        return
    place = fields["metadata"].get("message_id") or location.rpartition(":")[2]
    for number, (_, passage) in enumerate(cut(text), start=1):
        record = {**fields, "text": passage, "session_id": fields["session_id"] or source.name}
        yield make_record(source, record, location, progress, place=f"{place} {number}")


def _fields(message: EmailMessage) -> dict[str, Any]:
    name, address = parseaddr(_header(message, "From"))
    message_id = _header(message, "Message-ID").strip()
    references = f"{_header(message, 'References')} {_header(message, 'In-Reply-To')}".split()
    attached = [part.get_filename() or part.get_content_type() for part in message.iter_attachments()]
    metadata = {
        "message_id": message_id,
        "from": address,
        "to": [each for _, each in getaddresses([_header(message, "To")]) if each],
        "cc": [each for _, each in getaddresses([_header(message, "Cc")]) if each],
        "attachments": attached,
    }
    return {
        "title": _header(message, "Subject") or None,
        "speaker": name or address or None,
        "occurred_at": _header(message, "Date") or None,
        "session_id": (references[0] if references else message_id) or None,
        "kind": "message",
        "metadata": {key: value for key, value in metadata.items() if value},
    }


def _header(message: EmailMessage, name: str) -> str:
    return " ".join(str(message.get(name) or "").split())


def _text(message: EmailMessage) -> str:
    body = message.get_body(preferencelist=("plain", "html"))
    if body is None:
        return ""
    text = _decoded(body)
    if body.get_content_subtype() == "html":
        return page_text(text)
    if not text.strip() and (html := message.get_body(preferencelist=("html",))) is not None:
        return page_text(_decoded(html))
    return text


def _decoded(part: Any) -> str:
    """Return the text of a part; its bytes tell the encoding when the name of it is wrong."""
    data = part.get_payload(decode=True) or b""
    charset = part.get_content_charset()
    try:
        return str(data.decode(charset or "utf-8"))
    except (LookupError, UnicodeDecodeError):
        try:
            return str(data.decode(find_encoding([data]), "replace"))
        except ValueError:
            return ""


MAIL = Format("mail", detect, read)
