"""The files of a segment: arrays that are mapped, or packed ones that are read into memory.

A segment directory holds one .npy file per array, ``rows.arrow`` and ``segment.json``, which has the
checksums of the others. One that is packed has its arrays in ``arrays.zst`` (`packing`), with the vectors or
without, which are then read of the table of memories. It is written under
a temporary name, renamed when complete, and made current by replacing the file ``CURRENT``, so that a crash
leaves the old one in force. Arrays are mapped copy-on-write: marking a memory dead changes this process's
memory and never the file.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.amounts import amount
from aios_db.search import checksums, packing, stored_rows
from aios_db.search.segment import Segment, Version
from aios_db.security.permissions import DIRECTORY_MODE

logger = logging.getLogger("aios_db.search")

# 2: keys that are hex digits are not hashed again; 3: has the rows that searches return; 4: reach, not
# probes; 5: hashes, exact moments; 6: checksums; 7: words in their normal form, stemmed in their language;
# 8: other keys of contents;
# 9: what filters look for;
# 10: recall does not share a link's gain; 11: moments by percents of the mean length
# 12: names of titles, and which end of a link its entry is at
# 14: segment.json has a checksum of its own
# 16: links of the kind superseded_by, and until when memories hold
# 17: vectors of the joint space
# 19, 20: marks of what memories were made of
# 21, 22, 23: the moments of vectors leave out memories that have none
FORMAT = 21
PACKED, WITHOUT_VECTORS = 22, 23
"""The formats of segments that are packed, with their vectors and without."""
_POINTER = "CURRENT"
_ROWS, _ARRAYS = "rows.arrow", "arrays.zst"
_ABOUT = "segment.json"
_ATTEMPTS = 3
_FEW = 1024  # memories of which the second moments are made again in some 30 ms


def write(segment: Segment, directory: Path, language: str, form: int = FORMAT) -> None:
    """Write a segment of texts in a language and make it the current one; older ones are removed.

    The other forms take a fraction of the bytes of `FORMAT`, and are unpacked into memory by who reads them.
    """
    for each in (directory.parent, directory):  # a mode is not that of parents
        each.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
    name = f"segment-{segment.version.memories}-{segment.version.links}-{uuid.uuid4().hex[:8]}"
    temporary = directory / f"tmp-{name}"
    temporary.mkdir(DIRECTORY_MODE)
    try:
        if form != FORMAT:
            whole = form == PACKED
            (temporary / _ARRAYS).write_bytes(packing.pack(segment.arrays, vectors=whole))
            stored_rows.write_packed(temporary / _ROWS, segment.batches, quickly=not whole)
        else:
            left_out = packing.MOMENTS if len(segment) < _FEW else ()
            for key, array in segment.arrays.items():
                if key not in left_out:
                    np.save(temporary / f"{key}.npy", array, allow_pickle=False)
            stored_rows.write(temporary / _ROWS, segment.batches)
        reach = segment.clusters.reach if segment.clusters else 0.0
        about = {
            "format": form,
            "reach": reach,
            "language": language,
            **vars(segment.version),
            "files": checksums.of_directory(temporary),
        }
        (temporary / _ABOUT).write_text(json.dumps(checksums.sealed(about)), encoding="utf-8")
        temporary.rename(directory / name)
        pointer = directory / f"tmp-{uuid.uuid4().hex}"
        pointer.write_text(name, encoding="utf-8")
        if (directory / _POINTER).is_dir():  # nothing of aios_db makes one, and no file can replace it
            shutil.rmtree(directory / _POINTER)
        os.replace(pointer, directory / _POINTER)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _remove_but(directory, name)


def read(
    directory: Path, dimension: int, language: str, vectors: packing.Vectors | None = None
) -> Segment | None:
    """Map the current segment; None when there is none that this version can use, which is logged.

    ``vectors`` returns those of memories by their row ids, for segments without.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return _read(directory / current(directory), dimension, language, vectors)
        except FileNotFoundError as error:
            if not (directory / _POINTER).exists():
                return None
            # Another process may have written a newer segment and removed this one in between.
            if attempt == _ATTEMPTS - 1:
                logger.warning("search index incomplete, reading the tables again: %s", error)
        except Exception as error:  # whatever is wrong with a derived file, it is made again
            logger.warning(
                "search index unusable, reading the tables again: %s", error or type(error).__name__,
                extra={"event": "index_rebuilt"},
            )  # fmt: skip
            return None
    return None


def _read(path: Path, dimension: int, language: str, vectors: packing.Vectors | None) -> Segment:
    about = about_of(path)
    if about["language"] != language:
        raise ValueError(f"{path} has words of language {about['language']}, not {language}")
    if about["format"] != FORMAT:
        checksums.verify(path, about["files"])
        arrays = packing.unpack(path / _ARRAYS, vectors)
        batches = stored_rows.read_packed(path / _ROWS, arrays["ids"])
    else:
        checksums.verify_some(path, about["files"])
        arrays = _mapped(path, about["files"])
        batches = stored_rows.read(path / _ROWS)
    segment = Segment(arrays, Version(about["memories"], about["links"]), about["reach"], batches)
    if sum(map(len, batches)) != len(segment):
        raise ValueError(f"{path / _ROWS} has not one row for each of {amount(len(segment), 'memory')}")
    if segment.vectors.shape[1] != dimension:
        raise ValueError(f"{path} has vectors of {segment.vectors.shape[1]} numbers, not {dimension}")
    return segment


def remove(directory: Path) -> None:
    """Remove the segments of an index; those of scopes stay."""
    if directory.exists():
        _remove_but(directory)


def _remove_but(directory: Path, name: str | None = None) -> None:
    kept = (name, _POINTER) if name else ()
    for other in sorted(directory.iterdir(), key=lambda each: each.name != _POINTER):
        if other.name in kept or other.name.startswith("scope-"):
            continue
        if other.is_dir():
            shutil.rmtree(other, ignore_errors=True)  # on Windows, one that another process maps stays
        else:
            other.unlink(missing_ok=True)


def _mapped(path: Path, files: Iterable[str]) -> dict[str, NDArray[Any]]:
    arrays = {
        # A plain view: every slice of np.memmap itself runs Python code.
        file.stem: np.load(
            file, mmap_mode="c" if file.stat().st_size > 128 else None, allow_pickle=False
        ).view(np.ndarray)
        for file in (path / name for name in files)
        if file.suffix == ".npy"
    }
    return packing.with_statistics(arrays)


def current(directory: Path) -> str:
    """Return the name of the current segment, as written in the pointer file."""
    name = (directory / _POINTER).read_text(encoding="utf-8").strip()
    if not name.startswith("segment-") or "/" in name or "\\" in name:
        raise ValueError(f"{directory / _POINTER} names no segment: {name[:80]!r}")
    return name


def newest(directory: Path) -> int:
    """Return the version of the memories in the current segment, -1 where there is none."""
    try:
        return int(current(directory).split("-")[1])
    except (OSError, ValueError, IndexError):
        return -1


def about_of(path: Path) -> dict[str, Any]:
    """Return what a segment says of itself: its format, versions, language and files.

    Raises
    ------
    ValueError
        It has another format, or other bytes than were written to it.
    """
    about: dict[str, Any] = json.loads((path / _ABOUT).read_text(encoding="utf-8"))
    known = FORMAT, PACKED, WITHOUT_VECTORS
    if about["format"] not in known:
        raise ValueError(f"{path} has format {about['format']}, not one of {known}")
    if about != checksums.sealed(about):
        raise ValueError(f"{path / _ABOUT} has other bytes than were written to it")
    return about
