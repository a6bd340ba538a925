"""One way from what a reader found to a record of the import, for every format."""

from __future__ import annotations

from collections.abc import Mapping

from aios_db.importers.base import Record, Rejected, Row, Source, shorten
from aios_db.importers.fields import memory_fields

_IDS = ("external_id", "id", "uuid", "guid", "message_id", "_id", "uid", "row_id")


def make_record(
    source: Source,
    record: object,
    location: str,
    progress: float,
    *,
    place: str | None = None,
    key: str | None = None,
    related: tuple[str, ...] = (),
    original: object = None,
) -> Record:
    """Return what a reader found as a row, or as rejected with the reason.

    Parameters
    ----------
    source
        The file; it is the row's ``source`` unless the record names another.
    record
        A mapping of names and values, or just the text; anything else is rejected.
    location, progress, key, related
        As in `Row`.
    place
        As in `Row`; a record's own identifier goes before it.
    original
        What a person is shown when the record is rejected; the record itself by default.
    """
    problems: list[str] = []
    if isinstance(record, str):
        record = {"text": record}
    try:
        if not isinstance(record, Mapping):
            raise ValueError(f"is a {type(record).__name__}, not an object with fields")
        fields = memory_fields(
            record,
            mapping=source.options.mapping,
            moment=source.moment,
            problem=lambda column, reason: problems.append(f"{column} {reason.partition(': ')[0]}"),
        )
    except ValueError as error:
        shown = record if original is None else original
        return Rejected(location, str(error), shorten(shown), progress)
    fields.setdefault("source", source.name)
    if "speaker" in fields:
        fields.setdefault("session_id", source.name)  # turns of a conversation, one after the other
    own = next((str(record[name]) for name in _IDS if isinstance(record.get(name), (str, int))), None)
    place = f"id {own}" if own else place or location.removeprefix(source.name).lstrip(":")
    return Row(fields, location, progress, key, related, place, tuple(problems))
