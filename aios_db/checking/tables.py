"""A table read whole, file by file, as far as it can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import lance
import pyarrow as pa
from lance import LanceFragment

from aios_db.checking.faults import Faults
from aios_db.disk.durable import data_files, fragment_files, hinted, manifest, versions
from aios_db.disk.failures import operational
from aios_db.schema.database import table_path
from aios_db.schema.errors import OperationalError
from aios_db.store.torn import is_whole

_BATCH_BYTES, _MOST_ROWS = 8 << 20, 1024
_HISTORY = (
    "the newest version is whole; what was known at that one is lost. Once versions are kept no longer "
    "(storage.keep_versions_s), aios optimize takes it away"
)

OnBytes = Callable[[int], None]
"""Told how many bytes were read since the last call."""


def open_table(faults: Faults, table: str, remedy: str) -> lance.LanceDataset | None:
    """Return the newest version of a table, None when it cannot be opened; nothing is changed."""
    path = table_path(faults.database, table)
    newest = hinted(path)
    found = versions(path)
    if not found:
        faults.file(path, "is missing, or has no version", remedy)
        return None
    if newest > found[0]:
        faults.file(
            path / manifest(newest),
            f"version {newest} is gone; {found[0]} opens in its place, and what was changed or forgotten "
            "after that is as before",
            remedy,
        )
    try:
        with operational(f"opening {path}"):
            if not is_whole(path / manifest(found[0])):
                raise OperationalError(f"version {found[0]} does not end as it should")
            dataset = lance.dataset(path)
            _ = dataset.schema  # Lance panics here where the manifest says a type that it does not know
    except OperationalError as error:
        faults.file(path / manifest(found[0]), _short(error), remedy)
        return None
    return dataset


def has_columns(faults: Faults, dataset: lance.LanceDataset, wanted: pa.Schema, remedy: str) -> bool:
    """Note columns of the newest version that are gone or of another type; tell whether all are right."""
    there = {each.name: each for each in dataset.schema}
    gone = [each.name for each in wanted if each.name not in there]
    other = [each.name for each in wanted if each.name in there and not there[each.name].equals(each)]
    path = Path(dataset.uri)
    for names, what in ((gone, "has no column"), (other, "has another type for the column")):
        if names:
            faults.file(path / manifest(dataset.version), f"{what} {', '.join(names)}", remedy)
    return not gone and not other


def batches(
    faults: Faults, dataset: lance.LanceDataset, remedy: str, on_bytes: OnBytes
) -> Iterator[tuple[Path, pa.RecordBatch]]:
    """Yield all rows with their ``_rowid``, and the file they lie in; note what cannot be read."""
    table = Path(dataset.uri)
    for fragment in dataset.get_fragments():
        files = [(table / name, size) for name, size in fragment_files([fragment.metadata])]
        if not files:
            continue
        sound = [_is_sound(faults, path, size, remedy) for path, size in files]  # each is named
        if False not in sound:
            yield from ((files[0][0], each) for each in _rows(faults, fragment, files[0][0], remedy))
        on_bytes(sum(_size(path) for path, _ in files))


def size_of(dataset: lance.LanceDataset) -> int:
    """Return the bytes that `batches` is going to read."""
    table = Path(dataset.uri)
    found = fragment_files(each.metadata for each in dataset.get_fragments())
    return sum(_size(table / name) for name, _ in found)


def _rows(faults: Faults, fragment: LanceFragment, file: Path, remedy: str) -> Iterator[pa.RecordBatch]:
    rows = max(1, fragment.metadata.physical_rows)
    size = min(_MOST_ROWS, max(1, _BATCH_BYTES * rows // max(1, _size(file))))
    try:
        with operational("reading it"):
            scanner = fragment.scanner(with_row_id=True, batch_size=size)
            for batch in scanner.to_batches():
                batch.validate(full=True)
                yield batch
    except OperationalError as error:
        faults.file(file, _short(error), remedy)


def _is_sound(faults: Faults, path: Path, size: int | None, remedy: str) -> bool:
    try:
        with operational("reading it"):
            if is_whole(path, size):
                return True
            raise OperationalError("is missing, or shorter than it was" if size else "is missing or torn")
    except OperationalError as error:
        faults.file(path, _short(error), remedy)
        return False


def check_history(faults: Faults, newest: lance.LanceDataset) -> None:
    """Read earlier versions, of which those that are kept are consecutive, and files that only they name."""
    path = Path(newest.uri)
    seen = {name for name, _ in data_files(newest)}
    for version in range(newest.version - 1, versions(path)[-1] - 1, -1):
        try:
            with operational("opening it"):
                if not is_whole(path / manifest(version)):
                    raise OperationalError("is missing, or does not end as it should")
                fragments = lance.dataset(path, version=version).get_fragments()
        except OperationalError as error:
            faults.file(path / manifest(version), _short(error), _HISTORY)
            continue
        for fragment in fragments:
            _check_unseen(faults, path, fragment, seen)


def _check_unseen(faults: Faults, path: Path, fragment: LanceFragment, seen: set[str]) -> None:
    """Read what of a fragment of an earlier version was not read yet: its rows, or which are deleted."""
    files = [each for each in fragment_files([fragment.metadata]) if each[0] not in seen]
    seen.update(name for name, _ in files)
    sound = [_is_sound(faults, path / name, size, _HISTORY) for name, size in files]
    if not files or False in sound:
        return
    first = path / files[0][0]
    if any(each.path in name for each in fragment.metadata.files for name, _ in files):
        for _ in _rows(faults, fragment, first, _HISTORY):
            pass
        return
    try:
        with operational("reading it"):
            fragment.scanner(columns=[], with_row_id=True).to_table()
    except OperationalError as error:
        faults.file(first, _short(error), _HISTORY)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _short(error: OperationalError) -> str:
    """Return what Lance says, on one line."""
    return " ".join(str(error).split())[:300]
