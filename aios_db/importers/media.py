"""Files that imported rows name: pictures and sounds are read where the rows come from, and nowhere else.

Rows may be somebody else's, who may not read what the importer may. A path in a row is therefore taken
relative to the row's own file, and must lie in the folder that is imported, or in a directory that the
connection was allowed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from aios_db.importers.base import Record, Row, Source
from aios_db.schema.errors import OperationalError
from aios_db.schema.homes import expanded

_COLUMNS = ("media_uri", "audio_uri")


@dataclass(frozen=True)
class Within:
    """What rows of an import may name: files in these directories, none where there is no directory."""

    directories: tuple[Path, ...] = ()

    def check_path(self, path: Path, *, others: Sequence[Path] = ()) -> None:
        """Refuse a path that lies elsewhere, links followed.

        Raises
        ------
        OperationalError
            It does.
        """
        real = path.resolve()
        if not any(real.is_relative_to(each.resolve()) for each in (*self.directories, *others)):
            raise OperationalError(f"{path} is outside of the imported folder")


def placed(records: Iterator[Record], source: Source, within: Within) -> Iterator[Record]:
    """Yield records whose paths are absolute where they name files that may be read.

    The path of a file elsewhere moves into the metadata, and that is reported. What is no file stays as it
    is: a name is worth something, and nothing is read.
    """
    for record in records:
        yield _placed(record, source.path.parent, within) if isinstance(record, Row) else record


def _placed(row: Row, folder: Path, within: Within) -> Row:
    fields, problems = dict(row.fields), list(row.problems)
    for column in _COLUMNS:
        path = _local(fields.get(column), folder)
        if path is None:
            continue
        try:
            within.check_path(path)
        except OperationalError:
            fields["metadata"] = _with(fields.get("metadata"), column, fields.pop(column))
            problems.append(f"{column} names a file outside of the imported folder, which is not read")
        else:
            fields[column] = str(path)
    return replace(row, fields=fields, problems=tuple(problems))


def _local(uri: Any, folder: Path) -> Path | None:
    """Return the path of the file that a URI names, None where there is none."""
    if not isinstance(uri, str):
        return None
    parsed = urlparse(uri)
    if parsed.scheme and len(parsed.scheme) > 1 and parsed.scheme != "file":
        return None
    try:
        path = folder / expanded(unquote(parsed.path) if parsed.scheme == "file" else uri)
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # no path at all, such as one with NUL
        return None


def _with(metadata: str | None, name: str, value: str) -> str:
    return json.dumps({**json.loads(metadata or "{}"), name: value}, ensure_ascii=False)
