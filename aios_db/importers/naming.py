"""Names of sources that stay: a file keeps its name from one import to the next, and no two files share one.

A file is named by its path under the folder that was imported. If another file has that name already, folders
above it are added until it differs. Which file has which name is in `import_sources.jsonl` of the database.
When a file is gone and one with the same content takes its place elsewhere, it and its folder were moved, and
the names move with them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from aios_db.importers.base import Source
from aios_db.schema.sources import ENTRIES
from aios_db.security.permissions import open_private

_INSIDE = "!/"  # between an archive and a file in it


class SourceNames:
    """Who has which name, as the database remembers it."""

    def __init__(self, database: Path, imported: Callable[[Source], bool]) -> None:
        """Read the names; ``imported`` tells whether a file of this name and content was imported."""
        self._file = database / "import_sources.jsonl"
        self._imported = imported
        self._path_of: dict[str, str] = {}
        self._moved: dict[str, str] = {}
        if self._file.exists():
            for line in self._file.read_text("utf-8", errors="replace").splitlines():
                try:
                    entry = json.loads(line)
                    self._path_of[entry["name"]] = entry["path"]
                except (ValueError, KeyError, TypeError):
                    continue  # torn by a kill; its file is named anew
        self._name_of = {path: name for name, path in self._path_of.items()}

    def notice_moves(self, sources: Iterable[Source]) -> None:
        """Find the folders that were moved since they were imported."""
        for source in sources:
            path, old = _absolute(source), self._path_of.get(source.name)
            if old is not None and old != path and not _is_there(old) and self._imported(source):
                self._moved[old.removesuffix(source.name)] = path.removesuffix(source.name)

    def named(self, source: Source) -> Source:
        """Return the source under the name that it has for good."""
        path = _absolute(source)
        name = self._name_of.get(path)
        if name is None:
            name = next(
                each
                for each in _candidates(source, path)
                if each not in ENTRIES and self._is_free(each, path)
            )
            self._note(name, path)
        return source.named(name)

    def inside(self, archive: Source, inner: Source) -> Source:
        """Return a file of an archive under its name."""
        name = f"{archive.name}/{inner.name}"
        path = f"{_absolute(archive)}{_INSIDE}{inner.name}"
        if self._path_of.get(name) != path:
            self._note(name, path)
        return inner.named(name)

    def under(self, path: Path) -> list[str]:
        """Return the names of the files that were imported from a folder, or from a file or archive."""
        root = os.path.realpath(path)
        begins = (root.rstrip(os.sep) + os.sep, root + _INSIDE)
        return [name for name, each in self._path_of.items() if each == root or each.startswith(begins)]

    def _is_free(self, name: str, path: str) -> bool:
        old = self._path_of.get(name)
        return (
            old is None or old == path or self._moved.get(old.removesuffix(name)) == path.removesuffix(name)
        )

    def _note(self, name: str, path: str) -> None:
        self._name_of.pop(self._path_of.get(name, ""), None)
        self._path_of[name], self._name_of[path] = path, name
        with open_private(self._file, "a", encoding="utf-8") as file:
            file.write(json.dumps({"name": name, "path": path}) + "\n")


def _absolute(source: Source) -> str:
    return os.path.join(os.path.realpath(source.path.parent), source.path.name)


def _is_there(path: str) -> bool:
    return os.path.exists(path.partition(_INSIDE)[0])


def _candidates(source: Source, path: str) -> Iterable[str]:
    """Yield a source's name, and then longer and longer ones."""
    yield source.name
    folders = Path(path).parts[1 : -len(Path(source.name).parts)]
    for count in range(1, len(folders) + 1):
        yield "/".join([*folders[-count:], source.name])
    number = 2
    while True:
        yield f"{source.name}~{number}"
        number += 1
