"""The files of an import: a file, or those of a folder in the order of their names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from aios_db.importers.base import Options, Source
from aios_db.schema.errors import OperationalError

Skip = Callable[[str, str], None]
"""Told the name of a file that is left alone, and why."""


def check_paths(paths: Sequence[Path]) -> None:
    """Raise `OperationalError` for a path where there is no file or folder."""
    for path in paths:
        if not path.exists():
            raise OperationalError(f"{path}: there is no such file or folder")
        if not (path.is_dir() or path.is_file()):
            raise OperationalError(f"{path}: is neither a file nor a folder; a pipe cannot be read twice")


def find_sources(path: Path, options: Options, skip: Skip) -> Iterator[Source]:
    """Yield the files at a path; hidden ones are none, and links out of the folder are not followed."""
    if path.is_dir():
        for file in _walk(path, path.resolve(), skip):
            yield Source(file, path, options)
    else:
        yield Source(path, path.parent, options)


def _walk(root: Path, resolved: Path, skip: Skip) -> Iterator[Path]:
    """Yield files in the order of their paths, without entering a folder twice."""

    def failed(error: OSError) -> None:
        name = os.path.relpath(error.filename or root, root)
        skip(Path(name).as_posix(), f"cannot be read: {error.strerror or error}")

    files: list[Path] = []
    for folder, folders, names in os.walk(root, onerror=failed):
        here = Path(folder)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in list(folders):
            if (here / name).is_symlink():
                folders.remove(name)
                skip((here / name).relative_to(root).as_posix(), "a link to a folder; not followed")
        files += [here / name for name in names if not name.startswith(".")]
    for file in sorted(files):
        name = file.relative_to(root).as_posix()
        if file.is_symlink():
            target = Path(os.path.realpath(file))
            if not target.exists():
                skip(name, "a link to nothing")
                continue
            if not target.is_relative_to(resolved):
                skip(name, "a link out of the folder; not followed")
                continue
        if file.is_file():
            yield file
        else:
            skip(name, "neither a file nor a folder")
