"""The files beside the tables: marker, counts, log of changes, what was imported, tokenizers, debts."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from aios_db.checking.faults import Faults
from aios_db.schema.database import CHANGES, MARKER, OWED, RECALLS
from aios_db.schema.errors import OperationalError
from aios_db.store.framed_log import whole_bytes
from aios_db.store.marker import COPY, Marker, parsed

_MARKER = "aios repair writes it anew"
_COUNTS = "counts after that are lost; the log goes on from there when something is recalled"
_CHANGES = "changes after that cannot be listed or undone; the log goes on from there with the next one"
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


def check_files(faults: Faults) -> None:
    """Read what lies beside the tables, as far as it is there."""
    database = faults.database
    for name, lost in ((RECALLS, _COUNTS), (CHANGES, _CHANGES)):
        path = database / name
        if path.exists() and not _is_whole_log(path):
            faults.file(path, f"cannot be read after its first {whole_bytes(path)} bytes", lost)
    if (database / OWED).exists():
        faults.file(database / OWED, "is there: an undo was broken off before its links", _OWED)
    path = database / "tokenizers.json"
    if path.exists() and not _is_object(path):
        faults.file(path, "is no JSON object", _TOKENIZERS)
    for path in sorted((database / "federation").glob("*.npy")):
        try:
            np.load(path, allow_pickle=False, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            faults.file(path, f"cannot be read: {error}", _DEBT)
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


def _is_whole_log(path: Path) -> bool:
    """Tell whether a log is whole; one that another process is just appending to is looked at again."""
    for wait_s in (0.05, 0.2, 0.0):
        if whole_bytes(path) == path.stat().st_size > 0:
            return True
        time.sleep(wait_s)
    return False


def _is_object(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text("utf-8")), dict)
    except (OSError, ValueError, RecursionError):
        return False
