"""The files beside the tables: marker, counts, log of changes, what was imported, tokenizers, debts."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pyarrow as pa

from aios_db.checking.faults import Faults
from aios_db.disk.framed_log import damaged_bytes
from aios_db.federation.debts import debt_files, read_debt
from aios_db.schema.database import CHANGES, ERASING, LLM_REQUESTS, MARKER, OWED, QUERIES, RECALLS, UNSHOWN
from aios_db.schema.errors import DataError, OperationalError
from aios_db.store.change_log import begun_after
from aios_db.store.marker import COPY, Marker, parsed
from aios_db.store.unshown import REMEDY

_MARKER = "aios repair writes it anew"
_COUNTS = "the counts in it are lost; aios repair writes the rest anew"
_QUERIES = "consolidations are measured on the rest of the past queries, which aios repair writes anew"
_CHANGES = "the changes in it cannot be listed or undone; aios repair writes the rest anew"
_CHANGES_GONE = "changes that were in it can be neither listed nor undone; the next one begins it anew"
_REQUESTS = (
    "which memories these requests to a language model had in them is lost; aios repair writes the rest anew"
)
_LOGS = {RECALLS: _COUNTS, CHANGES: _CHANGES, QUERIES: _QUERIES, LLM_REQUESTS: _REQUESTS}
_OWED = "whoever opens the database or writes next finishes it"
_TOKENIZERS = "tokenizers are noted anew when weights are next looked for; delete it"
_DEBT = "what was not sent of the changes of a card is lost; delete it"
_JOURNAL = "what it was of may be read again by the next import, which finds its memories there already"


def check_marker(faults: Faults, schema: pa.Schema | None) -> None:
    """Read the marker and its copy, and compare them with each other and the memories."""
    said = [_marker(faults, name) for name in (MARKER, COPY)]
    if None not in said and said[0] != said[1]:
        faults.file(MARKER, f"and {COPY} say different things", _MARKER)
    if schema is not None and said[0] is not None:
        size = schema.field("text_embedding").type.list_size
        if said[0].dimension != size:
            faults.file(MARKER, f"says dimension {said[0].dimension}, vectors have {size}", _MARKER)


def _check_ended(faults: Faults) -> None:
    for name, what in ((ERASING, "an erasure"), (OWED, "an undo")):
        path = faults.database / name
        if path.exists():
            faults.file(path, f"is there: {what} was broken off before its end", _OWED)


def check_files(faults: Faults) -> None:
    """Read what lies beside the tables, as far as it is there."""
    database = faults.database
    for name, lost in _LOGS.items():
        path = database / name
        for start, end in _damaged(path) if path.exists() else ():
            faults.file(path, f"cannot be read in its bytes {start} to {end}", lost)
    if begun_after(database) and not (database / CHANGES).exists():
        faults.file(database / CHANGES, "is gone", _CHANGES_GONE)
    _check_ended(faults)
    if (database / UNSHOWN).is_dir():
        faults.file(UNSHOWN, "is a directory", REMEDY)
    path = database / "tokenizers.json"
    if path.exists() and not _is_object(path):
        faults.file(path, "is no JSON object", _TOKENIZERS)
    for path in debt_files(database):
        try:
            read_debt(path)
        except FileNotFoundError:
            continue  # an exchange has just sent it
        except DataError as error:
            faults.file(path, str(error).removeprefix(f"{path} "), _DEBT)
    for path in sorted((database / "imports").glob("*.jsonl")):
        try:
            for line in path.read_text("utf-8").splitlines()[:-1]:  # a kill leaves the last one torn
                if line:
                    json.loads(line)
        except (OSError, ValueError, RecursionError) as error:
            faults.file(path, f"cannot be read: {error}", _JOURNAL)


def _marker(faults: Faults, name: str) -> Marker | None:
    path = faults.database / name
    try:
        return parsed(path)
    except OperationalError as error:
        faults.file(name, str(error).removeprefix(f"{path} "), _MARKER)
        return None


def _damaged(path: Path) -> list[tuple[int, int]]:
    """Return where a log is damaged; one that another process is just appending to is looked at again."""
    for wait_s in (0.05, 0.2):
        if not (found := damaged_bytes(path)):
            break
        time.sleep(wait_s)
    return found and damaged_bytes(path)


def _is_object(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text("utf-8")), dict)
    except (OSError, ValueError, RecursionError):
        return False
